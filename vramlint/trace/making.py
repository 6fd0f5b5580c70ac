"""Makes a profile: traces a target at its shapes, fits, confirms, and writes the JSON form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any, NamedTuple

import torch

from vramlint.errors import TraceError
from vramlint.memory.profile import SCHEMA
from vramlint.trace.events import Recording, Shape
from vramlint.trace.fake import TESTED_TORCH
from vramlint.trace.pairing import Fit, Point, fit, residual
from vramlint.trace.targets import Target
from vramlint.trace.tracer import Options, record

TRACER = 2
"""Raised whenever the same model traces differently; profiles of another number are made again.

2: gradients that meet are added in place as autograd does; constructors read the values of short sequences.
"""

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


def trace(target: Target, variant: VariantName, shape: Shape) -> Recording:
    """The recording of a target run one way at one shape."""
    options = Options(
        dtype=AUTOCAST_DTYPE if variant.precision == "amp" else None,
        positives=target.positives,
    )
    return record(lambda: target.make(shape, variant.checkpointing), shape, options)


def make_profile(
    target: Target, date: str, say: Callable[[str], None], only: Iterable[VariantName] | None = None
) -> dict[str, Any]:
    """The profile of a target in its JSON form. ``date`` is written down; ``say`` hears the progress.

    Raises TraceError where two traces do different things, or where a further trace differs by more than it may.
    """
    variants: dict[str, Any] = {}
    first: Recording | None = None
    for variant in variants_of(target) if only is None else only:
        recordings = []
        for shape in target.shapes:
            say(f"{target.name} {variant} at {shape}")
            recordings.append(trace(target, variant, shape))
        found = fit(recordings, target.terms)
        variants[str(variant)] = _variant(target, variant, found, say)
        first = first or recordings[0]
    assert first is not None
    return {
        "schema": SCHEMA,
        "tracer": TRACER,
        "name": target.name,
        "parameters": first.parameters,
        "trainable": first.trainable,
        "buffer_bytes": first.extra_bytes(),
        "built_by": {package: _version(package) for package in target.packages},
        "date": date,
        "assumptions": [*target.assumptions, *_version_note()],
        "size_multiple": target.size_multiple,
        "fixed_size": None if target.fixed_size is None else list(target.fixed_size),
        "variants": variants,
    }


def _variant(target: Target, variant: VariantName, found: Fit, say: Callable[[str], None]) -> dict[str, Any]:
    residuals = []
    for shape in target.confirm:
        say(f"{target.name} {variant} confirmed at {shape}")
        residuals.append(residual(found, trace(target, variant, shape)))
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


def _version_note() -> list[str]:
    version = torch.__version__.split("+")[0]
    if any(version.startswith(f"{tested}.") for tested in TESTED_TORCH):
        return []
    return [f"made with torch {version}; the tracer is tested with {', '.join(TESTED_TORCH)}"]


def _version(package: str) -> str:
    """The version without its build tag: ``2.13.0+cpu`` and ``2.13.0+cu130`` trace the same."""
    return metadata.version(package).split("+")[0]
