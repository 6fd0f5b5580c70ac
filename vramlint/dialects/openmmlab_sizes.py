"""The image size that an OpenMMLab training pipeline leaves: the last transform that resizes, crops or pads decides.

Scales are (width, height), crops and pads (height, width). With ``keep_ratio`` a scale is a frame that the image is
fitted into, either way round: the short side counts as height.

Sources: mmcv 2.1 ``transforms/processing.py`` (Resize, RandomResize, RandomChoiceResize), mmdet 3.3.0 and
mmsegmentation 1.2.2 ``datasets/transforms/transforms.py`` (RandomCrop, Mosaic), mmengine 0.10.7
``model/base_model/data_preprocessor.py``, mmseg ``models/data_preprocessor.py`` (``size`` pads every batch).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vramlint.dialects.openmmlab import Config, Sizes
from vramlint.dialects.places import Place, Source, location
from vramlint.dialects.reading import plain_value
from vramlint.plan import Fact, ImageSize, Origin, unknown
from vramlint.sources.model import Mapping, Node, Scalar, Sequence, Unknown, lookup

_MOST_NESTED = 6
"""Datasets around datasets and choices inside choices."""

_SCALED = {"Resize": "scale img_scale", "RandomResize": "scale", "RandomChoiceResize": "scales", "RResize": "img_scale"}
_SCALED |= {"Mosaic": "img_scale", "CachedMosaic": "img_scale"}
_SCALED |= {"TopdownAffine": "input_size", "BottomupRandomAffine": "input_size", "BottomupResize": "input_size"}
_CROPPED = {"RandomCrop": "crop_size size", "CenterCrop": "crop_size", "RandomResizedCrop": "scale size"}
_CROPPED |= {"RandomCenterCropPad": "crop_size", "EfficientNetRandomCrop": "scale", "Pad": "size"}
_CROPPED |= {"MultiScaleCrop": "input_size"}


class _Seen(NamedTuple):
    """A transform's sizes, smallest area first, and the place that spells them."""

    sizes: tuple[ImageSize, ...]
    place: Place


def training_sizes(config: Config, section: str, preprocessor: str = "model.data_preprocessor") -> Sizes:
    """What the pipelines of the dataset at ``section`` leave, padded to what the preprocessor asks for."""
    padded = _padding(config, preprocessor) or _padding(config, "data_preprocessor")
    seen: _Seen | None = None
    unclear: Fact[ImageSize] = unknown("no transform of the training pipeline fixes the image size")
    for transform in transforms_of(config, section):
        found = _sizes_of(config, transform)
        if isinstance(found, Fact):
            seen, unclear = None, found
        elif found is not None:
            seen = found
    batched = _batch_resize(config, preprocessor)
    if padded is not None and (seen is None or _area(padded.sizes[-1]) >= _area(seen.sizes[-1])):
        seen = padded
    if seen is None:
        return Sizes(unclear)
    sizes = seen.sizes if batched is None else tuple(sorted((*seen.sizes, *batched), key=_area))
    usual = seen.sizes[-1]
    fact = Fact(usual, Origin.FILE, location(seen.place), "" if len(sizes) == 1 else "the largest of several")
    if batched is not None:
        fact = Fact(usual, Origin.FILE, location(seen.place), "batches are resized around it")
    return Sizes(fact, sizes[-1] if len(sizes) > 1 else None, len(sizes) > 1)


def transforms_of(config: Config, section: str) -> Iterator[Mapping]:
    """Every transform of the dataset at ``section``, in the order in which an image passes them."""
    return _transforms(config, lookup(config.root, section), _MOST_NESTED)


def _transforms(config: Config, dataset: Node | None, depth: int) -> Iterator[Mapping]:
    """Every transform in the order in which an image passes them: the innermost dataset's first; of a list of datasets
    the first one's (mmaction2's OmniSource trains on each in turn, the videos first)."""
    if isinstance(dataset, Sequence) and dataset.items:
        dataset = dataset.items[0]
    if not isinstance(dataset, Mapping) or depth == 0:
        return
    inner = dataset.get("dataset")
    several = dataset.get("datasets")
    if isinstance(several, Sequence) and several.items:
        inner = several.items[0]
    yield from _transforms(config, inner, depth - 1)
    pipeline = dataset.get("pipeline")
    if isinstance(pipeline, Sequence):
        yield from _flat(pipeline, depth)


