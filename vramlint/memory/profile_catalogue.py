"""The shipped profiles by name: one pack a family of models, made by ``tools/make_profiles.py``."""

from __future__ import annotations

import os
from functools import cache

from vramlint.memory.pack import Pack, pack_key
from vramlint.memory.profile import Profile, load_profile
from vramlint.patterns import later
from vramlint.plan import Precision

FOLDER = os.path.join(os.path.dirname(__file__), "data", "profiles")

FAMILIES = (
    "plain",
    "unet",
    "landmarks",
    "timm",
    "torchvision",
    "segmentation",
    "ultralytics",
    "rfdetr",
    "detr",
    "vision",
    "transformers",
    "encoder",
)
"""The packs, in the order in which a name without family is looked for."""

_FILE_SUFFIX = later(r"\.(pt|pth|yaml|yml|onnx|safetensors)$")


def find_profile(name: str, precision: Precision | None = None, checkpointing: bool | None = None) -> Profile | None:
    """The shipped profile of the model called ``name``, as people spell it.

    ``ResNet-50``, ``yolov12s.pt``, ``resnet50.a1_in1k`` (weights are of no matter) and ``timm/hrnet_w18`` (a family
    goes first) are understood, and a hub's owner where several packages have the name (``microsoft/resnet-50``). Where
    ``precision`` and ``checkpointing`` are given, None is returned unless that variant was traced.
    """
    found = _found(name)
    if found is None or precision is None:
        return found
    return found if found.variant(precision, checkpointing=bool(checkpointing)) else None


def profiles() -> tuple[str, ...]:
    """Names of all shipped profiles, sorted; a family before the name where another family's comes first."""
    found: dict[str, None] = {}
    for family in FAMILIES:
        pack = _pack(family)
        for name in () if pack is None else pack.names():
            found[f"{family}/{name}" if name in found else name] = None
    return tuple(sorted(found))


@cache
def _found(name: str) -> Profile | None:
    path, _, last = _FILE_SUFFIX.sub("", name.strip().lower()).rpartition("/")
    family = path.rpartition("/")[2]
    families = dict.fromkeys((family, *FAMILIES) if family in FAMILIES else FAMILIES)
    for key in dict.fromkeys((pack_key(family + last), pack_key(last), pack_key(last.partition(".")[0]))):
        for each in families:
            pack = _pack(each)
            data = None if pack is None else pack.find(key)
            if data is not None:
                return load_profile(data)
    return None


@cache
def _pack(family: str) -> Pack | None:
    try:
        return Pack(os.path.join(FOLDER, f"{family}.jsonl"))
    except FileNotFoundError:
        return None
