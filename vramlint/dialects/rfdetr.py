"""RF-DETR: scripts with ``--size nano``, ``RFDETRNano().train(...)`` calls, and pydantic ``TrainConfig`` classes.

The batch is per rank and accumulation explicit; the size sets the resolution unless one is given::

    effective batch = batch_size x ranks x grad_accum_steps

Example (``train.sh``):

```shell
python train_segmentation.py --size nano --batch 1 --accum 8 --multi_scale 0 --workers 2
```

```plan
micro_batch: 1 launch 1
accumulation: 8 launch 1
world_size: 1 default
effective_batch: 8 derived
model: rf-detr-nano launch 1
task: segment derived
image_size: 384x384 default
multi_scale: false launch 1
precision: fp16 derived
ema: true default
```

Sources: rfdetr 1.11.2, ``config.py`` (``ModelConfig``, one subclass a size, ``TrainConfig``); rf-detr 1.4.1, same file.
Between them ``grad_accum_steps`` went from 4 to 1 and the large model from 560 to 704 pixels: without the project's own
``config.py`` these two stay UNKNOWN when nobody spells them. ``amp`` is on by default and means bf16 where the card has
it, else fp16.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any, ClassVar, NamedTuple

from vramlint.dialects.draft import EDITABLE, Draft, title_of
from vramlint.dialects.launch import world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import Place, Source, locate
from vramlint.dialects.reading import (
    Count,
    Flag,
    Natural,
    Schema,
    Settings,
    Size,
    Text,
    keys,
    plain_value,
    read_settings,
)
from vramlint.dialects.scripts import Script, command_sources, script_of
from vramlint.dialects.values import FALSE_WORDS
from vramlint.plan import Fact, ImageSize, Origin, Precision, default, derived, unknown
from vramlint.sources.model import Command, Definition, Document, Span

NAME = "rfdetr"
TITLE = "RF-DETR"

_SOURCE = "rfdetr 1.11.2"


class Shape(NamedTuple):
    """What a size fixes: the resolution, and the block its sides must be multiples of (patch x windows)."""

    resolution: int
    block: int


_SHAPES = {"nano": Shape(384, 32), "small": Shape(512, 32), "base": Shape(560, 56), "medium": Shape(576, 32)}
_SEG_SHAPES = {
    "nano": Shape(312, 12),
    "small": Shape(384, 24),
    "medium": Shape(432, 24),
    "large": Shape(504, 24),
    "xlarge": Shape(624, 24),
    "2xlarge": Shape(768, 24),
}
"""Of ``RFDETRSegNano()`` and its kin; a project's own segmentation script keeps the detector's backbone."""
_LARGEST_STEP = 5
"""Multi-scale goes up to five blocks beyond the resolution (``expanded_scales``, on by default)."""


class Train(Schema):
    """``TrainConfig`` and ``ModelConfig``, with the short flags of training scripts."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("batch_size", "batch", default=4)
    accumulation: Count | None = keys("grad_accum_steps", "accum", "gradient_accumulation_steps", "accum_steps")
    image_size: Size | None = keys("resolution", "image_size", "img_size", "imgsz")
    workers_per_rank: Natural | None = keys("num_workers", "workers", default=2)
    prefetch_factor: Natural | None = keys("prefetch_factor")
    persistent_workers: Flag | None = keys("persistent_workers")
    pin_memory: Flag | None = keys("pin_memory")
    grad_checkpointing: Flag | None = keys("gradient_checkpointing", "grad_checkpointing", "grad_ckpt", default=False)
    ema: Flag | None = keys("use_ema", "ema", default=True)
    num_queries: Count | None = keys("num_queries", default=300)
    num_classes: Count | None = keys("num_classes")
    learning_rate: float | None = keys("lr", default=1e-4)
    epochs: float | None = keys("epochs", default=100)

    size: Text | None = keys("size", "model_size")
    multi_scale: Any = keys("multi_scale", "multiscale", default="per-batch")
    amp: Any = keys("amp", "use_amp", default=True)
    amp_dtype: Text | None = keys("amp_dtype")
    segmentation_head: Flag | None = keys("segmentation_head")


