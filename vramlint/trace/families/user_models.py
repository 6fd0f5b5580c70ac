"""The user's own model, named ``module:callable``.

The callable takes any of the keyword arguments ``batch``, ``height``, ``width``, ``seq_len`` and ``checkpointing`` and
returns either a module on RGB images, or ``(model, inputs, loss)``: ``inputs`` a tensor or a tuple or dict of tensors,
``loss(model, inputs)`` a scalar. It runs under fake tensors, so nothing is computed and no weights need to be loaded.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vramlint.errors import TraceError
from vramlint.project.own_profiles import source_digest
from vramlint.trace.events import Shape
from vramlint.trace.families.images import images
from vramlint.trace.pairing import TOKEN_TERMS
from vramlint.trace.targets import Target
from vramlint.trace.tracer import Job

TOKEN_SHAPES = (Shape(2, seq_len=64), Shape(3, seq_len=112), Shape(2, seq_len=96), Shape(4, seq_len=128))
"""Shapes that tell the token terms apart, the first two of them those of storages that follow one term."""

_ARGUMENTS = ("batch", "height", "width", "seq_len")


def find(name: str) -> Target:
    """The target of ``module:callable``. Raises TraceError where the callable is missing or takes other arguments."""
    function = find_callable(name)
    names = _argument_names(function)
    needed = [n for n in names if n not in (*_ARGUMENTS, "checkpointing")]
    if needed and not (isinstance(function, type) and issubclass(function, nn.Module)):
        raise TraceError(
            f"{name} takes {needed[0]!r}, which vramlint does not know",
            help="Take batch, height, width, seq_len or checkpointing as keyword arguments.",
        )
    target = Target(
        name.replace(":", "_"),
        _maker(function, names),
        ("torch",),
        (f"traced from {name}",),
        has_checkpointing="checkpointing" in names,
    )
    if "seq_len" in names:
        return target._replace(terms=TOKEN_TERMS, shapes=TOKEN_SHAPES, confirm=(Shape(5, seq_len=160),))
    return target


def find_callable(name: str) -> Callable[..., Any]:
    """The object called ``module:callable``. Raises TraceError where the module has none of that name."""
    module_name, _, attribute = name.partition(":")
    found = getattr(importlib.import_module(module_name), attribute, None)
    if not callable(found):
        raise TraceError(
            f"module {module_name!r} has no callable {attribute!r}", help="Name it as module:callable, importable here."
        )
    result: Callable[..., Any] = found
    return result


def code_fingerprint(name: str, folder: Path) -> dict[str, Any]:
    """The target and the SHA-256 of every file of the repository that tracing it imported.

    A profile is stale once one of them changed. What lies in ``folder`` but belongs to an installed environment does
    not count.
    """
    root = folder.resolve()
    sources: dict[str, str] = {}
    for module in list(sys.modules.values()):
        file = Path(getattr(module, "__file__", None) or "").resolve()
        if not file.is_file() or not file.is_relative_to(root):
            continue
        inside = file.relative_to(root)
        if not any(part.startswith(".") or part == "site-packages" for part in inside.parts):
            sources[inside.as_posix()] = source_digest(str(file))
    return {"target": name, "sources": dict(sorted(sources.items()))}


def _argument_names(function: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [
        p.name
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        and (p.default is p.empty or p.name in (*_ARGUMENTS, "checkpointing"))
    ]


def _maker(function: Callable[..., Any], names: list[str]) -> Callable[[Shape, bool], Job]:
    def make(shape: Shape, checkpointing: bool) -> Job:
        values = {**shape._asdict(), "checkpointing": checkpointing}
        made = function(**{name: values[name] for name in names})
        if isinstance(made, nn.Module):
            return Job(made, lambda: images(shape), _mean_loss, _call)
        if isinstance(made, tuple) and len(made) == 3:
            model, inputs, loss = made
            return Job(model, lambda: _fresh(inputs), loss, None)
        raise TraceError(
            f"the callable returned {type(made).__name__}",
            help="Return a torch module, or a tuple (model, inputs, loss).",
        )

    return make


def _fresh(inputs: Any) -> Any:
    """A new batch of the same shapes: each step loads its own."""
    if isinstance(inputs, torch.Tensor):
        return torch.empty_like(inputs)
    if isinstance(inputs, dict):
        return {key: _fresh(value) for key, value in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        return type(inputs)(_fresh(value) for value in inputs)
    return inputs


def _call(model: nn.Module, batch: torch.Tensor) -> Any:
    return model(batch)


def _mean_loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """The mean of all outputs: stands for a loss that saves nothing of its own."""
    total = torch.zeros(())
    for output in _tensors(model(batch)):
        total = total + output.float().mean()
    return total


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in _tensors(item)]
    return []
