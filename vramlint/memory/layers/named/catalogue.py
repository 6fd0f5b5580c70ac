"""From a model's name to the tree that the ledger works out, without reading what is not asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple


class Named(NamedTuple):
    """A model called by name: the tree, the scope its types belong to, and what was taken for granted.

    ``size_multiple`` is what image sides must be a multiple of, ``fixed_size`` the one size (height, width) it takes,
    as its package demands.
    """

    name: str
    architecture: dict[str, Any]
    scope: str
    assumptions: tuple[str, ...]
    size_multiple: int = 1
    fixed_size: tuple[int, int] | None = None


@lru_cache(maxsize=256)
def find_named(name: str) -> Named | None:
    """The model called ``name`` (``resnet50``, ``torchvision/vgg16``, ``unet_resnet34``), None where none is known."""
    family, _, bare = name.strip().lower().rpartition("/")
    family = family.rpartition("/")[2]
    for kind, find in _FINDERS.items():
        if family not in ("", kind):
            continue
        found = find(bare)
        if found is not None:
            return found
    return None


def _torchvision(name: str) -> Named | None:
    from vramlint.memory.layers.named.torchvision import CLASSIFIERS, SEGMENTORS

    if CLASSIFIERS.fullmatch(name):
        tree = {"type": "Classifier", "name": name, "classes": 1000}
        fixed = (224, 224) if name.startswith("vit") else None
        return Named(name, tree, "torchvision", ("1000 classes, cross-entropy",), fixed_size=fixed)
    if SEGMENTORS.fullmatch(name):
        tree = {"type": "Segmentor", "name": name, "classes": 21}
        return Named(name, tree, "torchvision", ("21 classes, cross-entropy, auxiliary classifier",))
    return None


_PAIR = re.compile(r"([a-z0-9]+?)[-_](.+)")


def _segmentation(name: str) -> Named | None:
    from vramlint.memory.layers.named.segmentation import ENCODERS, KINDS

    pair = _PAIR.fullmatch(name)
    if pair is None or pair[1] not in KINDS or not ENCODERS.fullmatch(pair[2]):
        return None
    tree = {"type": "SegmentationModel", "architecture": pair[1], "encoder": pair[2], "classes": 1}
    return Named(name, tree, "smp", ("one class, binary cross-entropy plus Dice",), size_multiple=32)


def _unet(name: str) -> Named | None:
    from vramlint.memory.layers.named.unets import KINDS

    if name not in KINDS:
        return None
    kind = KINDS[name]
    words = f"{kind.base} channels at first, batch norm, one class, binary cross-entropy plus Dice"
    return Named(
        name, {"type": "UNet", "kind": name, "with_cp": False}, "unets", (words,), size_multiple=2 ** (kind.levels - 1)
    )


_FINDERS: dict[str, Callable[[str], Named | None]] = {
    "torchvision": _torchvision,
    "segmentation": _segmentation,
    "unet": _unet,
    "plain": _unet,
}
"""By family, as ``vramlint trace`` calls them, in the order in which a bare name is looked for."""