def _flat(pipeline: Sequence, depth: int) -> Iterator[Mapping]:
    """The transforms of a pipeline; of a random choice of pipelines, the one that leaves the largest image is last."""
    for item in pipeline.items:
        if not isinstance(item, Mapping):
            continue
        choices = item.get("transforms") or item.get("policies")
        if isinstance(choices, Sequence) and depth > 0:
            for choice in choices.items:
                if isinstance(choice, Sequence):
                    yield from _flat(choice, depth - 1)
                elif isinstance(choice, Mapping):
                    yield choice
            continue
        yield item


def _sizes_of(config: Config, transform: Mapping) -> _Seen | Fact[ImageSize] | None:
    """The sizes that ``transform`` leaves; a fact that says why they are unknown; None where it changes nothing."""
    kind = _text(transform.get("type")).rsplit(".", 1)[-1]
    names = _SCALED.get(kind) or _CROPPED.get(kind)
    if not names or "relative" in _text(transform.get("crop_type")):
        return None
    place = next((found for name in names.split() if (found := _place(config, transform, name)) is not None), None)
    if place is None:
        return None
    if isinstance(place.node, Unknown):
        return unknown(f"{kind} {place.name}: {place.node.reason}", location(place))
    keeps = plain_value(transform.get("keep_ratio") or Scalar(place.node.span, "", None)) is True
    wide = kind in _SCALED
    sizes = [_size(value, wide=wide, fitted=keeps) for value in _several(plain_value(place.node))]
    known = sorted((size for size in sizes if size is not None), key=_area)
    return _Seen(tuple(dict.fromkeys(known)), place) if known and len(known) == len(sizes) else None


def _several(value: object) -> list[object]:
    """One size, or a list of sizes of which one is drawn."""
    if isinstance(value, list) and value and all(isinstance(item, list) for item in value):
        return list(value)
    return [value]


def _size(value: object, *, wide: bool, fitted: bool) -> ImageSize | None:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return ImageSize(value, value)
    if not isinstance(value, list) or len(value) != 2:
        return None
    first, second = value
    if not (isinstance(first, int) and isinstance(second, int)) or first <= 0 or second <= 0:
        return None
    if fitted:
        return ImageSize(min(first, second), max(first, second))
    return ImageSize(second, first) if wide else ImageSize(first, second)


def _padding(config: Config, section: str) -> _Seen | None:
    """``data_preprocessor.size``: every batch is padded to it."""
    found = lookup(config.root, section)
    place = _place(config, found, "size") if isinstance(found, Mapping) else None
    size = _size(plain_value(place.node), wide=False, fitted=False) if place is not None else None
    return _Seen((size,), place) if place is not None and size is not None else None


def _batch_resize(config: Config, section: str) -> tuple[ImageSize, ...] | None:
    """``BatchSyncRandomResize`` draws one square size for whole batches (YOLOX: 480 to 800)."""
    augments = lookup(config.root, f"{section}.batch_augments")
    for item in augments.items if isinstance(augments, Sequence) else []:
        bounds = plain_value(item.get("random_size_range") or item) if isinstance(item, Mapping) else None
        if isinstance(bounds, list) and len(bounds) == 2 and all(isinstance(side, int) for side in bounds):
            return tuple(ImageSize(side, side) for side in bounds if isinstance(side, int))
    return None


def _place(config: Config, mapping: Mapping, name: str) -> Place | None:
    entry = mapping.entry(name)
    if entry is None or (plain_value(entry.value) is None and not isinstance(entry.value, Unknown)):
        return None
    owner = config.source.resolved.owner(entry)
    return Place(Source(owner, mapping), name, entry, mapping)


def _area(size: ImageSize) -> int:
    return size.height * size.width


def _text(node: Node | None) -> str:
    if isinstance(node, Scalar):
        return str(node.value)
    return node.text if isinstance(node, Unknown) else ""
