"""Which builder makes which ``type``: one table a kind of component, filled by decorators in the builders' modules."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol, TypeVar

from vramlint.errors import VramlintError
from vramlint.memory.layers.tape import Stack, Tape, Tensor

Config = Mapping[str, Any]
Maps = list[Tensor]


class UnknownType(VramlintError):
    """A ``type`` without a builder, or an option that its builder does not know."""


class Model(Protocol):
    """A whole model: what one training step and one evaluation step of it do."""

    def loss(self, images: Tensor) -> Tensor:
        """Forward pass and losses of a batch of (batch, 3, height, width) images; the sum of the losses."""
        ...


Backbone = Callable[[Tensor], Maps]
Neck = Callable[[Maps], Maps]

Made = TypeVar("Made")
_TABLES: dict[str, dict[str, Callable[..., Any]]] = {}

KINDS = ("model", "backbone", "neck", "head", "loss", "layer")
"""Kinds of components; a head's protocol is its model's affair (``heads/segmentation``, ``heads/detection``, …)."""

_FOLDERS: dict[str, tuple[str, ...]] = {
    "model": ("models", "named"),
    "backbone": ("backbones",),
    "neck": ("necks",),
    "head": ("heads",),
    "loss": ("losses",),
    "layer": (),
}


class Build(NamedTuple):
    """What builders are given beside their own configuration.

    ``scope`` is the project whose registry a bare ``type`` belongs to (``mmseg``, ``mmdet``, ``detectron2``, …).
    ``facts``: what the plan knows beside the architecture (``classes``, ``frames``, ``ground_truths``, …).
    """

    tape: Tape
    scope: str
    facts: Mapping[str, Any] = {}

    @property
    def stack(self) -> Stack:
        return self.tape.stack

    def make(self, kind: str, config: Config, *args: Any) -> Any:
        """The component of ``kind`` that ``config`` describes. Raises UnknownType."""
        name = str(config.get("type"))
        builder = find(kind, name, self.scope)
        if builder is None:
            raise UnknownType(f"{kind} of type {name!r} is not known")
        prefix, _, _ = name.rpartition(".")
        inside = self if not prefix else self._replace(scope=prefix)
        try:
            return builder(inside, config, *args)
        except (
            KeyError,
            TypeError,
            ValueError,
            IndexError,
            AssertionError,
            AttributeError,
            ZeroDivisionError,
        ) as error:
            raise UnknownType(f"{kind} {name}: an option is missing or of a kind not known ({error!r})") from error

    def backbone(self, config: Config) -> Backbone:
        made: Backbone = self.make("backbone", config)
        return made

    def neck(self, config: Config | Sequence[Config] | None) -> Neck:
        """A neck, several in a row, or none."""
        if config is None:
            return lambda maps: maps
        if isinstance(config, Mapping):
            made: Neck = self.make("neck", config)
            return made
        necks: list[Neck] = [self.make("neck", each) for each in config]

        def run(maps: Maps) -> Maps:
            for neck in necks:
                maps = neck(maps)
            return maps

        return run


def register(kind: str, *names: str) -> Callable[[Made], Made]:
    """Decorator: this function builds the ``type`` called each of ``names`` (``Name`` or ``scope.Name``).

    It is called with a :class:`Build` and the component's configuration, and returns the made component.
    """

    def decorate(builder: Made) -> Made:
        table = _TABLES.setdefault(kind, {})
        for name in names:
            table[name] = builder  # type: ignore[assignment]
        return builder

    return decorate


def backbone(*names: str) -> Callable[[Made], Made]:
    """Registers a backbone: ``(build, config) -> (image tensor -> list of maps)``."""
    return register("backbone", *names)


def neck(*names: str) -> Callable[[Made], Made]:
    """Registers a neck: ``(build, config) -> (list of maps -> list of maps)``."""
    return register("neck", *names)


def head(*names: str) -> Callable[[Made], Made]:
    """Registers a head; its protocol is that of the models that use it."""
    return register("head", *names)


def model(*names: str) -> Callable[[Made], Made]:
    """Registers a whole model: ``(build, config) -> Model``."""
    return register("model", *names)


def find(kind: str, name: str, scope: str) -> Callable[..., Any] | None:
    """The builder of ``name`` (which may carry its own scope), the most specific one first.

    Only its own module is imported; a name that no decorator spells is looked for in all of them.
    """
    prefix, _, bare = name.rpartition(".")
    spelled = (f"{prefix or scope}.{bare}", bare)
    for candidate in spelled:
        place = places().get(kind, {}).get(candidate)
        if place is not None:
            importlib.import_module(f"{_HERE}.{place}")
            return _TABLES[kind][candidate]
    _load(kind)
    table = _TABLES.get(kind, {})
    return table.get(spelled[0]) or table.get(bare)


_HERE = "vramlint.memory.layers"
PLACES = os.path.join(os.path.dirname(__file__), "places.json")


@cache
def places() -> dict[str, dict[str, str]]:
    """The module of each name by kind, as the decorators in the builders' sources spell them.

    ``tools/make_docs.py`` keeps the file; a name that it lacks is still found, in all modules of its kind.
    """
    with open(PLACES, encoding="utf-8") as file:
        found: dict[str, dict[str, str]] = json.load(file)
    return found


def known(kind: str) -> Iterator[str]:
    """All names of a kind, sorted."""
    _load(kind)
    return iter(sorted(_TABLES.get(kind, {})))


MODULES: dict[str, tuple[str, ...]] = {
    "backbones": (
        "bisenetv2",
        "clips",
        "convnext",
        "darknet",
        "ddrnet",
        "elsewhere",
        "frames",
        "hourglass",
        "hrnet",
        "light",
        "medical",
        "mit",
        "mmpretrain",
        "mobilenet",
        "mscan",
        "narrow",
        "pidnet",
        "plugins",
        "pvt",
        "recursive",
        "regnet",
        "resnest",
        "resnet",
        "skeleton",
        "swin",
        "trident",
        "unet",
        "uniformer",
        "video",
        "video_plain",
        "video_swin",
        "vit",
    ),
    "necks": (
        "centers",
        "content",
        "grids",
        "pyramids",
        "recursive",
        "searched",
        "segmentation",
        "video",
    ),
    "heads": (
        "detection.cascade_rpn",
        "detection.center3d",
        "detection.centers",
        "detection.corners",
        "detection.dense",
        "detection.dynamic",
        "detection.guided",
        "detection.mask2former",
        "detection.mask_heads",
        "detection.mono3d",
        "detection.mask2former_video",
        "detection.maskformer",
        "detection.point_rend",
        "detection.points",
        "detection.prototypes",
        "detection.query_masks",
        "detection.regions",
        "detection.roi_heads",
        "detection.rpn",
        "detection.sides",
        "detection.solo",
        "detection.sparse",
        "detection.yolo",
        "segmentation.fcn",
        "segmentation.knet",
        "segmentation.nonlocal_heads",
        "segmentation.pooling",
        "segmentation.pyramid",
        "segmentation.queries",
        "segmentation.relation",
        "segmentation.special",
        "segmentation.tokens_heads",
        "video",
    ),
    "models": (
        "actions",
        "detectors",
        "detectron2",
        "grounded",
        "medical",
        "pillars",
        "pose",
        "queries",
        "queries_conditional",
        "recognizers",
        "segmentors",
        "trackers",
    ),
    "losses": ("segmentation",),
    "named": ("segmentation", "torchvision", "unets", "yolo"),
}
"""The modules of each folder; a module not named here is not found."""


@cache
def _load(kind: str) -> None:
    for folder in _FOLDERS.get(kind, ()):
        for module in MODULES[folder]:
            importlib.import_module(f"{_HERE}.{folder}.{module}")
