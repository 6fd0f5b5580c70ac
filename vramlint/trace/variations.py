"""A target as the user chose it: adapters, checkpointed modules, channels_last, shapes of their own."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map
from torch.utils.checkpoint import checkpoint

from vramlint.errors import TraceError
from vramlint.trace.choices import Choices
from vramlint.trace.events import Shape
from vramlint.trace.optimizers import optimizer_maker
from vramlint.trace.targets import Target
from vramlint.trace.tracer import Job

_FEWEST_POINTS = 3
"""Points of more than one size: two for the fit at the least, and one that confirms it."""


def varied(target: Target, choices: Choices) -> Target:
    """The target with everything that was chosen of the model. Raises TraceError for what does not fit it."""
    if choices.lora_rank and importlib.util.find_spec("peft") is None:
        raise TraceError("adapters need peft", help="Install it with: pip install peft")
    name = target.name + (f"_lora{choices.lora_rank}" if choices.lora_rank else "")
    target = target._replace(
        name=name,
        make=_making(target, choices),
        packages=(*target.packages, *(("peft",) if choices.lora_rank else ())),
        assumptions=(*target.assumptions, *choices.words()),
        has_checkpointing=target.has_checkpointing or bool(choices.checkpoint),
        optimizer=optimizer_maker(choices) or target.optimizer,
        parameters=None if choices.lora_rank else target.parameters,
        otherwise=None if target.otherwise is None else varied(target.otherwise, choices._replace(points=())),
    )
    return _at_points(target, choices.points) if choices.points else target


def on_tokens(target: Target) -> bool:
    """Whether the target's sizes are lengths of token sequences."""
    return any("S" in term for term in target.terms)


def shape_of(target: Target, point: tuple[int, ...]) -> Shape:
    """The shape of a point. Raises TraceError where it has a side too many or too few."""
    if on_tokens(target):
        if len(point) != 2:
            raise TraceError(f"{target.name} takes token sequences", help="Give points as BATCHxLENGTH.")
        return Shape(point[0], seq_len=point[1])
    if len(point) != 3:
        raise TraceError(f"{target.name} takes images", help="Give points as BATCHxHEIGHTxWIDTH.")
    return Shape(*point)


def _at_points(target: Target, points: Iterable[tuple[int, ...]]) -> Target:
    """The target at the user's points: one size makes a profile of that size, several are fitted and confirmed."""
    shapes = tuple(dict.fromkeys(shape_of(target, point) for point in points))
    sizes = {shape[1:] for shape in shapes}
    if len(sizes) > 1 and len(shapes) < _FEWEST_POINTS:
        raise TraceError(
            f"{len(shapes)} points do not tell how {target.name} grows",
            help="Give one size, or three points or more of different batches and sizes: the last confirms the others.",
        )
    if len(sizes) > 1:
        return target._replace(shapes=shapes[:-1], confirm=shapes[-1:], size_multiple=1, otherwise=None)
    if on_tokens(target):
        raise TraceError("a profile of one length is of little use", help="Give points of two lengths or more.")
    size = shapes[0]
    batches = sorted({2, 3, *(shape.batch for shape in shapes)})
    return target._replace(
        terms=("1", "B"),
        shapes=tuple(size._replace(batch=batch) for batch in (2, 3)),
        confirm=tuple(size._replace(batch=batch) for batch in batches if batch not in (2, 3))
        or (size._replace(batch=5),),
        fixed_size=(size.height, size.width),
        otherwise=None,
    )


def _making(target: Target, choices: Choices) -> Callable[[Shape, bool], Job]:
    make = target.make

    def varied_job(shape: Shape, checkpointing: bool) -> Job:
        job = make(shape, checkpointing and not choices.checkpoint)
        if choices.lora_rank:
            _adapt(job.model, choices)
        if choices.checkpoint and checkpointing:
            for module in matching(job.model, choices.checkpoint):
                _recompute(module)
        return _channels_last(job) if choices.channels_last else job

    return varied_job


def matching(model: nn.Module, patterns: Iterable[str]) -> list[nn.Module]:
    """The modules whose names match a pattern, the outermost of nested ones. Raises TraceError where none does."""
    patterns = tuple(patterns)
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if name and not inside and any(fnmatchcase(name, pattern) for pattern in patterns):
            found[name] = module
    if not found:
        names = ", ".join([name for name, _ in model.named_modules() if name][:8])
        raise TraceError(f"no module is called {' or '.join(patterns)}", help=f"The model's modules: {names}, …")
    return list(found.values())


def _adapt(model: nn.Module, choices: Choices) -> None:
    """Adapters on linear layers, by peft's own injection; everything else is frozen by it."""
    find_output: Any = getattr(model, "get_output_embeddings", None)
    output = find_output() if find_output else None
    patterns = choices.lora_targets or ("*",)
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not output and _named(name, patterns)
    ]
    if not names:
        raise TraceError(f"no linear layer is called {' or '.join(patterns)}", help="Look at model.named_modules().")
    peft = importlib.import_module("peft")
    peft.inject_adapter_in_model(peft.LoraConfig(r=choices.lora_rank, target_modules=names), model)


def _named(name: str, patterns: Iterable[str]) -> bool:
    """Whether a layer's full name or its last part, as peft's configs have it, matches."""
    return any(fnmatchcase(name, pattern) or name.rpartition(".")[2] == pattern for pattern in patterns)


def _recompute(module: nn.Module) -> None:
    """Makes the module's forward pass a checkpoint while it trains."""
    forward = module.forward

    def run(*args: Any, **kwargs: Any) -> Any:
        if module.training and torch.is_grad_enabled():
            return checkpoint(forward, *args, use_reentrant=False, **kwargs)
        return forward(*args, **kwargs)

    module.forward = run


def _channels_last(job: Job) -> Job:
    model = job.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def converted(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.dim() == 4:
            return value.contiguous(memory_format=torch.channels_last)
        return value

    return job._replace(model=model, batch=lambda: tree_map(converted, job.batch()))
