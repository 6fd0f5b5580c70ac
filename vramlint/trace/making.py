"""Makes a profile: traces a target at its shapes, fits, confirms, and writes the JSON form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any, NamedTuple

import torch
from torch import nn

from vramlint.errors import TraceError
from vramlint.memory.profile import SCHEMA
from vramlint.trace.events import STEADY, Recording, Shape
from vramlint.trace.fake import TESTED
from vramlint.trace.pairing import Fit, Point, TooFewShapes, fit, residual
from vramlint.trace.targets import Target
from vramlint.trace.tracer import Job, Options, record

TRACER = 3
"""Raised whenever the same model traces differently; profiles of another number are made again.

2: gradients that meet are added in place as autograd does; constructors read the values of short sequences.
3: moments that no shape needs to within KEEP_WITHIN are left out; the second step is derived from the first.
"""

FEWEST_SHAPES = 2
"""Shapes with which a fit is tried first."""

EVALUATION_TOLERANCE = 0.06
"""The same for the pass without graph, which takes a small part of the training step's memory."""

AUTOCAST_DTYPE = torch.bfloat16
"""Autocast's type while tracing; fp16 takes the same bytes but for softmax's input copy, which CUDA then saves."""


class VariantName(NamedTuple):
    """One way to run the model: ``precision`` is ``fp32`` or ``amp``."""

    precision: str
    checkpointing: bool

    def __str__(self) -> str:
        return f"{self.precision}+checkpointing" if self.checkpointing else self.precision


def variants_of(target: Target) -> list[VariantName]:
    """All ways the target can be run."""
    checkpointing = (False, True) if target.has_checkpointing else (False,)
    return [VariantName(precision, flag) for precision in ("fp32", "amp") for flag in checkpointing]


def trace(target: Target, variant: VariantName, shape: Shape, *, second_step: bool = False) -> Recording:
    """The recording of a target run one way at one shape; its second step follows from the first unless asked for."""
    options = Options(
        dtype=AUTOCAST_DTYPE if variant.precision == "amp" else None,
        positives=target.positives,
        second_step=second_step,
    )
    return record(lambda: target.make(shape, variant.checkpointing), shape, options)


def make_profile(
    target: Target, date: str, say: Callable[[str], None], only: Iterable[VariantName] | None = None
) -> dict[str, Any]:
    """The profile of a target in its JSON form. ``date`` is written down; ``say`` hears the progress.

    Raises TraceError where two traces do different things, or where a further trace differs by more than it may.
    """
    wanted = tuple(variants_of(target) if only is None else only)
    try:
        return _make(target, date, say, wanted)
    except Exception as error:
        if target.otherwise is None:
            raise
        say(f"{target.name} not at every size ({_first_line(error)})")
    return _make(target.otherwise, date, say, wanted)


def _make(target: Target, date: str, say: Callable[[str], None], wanted: tuple[VariantName, ...]) -> dict[str, Any]:
    variants: dict[str, Any] = {}
    first: Recording | None = None
    for variant in wanted:
        found, recording = _fitted(target, variant, say)
        variants[str(variant)] = _variant(target, variant, found, say)
        first = first or recording
    assert first is not None
    if target.parameters not in (None, first.parameters):
        raise TraceError(
            f"{target.name} has {target.parameters:,} parameters, the traced model {first.parameters:,}",
            help="Its constructor reads values of tensors that a trace does not have.",
        )
    optimizer = {} if target.optimizer is None else {"optimizer": _optimizer_memory(target, wanted[0], say)}
    return {
        "schema": SCHEMA,
        "tracer": TRACER,
        "name": target.name,
        "parameters": first.parameters,
        "trainable": first.trainable,
        "buffer_bytes": first.extra_bytes(),
        "built_by": {package: _version(package) for package in target.packages},
        "date": date,
        "assumptions": [*target.assumptions, *_version_notes(target.packages)],
        "size_multiple": target.size_multiple,
        "fixed_size": None if target.fixed_size is None else list(target.fixed_size),
        "default_size": None if target.default_size is None else list(target.default_size),
        **optimizer,
        **({"targets": target.targets} if target.targets else {}),
        "variants": variants,
    }


