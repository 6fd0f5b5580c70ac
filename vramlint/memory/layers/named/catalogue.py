"""From a model's name to the tree that the ledger works out, without building it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, NamedTuple

from vramlint.memory.pack import pack_key


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


ANCHORS = "anchors"
"""After a name: YOLOv5 with the head of its own repository."""

_FILE_SUFFIX = re.compile(r"\.(pt|pth|yaml|yml|onnx|safetensors)$")


@lru_cache(maxsize=256)
def find_named(name: str) -> Named | None:
    """The model called ``name``, as people spell it: None where none is known.

    ``ResNet-50``, ``torchvision/vgg16``, ``Unet_resnet34``, ``deeplabv3+_resnet50``, ``yolov8n.pt`` are understood.
    """
    path, _, last = _FILE_SUFFIX.sub("", name.strip().lower()).rpartition("/")
    family = path.rpartition("/")[2]
    chosen = _FINDERS.get(family)
    spelled = last.replace("++", "plusplus").replace("+", "plus")
    bare = spelled.partition(".")[0]
    for key in dict.fromkeys((spelled, bare, pack_key(spelled), pack_key(bare))):
        for find in dict.fromkeys(_FINDERS.values()) if chosen is None else (chosen,):
            found = find(key) if _BEGINNINGS[find].match(key) else None
            if found is not None:
                return found
    return None


def names() -> tuple[str, ...]:
    """All models by name, sorted; families before names that two of them have."""
    from vramlint.memory.layers.named import segmentation, torchvision, unets, yolo

    pairs = (f"{kind}_{encoder}" for kind in segmentation.KINDS for encoder in segmentation.ENCODERS)
    sized = (f"{each}{size}" for each, kind in yolo.GENERATIONS.items() for size in kind.scales)
    found = (*torchvision.CLASSIFIERS, *torchvision.SEGMENTORS, *pairs, *unets.KINDS, *sized)
    return tuple(sorted(name for name in found if _possible(name)))


def _possible(name: str) -> bool:
    """Whether the package builds the pair of decoder and encoder."""
    kind, _, encoder = name.partition("_")
    if encoder.startswith("mit"):
        return kind not in ("unetplusplus", "linknet", "deeplabv3", "deeplabv3plus", "pan")
    return not (kind in ("deeplabv3", "deeplabv3plus", "pan") and encoder.startswith(("vgg", "densenet")))


@cache
def _torchvision_names() -> dict[str, str]:
    from vramlint.memory.layers.named.torchvision import CLASSIFIERS, SEGMENTORS

    exact = {name: name for name in (*CLASSIFIERS, *SEGMENTORS)}
    packed = Counter(map(pack_key, exact))  # without separators, regnet_x_1_6gf and regnet_x_16gf are the same
    return {pack_key(name): name for name in exact if packed[pack_key(name)] == 1} | exact


def _torchvision(key: str) -> Named | None:
    name = _torchvision_names().get(key)
    if name is None:
        return None
    if name.startswith(("fcn", "deeplabv3", "lraspp")):
        tree = {"type": "Segmentor", "name": name, "classes": 21}
        return Named(name, tree, "torchvision", ("21 classes, cross-entropy, auxiliary classifier",))
    fixed = (224, 224) if name.startswith("vit") else None
    tree = {"type": "Classifier", "name": name, "classes": 1000}
    return Named(name, tree, "torchvision", ("1000 classes, cross-entropy",), fixed_size=fixed)


@cache
def _pairs() -> dict[str, tuple[str, str]]:
    from vramlint.memory.layers.named.segmentation import ENCODERS, KINDS

    return {
        pack_key(kind + encoder): (kind, encoder)
        for kind in KINDS
        for encoder in ENCODERS
        if _possible(f"{kind}_{encoder}")
    }


def _segmentation(key: str) -> Named | None:
    pair = _pairs().get(key)
    if pair is None:
        return None
    tree = {"type": "SegmentationModel", "architecture": pair[0], "encoder": pair[1], "classes": 1}
    step = 1 if pair[0] == "unet" and not pair[1].startswith("mit") else 32  # the others refuse what 32 does not divide
    return Named("_".join(pair), tree, "smp", ("one class, binary cross-entropy plus Dice",), size_multiple=step)


def _unet(key: str) -> Named | None:
    from vramlint.memory.layers.named.unets import KINDS

    name = next((each for each in KINDS if pack_key(each) == key), None)
    if name is None:
        return None
    kind = KINDS[name]
    words = f"{kind.base} channels at first, batch norm, one class, binary cross-entropy plus Dice"
    tree = {"type": "UNet", "kind": name, "with_cp": False}
    return Named(name, tree, "unets", (words,), size_multiple=2 ** (kind.levels - 1))


def _yolo(key: str) -> Named | None:
    from vramlint.memory.layers.named.yolo import CLASSES, TRUTHS, spelled

    anchors = key.endswith(ANCHORS)
    found = spelled(re.sub(r"(detect|det|anchors)$", "", key))
    if found is None or (anchors and found[0] != "yolov5"):
        return None
    tree: dict[str, Any] = {"generation": found[0], "size": found[1], "classes": CLASSES}
    words = f"{CLASSES} classes, targets padded to {TRUTHS} an image, ten places a target"
    if anchors:
        words = f"{CLASSES} classes, three anchors a place, as its own repository has it"
    tree["type"] = "AnchorDetector" if anchors else "Detector"
    return Named("".join(found), tree, "yolo", (words,), size_multiple=32)


_FINDERS: dict[str, Callable[[str], Named | None]] = {
    "torchvision": _torchvision,
    "segmentation": _segmentation,
    "unet": _unet,
    "plain": _unet,
    "ultralytics": _yolo,
}
"""By family, as ``vramlint trace`` calls them, in the order in which a bare name is looked for."""

_BEGINNINGS: dict[Callable[[str], Named | None], re.Pattern[str]] = {
    _torchvision: re.compile(
        "alexnet|convnext|deeplabv3|densenet|efficientnet|fcn|lraspp|mnasnet|mobilenet|regnet|resne|swin|vgg|vit|wide"
    ),
    _segmentation: re.compile("deeplabv3|fpn|linknet|manet|pan|pspnet|segformer|unet|upernet"),
    _unet: re.compile("unet|attentionunet|r2unet|resunet|nnunet"),
    _yolo: re.compile("yolo"),
}
"""How every name of a family begins, spelled or packed: a family's builders are imported for such names alone."""
