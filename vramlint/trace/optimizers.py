"""Optimizers by name: torch.optim's, bitsandbytes', or the user's own."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from vramlint.errors import TraceError
from vramlint.trace.choices import Choices
from vramlint.trace.families.user_models import find_callable

Maker = Callable[[list[nn.Parameter]], torch.optim.Optimizer]

_DEFAULTS = {"sgd": {"lr": 0.01}}
"""Arguments that torch versions of old ask for."""


def optimizer_maker(choices: Choices) -> Maker | None:
    """What makes the chosen optimizer of the parameters; None where none is chosen.

    Raises TraceError for a name that no installed package has, and for an update it does not offer.
    """
    if not choices.optimizer:
        return None
    if ":" in choices.optimizer:
        return find_callable(choices.optimizer)
    kind = _class(choices.optimizer)
    options = {
        **_DEFAULTS.get(choices.optimizer.lower(), {}),
        **dict(choices.optimizer_options),
        **_update(kind, choices),
    }

    def make(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        try:
            return kind(parameters, **options)
        except TypeError as error:
            raise TraceError(f"{kind.__name__}: {error}", help="Check --optimizer-option.") from error

    return make


def _class(name: str) -> type[torch.optim.Optimizer]:
    """The class called so, whatever the case and the separators: adamw, AdamW8bit, paged_adamw_8bit."""
    wanted = _plain(name)
    for package in ("torch.optim", "bitsandbytes.optim"):
        if package != "torch.optim" and importlib.util.find_spec(package.partition(".")[0]) is None:
            continue
        module = importlib.import_module(package)
        for attribute, found in vars(module).items():
            if _plain(attribute) == wanted and isinstance(found, type) and issubclass(found, torch.optim.Optimizer):
                return found
    raise TraceError(
        f"no optimizer called {name!r}",
        help="Name one of torch.optim, of bitsandbytes where it is installed, or your own as module:callable.",
    )


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _update(kind: type[torch.optim.Optimizer], choices: Choices) -> dict[str, Any]:
    if not choices.update:
        return {}
    known = inspect.signature(kind).parameters
    if choices.update == "for-loop":
        return {name: False for name in ("foreach", "fused") if name in known}
    if choices.update not in known:
        raise TraceError(f"{kind.__name__} has no {choices.update} update", help="Leave --update out.")
    return {choices.update: True}