_FACTS = tuple(
    name for name in Train.model_fields if name not in ("size", "multi_scale", "amp", "amp_dtype", "segmentation_head")
)


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of a script's command line, a ``.train(...)`` call or a ``TrainConfig`` class."""
    command = claim.subject if isinstance(claim.subject, Command) else None
    script = script_of(document, command, context) if command is not None else None
    classes = _config_file(document, script, context)
    size = _size(claim, document, script, classes)
    sources = _sources(claim, document, script, classes, str(size.value or ""))
    settings = read_settings(Train, sources)
    draft = Draft(claim, document, _title(claim, document))
    for source in sources:
        draft.use(source.document)
    draft.fill(settings, _FACTS)
    if not settings.spelled("accumulation"):
        draft.put("accumulation", unknown("grad_accum_steps is 4 up to rf-detr 1.5 and 1 in 1.11"))
    segment = _segmentation(claim, document, settings)
    _model(draft, size, segment, settings, "RFDETRSeg" in document.text)
    _precision(draft, settings, context)
    _multi_scale(draft, settings)
    draft.put("optimizer", default("adamw", f"{_SOURCE} always takes AdamW"))
    _insertable(draft, claim, document, script)
    return draft.close(world(document, command, context, alone="one process: no launcher on the line"))


def _sources(
    claim: Claim, document: Document, script: Script | None, classes: Document | None, size: str
) -> list[Source]:
    """The user's own words first, then the script's defaults, then the project's config classes."""
    match claim.subject:
        case Command() as command:
            own = command_sources(document, command, script)
        case Definition() as subject:
            own = [Source(document, subject.members)]
        case _:
            own = []
    return own + (_class_sources(claim, document, classes, size) if classes is not None else [])


def _class_sources(claim: Claim, document: Document, classes: Document, size: str) -> list[Source]:
    """``TrainConfig``, the size's own class and ``ModelConfig``; editable when the run is read from that very file."""
    wanted = ["TrainConfig", *_size_classes(classes, size), "ModelConfig"]
    own_file = classes is document and isinstance(claim.subject, Definition) and claim.subject.kind == "class"
    origin = Origin.FILE if own_file else Origin.DEFAULT
    note = "" if own_file else f"default in {classes.path}"
    found = [_named(classes, name) for name in wanted]
    return [Source(classes, definition.members, origin, note) for definition in found if definition is not None]


def _size_classes(classes: Document, size: str) -> list[str]:
    pattern = re.compile(rf"^RFDETR(Seg)?{re.escape(size)}Config$", re.IGNORECASE)
    return [found.name for found in classes.definitions if size and pattern.match(found.name)]


def _named(document: Document, name: str) -> Definition | None:
    return next((found for found in document.definitions if found.kind == "class" and found.name == name), None)


def _config_file(document: Document, script: Script | None, context: Context) -> Document | None:
    """The file with the config classes: the document itself, or ``rfdetr/config.py`` beside the script."""
    if any(found.kind == "class" and found.name.endswith("TrainConfig") for found in document.definitions):
        return document
    if script is None:
        return None
    folder = posixpath.dirname(script.document.path)
    for path in ("rfdetr/config.py", "config.py"):
        found = context.document(posixpath.normpath(posixpath.join(folder, path)))
        if found is not None and _named(found, "TrainConfig") is not None:
            return found
    return None


_CONSTRUCTED = re.compile(r"\bRFDETR(Seg)?(Nano|Small|Base|Medium|Large|XLarge|2XLarge)\(")
_SIZE_CLASS = re.compile(r"^RFDETR(Seg)?(Nano|Small|Base|Medium|Large|XLarge|2XLarge)Config$")


def _size(claim: Claim, document: Document, script: Script | None, classes: Document | None) -> Fact[str]:
    """The size that is trained: the flag, the constructor, or the only size class of the file."""
    if isinstance(claim.subject, Command):
        settings = read_settings(Train, command_sources(document, claim.subject, script))
        fact: Fact[str] = settings.fact("size")
        return Fact(fact.value.lower(), fact.origin, fact.location, fact.note) if fact.value else fact
    made = {match[2].lower(): match for match in _CONSTRUCTED.finditer(document.text)}
    if len(made) == 1:
        ((name, match),) = made.items()
        return Fact(name, Origin.FILE, locate(document, Span(match.start(), match.end() - 1)))
    names = [found[2].lower() for item in (classes or document).definitions if (found := _SIZE_CLASS.match(item.name))]
    if len(set(names)) == 1:
        return derived(names[0], f"the only size class of {document.path}")
    return unknown(f"{len(set(names))} sizes in the file: the script chooses" if names else "no size is named")


def _title(claim: Claim, document: Document) -> str:
    if isinstance(claim.subject, Command):
        return title_of(document, claim.subject)
    return claim.subject.name if isinstance(claim.subject, Definition) else ""


def _segmentation(claim: Claim, document: Document, settings: Settings[Train]) -> Fact[str]:
    """Masks are trained when the head is asked for, or when script, class or model are named after it."""
    if settings.values.segmentation_head:
        return derived("segment", "segmentation_head is on")
    subject = claim.subject
    name = (
        subject.program
        if isinstance(subject, Command)
        else document.path
        if not isinstance(subject, Definition)
        else subject.name
    )
    if re.search(r"(?i)seg|mask|stage_?2", name) or "RFDETRSeg" in document.text:
        return derived("segment", f"named after it: {name}")
    return default("detect", f"default of {_SOURCE}")


