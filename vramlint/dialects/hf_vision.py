"""The size of the images that a Hugging Face script trains on.

The official examples have flags for it (transformers ``examples/pytorch``): ``run_object_detection.py`` pads to a
square of ``--image_square_size`` (600), ``run_instance_segmentation.py`` resizes to ``--image_height`` x
``--image_width`` (512 x 512). ``run_image_classification.py`` and ``run_semantic_segmentation.py`` take the size of the
checkpoint's image processor, as a script does whose processor is told nothing. A script of one's own gives the
processor a ``size``, or resizes with albumentations or torchvision.

Sizes of processors: defaults of ``RTDetrImageProcessor`` (640 x 640) and ``SegformerImageProcessor`` (512 x 512), which
the conversion scripts of RT-DETR, D-FINE, SegFormer and UperNet save with their checkpoints (transformers 5.24
``image_processing_*.py``); else the size that the checkpoint's name spells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from vramlint.dialects.draft import Draft
from vramlint.dialects.places import Place, Source, location
from vramlint.dialects.reading import plain_value
from vramlint.plan import Fact, ImageSize, Origin, default, derived
from vramlint.sources.model import Command, Definition, Document, Plain

_PROCESSOR = re.compile(r"(^|\.)(\w*ImageProcessor\w*|AutoProcessor)(\.from_pretrained)?$")
_RESIZE = re.compile(r"(^|\.)(Resize|RandomCrop|RandomResizedCrop|PadIfNeeded|RandomSizedBBoxSafeCrop)$")
_PROCESSED = (
    (re.compile(r"^(rtdetr_|dfine[-_])"), 640),
    (re.compile(r"^(mit-b\d|segformer-b\d(?!.*\d{3})|upernet-(swin|convnext))"), 512),
    (re.compile(r"^(resnet-(18|26|34|50|101|152))$"), 224),
)
"""What a checkpoint's processor resizes to, by how its name begins."""

_SPELLED = re.compile(r"[-_](224|256|288|336|384|448|512|640|1024)(?:[-_](?=\D|\d{3,4}$)|$)")
_SQUARE_DEFAULT, _INSTANCE_DEFAULT = 600, 512


def image_size_of_flags(draft: Draft, sources: list[Source], command: Command | None) -> None:
    """The size that an official example trains at, from its flags, their defaults, or the checkpoint's processor."""
    program = "" if command is None else command.program.rsplit("/", 1)[-1]
    square, height, width = (_flag(sources, name) for name in ("image_square_size", "image_height", "image_width"))
    if square is not None:
        draft.put("image_size", _sized(square, square))
    elif height is not None and width is not None:
        draft.put("image_size", _sized(height, width))
    elif program.startswith("run_object_detection"):
        draft.put("image_size", _square(_SQUARE_DEFAULT, program))
    elif program.startswith("run_instance_segmentation"):
        draft.put("image_size", _square(_INSTANCE_DEFAULT, program))
    elif program.startswith(("run_image_classification", "run_semantic_segmentation")):
        _processed(draft)
    if draft.plan.image_size.known:
        draft.put("ema", default(value=False, note="transformers' Trainer keeps none"))


def image_size_of_calls(draft: Draft, document: Document) -> None:
    """The size that the script's processor or transformations resize to; else the one of the checkpoint's processor."""
    calls = [each for each in document.definitions if each.kind == "call"]
    found = _agreed(document, calls, _PROCESSOR) or transformed_size(document)
    if found is not None:
        draft.put("image_size", found)
    elif _leaves_the_size(document, calls):
        _processed(draft)


def _leaves_the_size(document: Document, calls: list[Definition]) -> bool:
    """Whether the checkpoint's processor resizes as it was saved: told no size, and nothing else resizes."""
    processors = [Source(document, call.members) for call in calls if _PROCESSOR.search(call.name)]
    told = any(source.find(name) is not None for source in processors for name in ("size", "pad_size", "do_resize"))
    return bool(processors) and not told and not any(_RESIZE.search(call.name) for call in calls)


def transformed_size(document: Document) -> Fact[ImageSize] | None:
    """The one size that all transformations of the file make, None where there is none or they differ."""
    return _agreed(document, (each for each in document.definitions if each.kind == "call"), _RESIZE)


def _flag(sources: list[Source], name: str) -> Place | None:
    place = next((place for source in sources if (place := source.find(name)) is not None), None)
    return place if place is not None and str(plain_value(place.node)).isdecimal() else None


def _sized(height: Place, width: Place) -> Fact[ImageSize]:
    size = ImageSize(*(int(str(plain_value(place.node))) for place in (height, width)))
    return Fact(size, height.source.origin, location(height))


def _square(side: int, program: str) -> Fact[ImageSize]:
    return default(ImageSize(side, side), f"default of transformers' {program}")


def _agreed(document: Document, calls: Iterable[Definition], kind: re.Pattern[str]) -> Fact[ImageSize] | None:
    """The size that all such calls give; None where none does, or they differ."""
    found = []
    for call in calls:
        given = (
            {entry.key: plain_value(entry.value) for entry in call.members.entries} if kind.search(call.name) else {}
        )
        size = _size_of(given) if kind is _PROCESSOR else _target_of(given)
        if size is not None:
            source = Source(document, call.members)
            place = next(place for name in _NAMED if (place := source.find(name)) is not None)
            found.append(Fact(size, Origin.FILE, location(place)))
    return found[0] if found and all(each.value == found[0].value for each in found) else None


_NAMED = ("pad_size", "size", "height", "min_height", "0")


def _size_of(arguments: dict[str, Plain]) -> ImageSize | None:
    """What a processor is told: ``size={"height": 480, "width": 640}``, ``size=480``; padding comes last."""
    given = arguments.get("pad_size", arguments.get("size"))
    if isinstance(given, dict):
        return _sides(given, ("height", "width"))
    return ImageSize(given, given) if isinstance(given, int) and not isinstance(given, bool) else None


def _target_of(arguments: dict[str, Plain]) -> ImageSize | None:
    """What a transformation makes: ``height=480, width=640``, ``Resize(480, 640)``, ``Resize((480, 640))``."""
    for names in (("height", "width"), ("min_height", "min_width"), ("0", "1")):
        found = _sides(arguments, names)
        if found is not None:
            return found
    match arguments.get("size", arguments.get("0")):
        case [int(rows), int(columns)]:
            return ImageSize(rows, columns)
    return None


def _sides(values: dict[str, Plain], names: tuple[str, str]) -> ImageSize | None:
    match values.get(names[0]), values.get(names[1]):
        case int(rows), int(columns):
            return ImageSize(rows, columns)
    return None


def _processed(draft: Draft) -> None:
    name = str(draft.plan.model.value or "").rstrip("/").rpartition("/")[2].lower()
    side = next((side for start, side in _PROCESSED if start.match(name)), None)
    spelled = _SPELLED.search(name)
    if side is None and spelled is not None:
        side = int(spelled[1])
    if side is not None and not draft.plan.image_size.known:
        draft.put("image_size", derived(ImageSize(side, side), "the checkpoint's processor resizes to it"))