def _optimizer_memory(target: Target, variant: VariantName, say: Callable[[str], None]) -> dict[str, Any]:
    """What the target's own optimizer keeps, and what its step takes on top, from one trace with it."""
    shape = target.shapes[0]
    say(f"{target.name} optimizer at {shape}")
    names: list[str] = []

    def make() -> Job:
        job = target.make(shape, variant.checkpointing)
        return job._replace(optimizer=lambda parameters: _noted(target, parameters, names))

    recording = record(make, shape, Options(positives=target.positives, evaluation=False))
    levels: dict[str, int] = {}
    for level in recording.levels():
        levels[level.phase] = max(levels.get(level.phase, 0), level.activation_bytes)
    states = recording.live_bytes_at(f"{STEADY}:end")
    before = recording.live_bytes_at(f"{STEADY}:backward")
    return {
        "name": names[0],
        "state_bytes": states,
        "step_bytes": max(0, levels.get(f"{STEADY}:optimizer", 0) - before),
    }


def _noted(target: Target, parameters: list[nn.Parameter], names: list[str]) -> torch.optim.Optimizer:
    assert target.optimizer is not None
    made = target.optimizer(parameters)
    if not isinstance(made, torch.optim.Optimizer):
        raise TraceError(
            f"the optimizer's callable returned {type(made).__name__}", help="Return a torch.optim.Optimizer."
        )
    names.append(type(made).__name__)
    return made


def _fitted(target: Target, variant: VariantName, say: Callable[[str], None]) -> tuple[Fit, Recording]:
    """The fit of as few recordings as explain every storage, with the first of them."""
    recordings: list[Recording] = []
    for shape in target.shapes:
        say(f"{target.name} {variant} at {shape}")
        recordings.append(trace(target, variant, shape))
        if len(recordings) < min(FEWEST_SHAPES, len(target.shapes)):
            continue
        try:
            return fit(recordings, target.terms), recordings[0]
        except TooFewShapes:
            if len(recordings) == len(target.shapes):
                raise
    raise TraceError(f"{target.name} has no shapes to trace at")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _variant(target: Target, variant: VariantName, found: Fit, say: Callable[[str], None]) -> dict[str, Any]:
    residuals = []
    for shape in target.confirm:
        say(f"{target.name} {variant} confirmed at {shape}")
        residuals.append(residual(found, trace(target, variant, shape, second_step=target.real_second_step)))
        difference = residuals[-1]
        if difference.training > target.tolerance or difference.evaluation > EVALUATION_TOLERANCE:
            raise TraceError(
                f"the profile of {target.name} ({variant}) misses the trace at {shape} by {difference.training:.2%} "
                f"(training) and {difference.evaluation:.2%} (evaluation)",
                help="Its memory does not follow batch and size as assumed; trace at the size you train with.",
            )
    return {
        "terms": list(found.terms),
        "fresh": _rows(found.parts.get("fresh", ())),
        "kept": _rows(found.parts.get("kept", ())),
        "evaluation": _rows(found.parts.get("evaluation", ())),
        "residual": float(f"{max((each.training for each in residuals), default=0.0):.2g}"),
        "evaluation_residual": float(f"{max((each.evaluation for each in residuals), default=0.0):.2g}"),
    }


def _rows(points: Iterable[Point]) -> list[list[Any]]:
    return [[point.phase, [_plain(value) for value in point.coefficients], point.gradient_elements] for point in points]


def _plain(value: float) -> int | float:
    """A coefficient with as many digits as a byte at the largest workload needs."""
    rounded = float(f"{value:.10g}")
    return int(rounded) if rounded.is_integer() else rounded


def _version_notes(packages: Iterable[str]) -> list[str]:
    """A note for every package of a version that the tracer is not tested with."""
    versions = {package: _version(package) for package in packages if package in TESTED}
    return [
        f"made with {package} {version}; the tracer is tested with {', '.join(TESTED[package])}"
        for package, version in versions.items()
        if not any(version == tested or version.startswith(f"{tested}.") for tested in TESTED[package])
    ]


def _version(package: str) -> str:
    """The version without its build tag: ``2.13.0+cpu`` and ``2.13.0+cu130`` trace the same."""
    return metadata.version(package).split("+")[0]
