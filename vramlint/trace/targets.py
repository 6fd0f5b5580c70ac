"""What can be traced: a target is a recipe for a job at any shape, found by name or in the user's own code."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from vramlint.errors import TraceError
from vramlint.memory.profile_catalogue import FAMILIES as SHIPPED
from vramlint.trace.answers import Positives, few_positives
from vramlint.trace.events import Shape
from vramlint.trace.pairing import IMAGE_TERMS
from vramlint.trace.tracer import Job

IMAGE_SHAPES = (Shape(2, 128, 128), Shape(3, 224, 160), Shape(3, 128, 128), Shape(4, 256, 256))
"""Shapes that tell the image terms apart; batch 1 is avoided, where operators take special paths.

The first two have all ratios different (batch 1.5, height 1.75, width 1.25, pixels 2.19, batch times pixels 3.28), so
they are enough for storages that follow one term.
"""

IMAGE_CONFIRM = (Shape(5, 320, 256), Shape(1, 512, 512))
"""Further shapes at which a profile of images must equal a direct trace."""


TOLERANCE = 0.005
"""Largest difference between profile and direct trace with which a profile is written."""


OptimizerMaker = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


class Target(NamedTuple):
    """How to trace one model.

    ``make`` builds the job at a shape, with activation checkpointing where asked (``has_checkpointing`` says whether
    the model offers it). ``packages`` are the distributions whose versions matter. ``shapes`` determine the profile and
    ``confirm`` check it, within ``tolerance``: as many of the shapes are traced, in order, as the fit needs.
    ``size_multiple`` is what image sides must be a multiple of; ``fixed_size`` the one size and ``default_size`` the
    one that the package trains it at. Without ``real_second_step`` the confirming traces derive theirs as the others
    do. ``otherwise`` is traced where this target cannot be (a model that may or may not take any size). ``optimizer``
    makes the model's own optimizer, whose step is traced too. ``parameters`` is how many a model has that was built
    outside the trace: inside, numbers that a constructor works out with torch may be lost. ``targets``: how many ground
    truths an image the profile is read for, where the terms tell them apart.
    """

    name: str
    make: Callable[[Shape, bool], Job]
    packages: tuple[str, ...]
    assumptions: tuple[str, ...]
    has_checkpointing: bool = False
    terms: tuple[str, ...] = IMAGE_TERMS
    shapes: tuple[Shape, ...] = IMAGE_SHAPES
    confirm: tuple[Shape, ...] = IMAGE_CONFIRM
    size_multiple: int = 32
    fixed_size: tuple[int, int] | None = None
    default_size: tuple[int, int] | None = None
    real_second_step: bool = True
    parameters: int | None = None
    positives: Positives = few_positives
    tolerance: float = TOLERANCE
    optimizer: OptimizerMaker | None = None
    targets: int = 0
    otherwise: Target | None = None


FAMILIES = (*SHIPPED, "diffusers", "user")
"""Modules of ``vramlint.trace.families``, in the order a bare name is looked for."""


def find_target(name: str) -> Target:
    """The target called ``name``: ``family/model``, a bare model name, or ``module:callable`` of the user's code.

    Raises TraceError where no installed package knows it; errors of the user's own module come through as they are.
    """
    if ":" in name:
        return _family("user")(name)
    family, _, model = name.partition("/")
    if model:
        if family not in FAMILIES:
            raise TraceError(f"there is no family {family!r}", help=f"Choose one of {', '.join(FAMILIES)}.")
        return _family(family)(model)
    missing: list[str] = []
    for candidate in FAMILIES[:-1]:
        try:
            return _family(candidate)(name)
        except UnknownModel as unknown:
            missing.append(unknown.message)
    raise TraceError(
        f"no model called {name!r}: " + "; ".join(missing),
        help="Name your own model as module:callable, or install the package that has this one.",
    )


def family_names(family: str) -> Sequence[str]:
    """The names of a family's models, in the order in which a catalogue is made."""
    module = importlib.import_module(f"vramlint.trace.families.{family}_models")
    names: Sequence[str] = module.names()
    return names


def other_names(family: str) -> Mapping[str, str]:
    """Names under which a family's models were known before, and those under which it knows them now."""
    module = importlib.import_module(f"vramlint.trace.families.{family}_models")
    names: Mapping[str, str] = module.other_names() if hasattr(module, "other_names") else {}
    return names


class UnknownModel(TraceError):
    """A family does not have the model, or its package is not installed."""


def _family(name: str) -> Callable[[str], Target]:
    module = importlib.import_module(f"vramlint.trace.families.{name}_models")
    return partial(_find, module.find)


def _find(find: Callable[[str], Target], name: str) -> Target:
    try:
        return find(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("vramlint"):
            raise
        raise UnknownModel(f"package {error.name!r} is not installed") from error
