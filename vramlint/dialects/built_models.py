"""A packaged model that a script builds beside its trainer: ``smp.Unet(encoder_name=…)``, ``timm.create_model(…)``.

A fact is taken where the file builds exactly one such model, else it stays UNKNOWN: which of several is trained is not
seen. Sources: segmentation_models_pytorch 0.6.0 (encoder "resnet34", 3 channels and one class unless told otherwise),
timm 1.0.31 ``create_model``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vramlint.dialects.draft import Draft
from vramlint.dialects.hf_vision import transformed_size
from vramlint.dialects.places import Source, location
from vramlint.dialects.reading import plain_value
from vramlint.plan import Fact, ImageSize, Origin, derived
from vramlint.sources.model import Document, Mapping

_SEGMENTER = re.compile(
    r"(?:^|\.)(?:smp|segmentation_models_pytorch)\.(Unet|UnetPlusPlus|MAnet|Linknet|FPN|PSPNet|PAN|DeepLabV3|"
    r"DeepLabV3Plus|UPerNet|Segformer)$"
)
_CLASSIFIER = re.compile(r"(?:^|\.)timm\.create_model$")


def built_model(draft: Draft, document: Document) -> None:
    """The model, its channels and classes, and the size that the script's transformations make."""
    calls = {members.span: (name, members) for name, members in _calls(document)}  # a class's may be met twice
    built = [each for each in calls.values() if _SEGMENTER.search(each[0]) or _CLASSIFIER.search(each[0])]
    if len(built) != 1:
        return
    called, members = built[0]
    source, kind = Source(document, members), _SEGMENTER.search(called)
    first = source.find("encoder_name" if kind else "model_name") or source.find("0")
    name = plain_value(first.node) if first is not None else "resnet34" if kind else None
    if not isinstance(name, str):
        return
    where = None if first is None else location(first)
    draft.put("model", Fact(f"{kind[1].lower()}_{name}" if kind else name, Origin.FILE, where))
    draft.put("task", derived("segment" if kind else "classify", called))
    counts = (("in_channels", ("in_channels", "in_chans")), ("num_classes", ("classes", "num_classes")))
    for fact, names in counts:
        place = next((place for each in names if (place := source.find(each)) is not None), None)
        value = None if place is None else plain_value(place.node)
        if place is not None and isinstance(value, int):
            draft.put(fact, Fact(value, Origin.FILE, location(place)))
    size = transformed_size(document) or _loaded_size(document)
    if size is not None and not draft.plan.image_size.known:
        draft.put("image_size", size)


def _loaded_size(document: Document) -> Fact[ImageSize] | None:
    """The side that a data module is given beside its batch: ``DataModule(batch_size=8, image_size=512)``."""
    for each in document.definitions:
        if each.kind == "call" and each.members.get("batch_size") is not None:
            source = Source(document, each.members)
            place = next((place for key in _SIDES if (place := source.find(key)) is not None), None)
            side = None if place is None else plain_value(place.node)
            if place is not None and isinstance(side, int) and not isinstance(side, bool):
                return Fact(ImageSize(side, side), Origin.FILE, location(place))
    return None


_SIDES = ("image_size", "img_size", "crop_size", "patch_size")


def _calls(document: Document) -> Iterator[tuple[str, Mapping]]:
    """Calls of the file, and those whose result a class keeps (``self.model = smp.Unet(…)``), by name."""
    for each in document.definitions:
        if each.kind == "call":
            yield each.name, each.members
        for entry in each.members.entries if each.kind == "class" else ():
            if isinstance(entry.value, Mapping) and entry.value.style == "call":
                yield document.text[entry.value.span.start : entry.value.span.end].partition("(")[0], entry.value