def _model(draft: Draft, size: Fact[str], task: Fact[str], settings: Settings[Train], seg_class: bool) -> None:
    draft.put("task", task)
    if task.value == "segment" and not seg_class:
        draft.put("mask_head", derived("own", "the script is none of the package's segmentation classes"))
    if size.value is None:
        draft.put("model", unknown(size.note, size.location))
    else:
        draft.put("model", Fact(f"rf-detr-{size.value}", size.origin, size.location, size.note))
    if size.value is None and "image_size" in settings.places and _in_a_class(settings.places["image_size"]):
        draft.put("image_size", unknown("each size has its own resolution"))
        draft.slots.pop("image_size", None)
    shape = (_SEG_SHAPES if seg_class else _SHAPES).get(size.value or "")
    if shape is not None:
        draft.put("image_multiple", derived(shape.block, f"patch x windows of size {size.value}, {_SOURCE}"))
    if draft.plan.image_size.value is not None or size.value is None:
        return
    if shape is None:
        draft.put("image_size", unknown(f"the resolution of size {size.value} depends on the version"))
        return
    pixels = ImageSize(shape.resolution, shape.resolution)
    draft.put("image_size", default(pixels, f"the resolution of size {size.value}, {_SOURCE}"))


def _in_a_class(place: Place) -> bool:
    return place.parent.style == "class"


def _precision(draft: Draft, settings: Settings[Train], context: Context) -> None:
    """``amp`` on: bf16 where the card has it, else fp16; ``amp_dtype`` may name one of them."""
    amp = settings.fact("amp")
    if not amp.known:
        draft.put("precision", unknown(amp.note, amp.location))
        return
    if str(amp.value).lower() in FALSE_WORDS:
        draft.put("precision", Fact(Precision.FP32, amp.origin, amp.location, amp.note))
    else:
        named = {"bf16": Precision.BF16, "fp16": Precision.FP16}.get(str(settings.values.amp_dtype).lower())
        gpu = context.target.gpu
        kind = named or (Precision.BF16 if gpu is not None and gpu.has_bf16 else Precision.FP16)
        draft.put("precision", derived(kind, "amp is on: bf16 where the card has it, else fp16"))
    if "amp" in settings.places:
        place = settings.places["amp"]
        current = plain_value(place.node)
        draft.offer(
            "precision", place, lambda value: EDITABLE["pin_memory"]("amp", current)(value is not Precision.FP32)
        )


def _multi_scale(draft: Draft, settings: Settings[Train]) -> None:
    """``0|1``, a boolean, or ``per-batch``, ``per-sample`` and ``off``."""
    fact = settings.fact("multi_scale")
    if not fact.known:
        draft.put("multi_scale", fact)
        return
    off = str(fact.value).lower() in FALSE_WORDS
    draft.put("multi_scale", Fact(not off, fact.origin, fact.location, fact.note))
    _largest(draft, off)
    place: Place | None = settings.places.get("multi_scale")
    if place is not None:
        draft.offer("multi_scale", place)


def _largest(draft: Draft, off: bool) -> None:
    """The largest size of multi-scale training: rf-detr 1.4.1 and 1.11.2, ``datasets/coco.py``."""
    size, block = draft.plan.image_size.value, draft.plan.fact("image_multiple").value
    if off or size is None or not isinstance(block, int):
        return
    largest = ImageSize(*((side // block + _LARGEST_STEP) * block for side in size))
    draft.put("largest_image_size", derived(largest, f"{_LARGEST_STEP} blocks of {block} beyond the resolution"))


_INSERTABLE = {
    "accumulation": ("grad_accum_steps", "accum"),
    "image_size": ("resolution",),
    "multi_scale": ("multi_scale",),
    "workers_per_rank": ("num_workers", "workers"),
    "num_queries": ("num_queries",),
    "grad_checkpointing": ("gradient_checkpointing", "grad_ckpt"),
}


def _insertable(draft: Draft, claim: Claim, document: Document, script: Script | None) -> None:
    """A flag the script declares may be added; without the script, those that every such script shares."""
    subject = claim.subject
    if isinstance(subject, Definition):
        if subject.kind == "call":
            draft.offer_insert("accumulation", document, subject.members, "grad_accum_steps")
        return
    if not isinstance(subject, Command):
        return
    for fact, names in _INSERTABLE.items():
        flag = next((flag for name in names if script is not None and (flag := script.flag(name)) is not None), None)
        if script is None and fact in ("accumulation", "multi_scale", "workers_per_rank"):
            flag = f"--{names[-1]}"
        if flag is not None:
            draft.offer_insert(fact, document, subject.options, flag, EDITABLE[fact](flag, 1))
