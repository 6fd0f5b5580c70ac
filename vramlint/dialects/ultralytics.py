"""Ultralytics YOLO: ``yolo train``, ``model.train(...)``, train YAML, and scripts that pass ``--nbs`` on.

``batch`` is GLOBAL (over all GPUs) and accumulation is derived from the nominal batch::

    accumulation = max(round(nbs / batch), 1)      effective batch = batch x accumulation

Example (``train.sh``):

```shell
yolo detect train model=yolo11s.pt data=coco.yaml batch=24 imgsz=640 device=0,1
```

```plan
micro_batch: 12 launch 1
global_batch: 24 launch 1
nominal_batch: 64 default
accumulation: 3 derived
effective_batch: 72 derived
world_size: 2 launch 1
precision: fp16 default
image_size: 640x640 launch 1
model: yolo11s launch 1
ema: true default
```

Sources: ultralytics 8.4.190, ``cfg/default.yaml`` (keys and defaults), ``engine/trainer.py`` lines 190, 303 and 321
(device count, batch per rank, accumulation), ``data/build.py`` line 410 (prefetch of four). Its multi-scale is a
fraction of ``imgsz``. Accumulation is also capped by the length of the run, which no config gives.
"""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar

from vramlint.dialects import spelling_out
from vramlint.dialects.draft import Draft, title_of
from vramlint.dialects.launch import World, device_count, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import Place, Source, locate, location
from vramlint.dialects.reading import (
    Count,
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
from vramlint.dialects.values import as_count
from vramlint.plan import Fact, ImageSize, NominalAccumulation, Origin, Precision, default, derived, unknown
from vramlint.sources.model import Command, Definition, Document, Mapping, Span

NAME = "ultralytics"
TITLE = "Ultralytics YOLO"

_SOURCE = "ultralytics 8.4.190"
_STRIDE = 32
_SCALES = re.compile(r"^[nsmlxtbce]$")


class Train(Schema):
    """The train settings of ``cfg/default.yaml``."""

    source: ClassVar[str] = _SOURCE

    batch: Any = keys("batch", "batch_size", default=16)
    nominal_batch: Count | None = keys("nbs", default=64)
    image_size: Size | None = keys("imgsz", "img_size", "img", default=640)
    workers_per_rank: Natural | None = keys("workers", default=8)
    model: Text | None = keys("model", "weights")
    task: Text | None = keys("task")
    optimizer: Text | None = keys("optimizer", default="auto")
    epochs: float | None = keys("epochs", default=100)
    learning_rate: float | None = keys("lr0", default=0.01)
    amp: Any = keys("amp", default=True)
    multi_scale: Any = keys("multi_scale", default=0.0)
    device: Any = keys("device")
    cache: Any = keys("cache", default=False)
    compile: Any = keys("compile", default=False)


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of a ``yolo`` command, a ``.train(...)`` call, a train YAML or a script with ``--nbs``."""
    command = claim.subject if isinstance(claim.subject, Command) else None
    script = script_of(document, command, context) if command is not None else None
    settings = read_settings(Train, _sources(claim, document, script))
    draft = Draft(claim, document, _title(claim, document))
    if script is not None:
        draft.use(script.document)
    draft.fill(settings, ("nominal_batch", "image_size", "workers_per_rank", "optimizer", "epochs", "learning_rate"))
    _model_and_task(draft, settings, claim, document, script)
    _precision(draft, settings)
    _multi_scale(draft, settings)
    draft.put("ema", default(value=True, note=f"{_SOURCE} always keeps an average of the weights"))
    draft.put("grad_checkpointing", default(value=False, note=f"{_SOURCE} has none"))
    draft.put("pin_memory", default(value=True, note=f"default of {_SOURCE}"))
    if draft.plan.task.value != "classify":
        draft.put("side_multiple", derived(_STRIDE, "imgsz is rounded up to the stride (utils/checks.py#check_imgsz)"))
    if draft.plan.workers_per_rank.value:
        draft.put("prefetch_factor", default(4, f"{_SOURCE}, data/build.py"))
    ranks = _world(document, command, context, settings)
    _batch(draft, settings, ranks.ranks)
    _insertable(draft, claim, document, script)
    return draft.close(ranks, NominalAccumulation())


def _sources(claim: Claim, document: Document, script: Script | None) -> list[Source]:
    match claim.subject:
        case Command() as command:
            return command_sources(document, command, script)
        case Definition() as call:
            return [Source(document, call.members)]
        case _:
            return [Source(document, document.root)] if isinstance(document.root, Mapping) else []


def _title(claim: Claim, document: Document) -> str:
    if isinstance(claim.subject, Command):
        return title_of(document, claim.subject)
    return claim.subject.name if isinstance(claim.subject, Definition) else ""


def _batch(draft: Draft, settings: Settings[Train], ranks: Fact[int]) -> None:
    """The global batch and each rank's share. ``-1`` and fractions let the engine search: UNKNOWN."""
    fact = settings.fact("batch")
    if not fact.known:
        draft.put("micro_batch", fact)
        return
    batch = _whole(fact.value)
    if batch is None or batch < 1:
        reason = f"batch {fact.value}: the engine searches for the batch that fills the card"
        draft.put("micro_batch", unknown(reason, fact.location))
        draft.put("global_batch", unknown(reason, fact.location))
        return
    draft.put("global_batch", Fact(batch, fact.origin, fact.location, fact.note))
    if ranks.value is None:
        draft.put("micro_batch", unknown("the batch is global and the number of GPUs unknown", fact.location))
        return
    if batch < ranks.value:
        draft.put("micro_batch", unknown(f"batch {batch} leaves nothing for some of {ranks.value} GPUs", fact.location))
        return
    # The engine floors (trainer.py line 303): what does not divide is dropped, and a rule says so.
    note = fact.note if ranks.value == 1 else f"{batch} over {ranks.value} GPUs"
    draft.put("micro_batch", Fact(batch // ranks.value, fact.origin, fact.location, note))
    if "batch" in settings.places:
        draft.offer("micro_batch", settings.places["batch"], spelling_out.scaled(ranks.value))


def _world(document: Document, command: Command | None, context: Context, settings: Settings[Train]) -> World:
    """``device`` lists the GPUs, and the engine starts one rank on each; without it, one GPU is chosen."""
    place = settings.places.get("device")
    if place is not None:
        count = device_count(plain_value(place.node))
        if count is not None:
            where = location(place)
            nodes: Fact[int] = default(1, f"{_SOURCE} starts its ranks on one machine")
            return World(Fact(count, place.source.origin, where, f"device {_text(place)}"), nodes)
    return world(document, command, context, alone=f"{_SOURCE} takes one GPU without a device list")


def _precision(draft: Draft, settings: Settings[Train]) -> None:
    """``amp`` True and "fp16" mean fp16, "bf16" means bf16, False and "fp32" mean fp32 (trainer.py line 412)."""
    fact = settings.fact("amp")
    word = str(fact.value).lower()
    kinds = {"true": Precision.FP16, "1": Precision.FP16, "fp16": Precision.FP16, "bf16": Precision.BF16}
    kinds |= {"false": Precision.FP32, "0": Precision.FP32, "fp32": Precision.FP32}
    if not fact.known or word not in kinds:
        draft.put("precision", unknown(fact.note or f"amp {fact.value} is no precision", fact.location))
        return
    draft.put("precision", Fact(kinds[word], fact.origin, fact.location, fact.note))
    if "amp" in settings.places:
        draft.offer("precision", settings.places["amp"], _spell_amp)


def _spell_amp(value: object) -> bool | str:
    return {Precision.FP16: True, Precision.BF16: "bf16", Precision.FP32: False}.get(value, True)  # type: ignore[call-overload, no-any-return]


def _multi_scale(draft: Draft, settings: Settings[Train]) -> None:
    """A fraction f: sizes up to (1 + f) x imgsz. The old boolean form meant 0.5."""
    fact = settings.fact("multi_scale")
    words = fact.value if isinstance(fact.value, str) else "0"
    if not fact.known or not words.replace(".", "", 1).isdecimal():
        draft.put("multi_scale", unknown(fact.note, fact.location))
        return
    fraction = 0.5 if fact.value is True else float(fact.value or 0)
    draft.put("multi_scale", Fact(fraction > 0, fact.origin, fact.location, fact.note))
    if fraction > 0:
        _largest(draft, fraction)
    if "multi_scale" in settings.places:
        draft.offer("multi_scale", settings.places["multi_scale"], lambda value: 0.5 if value else 0.0)


def _largest(draft: Draft, fraction: float) -> None:
    """The largest training size: (1 + fraction) x imgsz, rounded up to the stride (trainer.py, multi-scale)."""
    size = draft.plan.image_size.value
    if size is None:
        return
    height, width = (math.ceil(side * (1 + fraction) / _STRIDE) * _STRIDE for side in size)
    draft.put("largest_image_size", derived(ImageSize(height, width), f"(1 + {fraction:g}) x imgsz"))


_TASKS = {
    "segment": "segment",
    "seg": "segment",
    "detect": "detect",
    "pose": "pose",
    "classify": "classify",
    "obb": "obb",
}
_SUFFIX_TASKS = {"-seg": "segment", "-pose": "pose", "-cls": "classify", "-obb": "obb"}


def _model_and_task(
    draft: Draft, settings: Settings[Train], claim: Claim, document: Document, script: Script | None
) -> None:
    model = settings.fact("model")
    if script is not None and (model.value is None or _SCALES.match(str(model.value))):
        model = script.model_name(settings.places.get("model")) or model
    if model.value is None and isinstance(claim.subject, Definition):
        model = _loaded_in(document)
    if model.value is not None:
        model = Fact(_named(str(model.value)), model.origin, model.location, model.note)
    draft.put("model", model)
    words = claim.subject.positionals if isinstance(claim.subject, Command) else []
    spoken = [str(word.value) for word in words] + (
        [claim.subject.subcommand or ""] if isinstance(claim.subject, Command) else []
    )
    task = settings.fact("task")
    named = task.value or next((_TASKS[word] for word in spoken if word in _TASKS), None)
    by_name = next((kind for suffix, kind in _SUFFIX_TASKS.items() if suffix in str(model.value)), None)
    if named in _TASKS:
        draft.put("task", Fact(_TASKS[named], task.origin if task.known else Origin.LAUNCH, task.location))
    elif by_name is not None:
        draft.put("task", derived(by_name, f"model {model.value}"))
    else:
        draft.put("task", default("detect", f"default of {_SOURCE}"))


_LOAD = re.compile(r"\b(?:YOLO\w*|RTDETR)\(\s*[\"']([^\"'{}]+)[\"']")


def _loaded_in(document: Document) -> Fact[str]:
    """The model that the file loads, when it loads exactly one."""
    found = {match[1]: match for match in _LOAD.finditer(document.text)}
    if len(found) != 1:
        return unknown("the file loads several models" if found else "the model is not a constant")
    ((name, match),) = found.items()
    return Fact(name, Origin.FILE, locate(document, Span(match.start(1), match.end(1))))


def _named(model: str) -> str:
    """The model's name; a bare size letter says no generation, which only the script knows."""
    return f"yolo scale {model}" if _SCALES.fullmatch(model) else _stem(model)


def _stem(name: str) -> str:
    """``weights/yolo11s.pt`` is yolo11s."""
    return re.sub(r"\.(pt|pth|yaml|yml|onnx)$", "", name.rsplit("/", 1)[-1])


def _whole(value: object) -> int | None:
    try:
        number = as_count(value)
    except ValueError:
        return None
    return number if isinstance(number, int) else None


def _text(place: Place) -> str:
    return str(plain_value(place.node))


_INSERTABLE = {"nominal_batch": "nbs", "workers_per_rank": "workers", "image_size": "imgsz", "precision": "amp"}


def _insertable(draft: Draft, claim: Claim, document: Document, script: Script | None) -> None:
    """The engine knows its keys: they can be added to a ``yolo`` line, a call or a YAML; to a script only its flags."""
    subject = claim.subject
    if isinstance(subject, Command):
        if script is not None or subject.program.endswith(".py"):
            for fact, key in _INSERTABLE.items():
                flag = script.flag(key) if script is not None else None
                if flag is not None:
                    draft.offer_insert(fact, document, subject.options, flag)
            return
        parent = subject.overrides
    elif isinstance(subject, Definition):
        parent = subject.members
    elif isinstance(document.root, Mapping):
        parent = document.root
    else:
        return
    for fact, key in _INSERTABLE.items():
        draft.offer_insert(fact, document, parent, key, _spell_amp if fact == "precision" else None)
