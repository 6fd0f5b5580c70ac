"""detectron2 LazyConfig: Python that takes ``dataloader``, ``model`` and ``train`` over and changes them.

``dataloader.train.total_batch_size`` is GLOBAL and nothing accumulates::

    micro batch = total_batch_size / ranks      effective batch = total_batch_size

Example (``mask_rcnn.py``):

```python
from detectron2.config import LazyCall as L

from ..common.models.mask_rcnn_fpn import model

dataloader = dict(train=L(build_detection_train_loader)(total_batch_size=32, num_workers=4))
train = dict(max_iter=90000, amp=dict(enabled=False))
optimizer = L(torch.optim.SGD)(lr=0.04)

train.amp.enabled = True
```

```plan gpus=8
micro_batch: 4 file 5
global_batch: 32 file 5
accumulation: 1 derived
effective_batch: 32 derived
precision: fp16 file 9
workers_per_rank: 4 file 5
learning_rate: 0.04 file 7
max_steps: 90000 file 6
```

Files in a folder called ``common`` are parts that configs take over: recognised and left alone. What detectron2's own
``common/data/coco.py`` and ``common/train.py`` say is known without the files.

Sources: detectron2 2026-06, ``configs/common/data/coco.py`` (16 images, 4 workers), ``configs/common/train.py``
(AMP off, 90,000 iterations), ``data/build.py#build_batch_data_loader`` (the batch has to divide by the ranks),
``tools/lazyconfig_train_net.py`` (``a.b=c`` words of the command win, ``--num-gpus`` on each of ``--num-machines``).
"""

from __future__ import annotations

import posixpath
from typing import Any, ClassVar

from vramlint.dialects import detectron2, spelling_out
from vramlint.dialects.detectron2_calls import keys_of
from vramlint.dialects.draft import Draft
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.model_tree import model_tree
from vramlint.dialects.neighbours import reader_of
from vramlint.dialects.openmmlab import ResolvedSource
from vramlint.dialects.overrides import word_overrides
from vramlint.dialects.places import Source, location
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
from vramlint.plan import Fact, ImageSize, ModelTree, Origin, Precision, default, derived, unknown
from vramlint.sources.model import Document, Mapping, Sequence
from vramlint.sources.python_lazy import resolve_lazy
from vramlint.sources.python_project import Resolved

NAME = "detectron2_lazy"
TITLE = "detectron2 LazyConfig"

_SOURCE = "detectron2 2026-06"


class Config(Schema):
    """The settings that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    global_batch: Count | None = keys("dataloader.train.total_batch_size")
    workers_per_rank: Natural | None = keys("dataloader.train.num_workers")
    learning_rate: float | None = keys("optimizer.lr")
    max_steps: Count | None = keys("train.max_iter")
    num_classes: Count | None = keys("model.roi_heads.num_classes", "model.num_classes")

    amp: Flag | None = keys("train.amp.enabled")
    ema: Flag | None = keys("train.model_ema.enabled")
    recomputes: Flag | None = keys(
        "model.backbone.net.use_act_checkpoint", "model.backbone.bottom_up.use_act_checkpoint"
    )
    optimizer_class: Text | None = keys("optimizer._target_")
    mask_head: Any = keys("model.roi_heads.mask_head")
    image_size: Size | None = keys("image_size")


_DIRECT = tuple(Config.model_fields)[:5]
_KNOWN = {
    "global_batch": (16, "model_zoo:common/data/coco.py"),
    "workers_per_rank": (4, "model_zoo:common/data/coco.py"),
    "max_steps": (90000, "model_zoo:common/train.py"),
    "amp": (False, "model_zoo:common/train.py"),
}
"""What files of detectron2 itself say, for repositories that only name them."""


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one config with the files it takes over from."""
    resolved = resolve_lazy(document, reader_of(document, context))
    settings = read_settings(Config, [*word_overrides(document, context), ResolvedSource(resolved)])
    draft = Draft(claim, document)
    for other in resolved.documents:
        draft.use(other)
    draft.fill(settings, _DIRECT)
    for name in _DIRECT:
        if not settings.spelled(name) or not settings.fact(name).known:
            draft.put(name, _of_detectron2(name, settings, resolved.missing))
    amp = settings.fact("amp")
    if not amp.known:
        amp = _of_detectron2("amp", settings, resolved.missing)
    precision = Precision.FP16 if amp.value else Precision.FP32
    draft.put("precision", Fact(precision, amp.origin, amp.location, amp.note) if amp.known else unknown(amp.note))
    off = default(value=False, note=f"default of {_SOURCE}")
    draft.put("ema", settings.fact("ema") if settings.spelled("ema") else off)
    draft.put("grad_checkpointing", settings.fact("recomputes") if settings.spelled("recomputes") else off)
    kind = settings.fact("optimizer_class")
    if kind.value:
        draft.put("optimizer", Fact(kind.value.rsplit(".", 1)[-1], kind.origin, kind.location))
    _batch(draft, ResolvedSource(resolved), settings.fact("image_size"))
    draft.put("task", derived("segment" if settings.spelled("mask_head") else "detect", "the heads of the model"))
    draft.put("model", unknown("detectron2 builds its models from many parts"))
    draft.put("architecture", _architecture(resolved))
    found = detectron2.ranks(document, context)
    draft.put("accumulation", derived(1, f"{_SOURCE} has no accumulation"))
    place = settings.places.get("global_batch")
    if place is not None and found.ranks.value is not None:
        draft.offer("micro_batch", place, spelling_out.scaled(found.ranks.value))
    draft.put("micro_batch", detectron2.share(draft.plan.global_batch, found.ranks))
    return draft.close(found)


def _architecture(resolved: Resolved) -> Fact[ModelTree]:
    section = resolved.mapping.get("model")
    if not isinstance(section, Mapping):
        return unknown(f"{resolved.missing[0]} is not at hand" if resolved.missing else "the config sets no model")
    return Fact(keys_of(model_tree(section, "detectron2", "detectron2")), Origin.FILE)


def _batch(draft: Draft, source: Source, spelled: Fact[ImageSize]) -> None:
    """The size of an image, by the last of the mapper's augmentations that decides it, and of a padded batch."""
    place = source.find("dataloader.train.mapper.augmentations")
    items = place.node.items if place is not None and isinstance(place.node, Sequence) else []
    size: ImageSize | None = None
    crops = False
    for item in items:
        call = plain_value(item) if isinstance(item, Mapping) else None
        kind = str(call.get("_target_", "")).rpartition(".")[2] if isinstance(call, dict) else ""
        if not isinstance(call, dict) or kind not in ("ResizeShortestEdge", "ResizeScale", "FixedSizeCrop"):
            continue
        sides = call.get("crop_size") if kind == "FixedSizeCrop" else _resized(kind, call)
        whole = isinstance(sides, list) and len(sides) == 2 and all(isinstance(side, int) for side in sides)
        size, crops = (ImageSize(*sides) if whole else None), kind == "FixedSizeCrop"  # type: ignore[misc]
    if size is None or place is None:
        draft.put("image_size", spelled)
        return
    draft.put("image_size", Fact(size, place.source.origin, location(place)))
    draft.put("shapes_vary", derived(not crops, "fixed crops" if crops else "images keep their ratio"))
    square = source.find("model.backbone.square_pad")
    side = plain_value(square.node) if square is not None else 0
    if isinstance(side, int) and side > 0:
        draft.put("batch_shape", derived(ImageSize(side, side), "model.backbone.square_pad"))
        return
    padded = ImageSize(*(-(-side // _DIVISOR) * _DIVISOR for side in size))
    draft.put("batch_shape", derived(padded, f"the largest size, {size}, padded to multiples of {_DIVISOR}"))


_DIVISOR = 32
"""The coarsest stride of a bottom-up network under an FPN (``modeling/backbone/fpn.py``)."""


def _resized(kind: str, call: dict[str, Any]) -> list[Any]:
    if kind == "ResizeScale":
        return [call.get("target_height"), call.get("target_width")]
    short = call.get("short_edge_length")
    return [max(short) if isinstance(short, list) and short else short, call.get("max_size")]


def _of_detectron2(name: str, settings: Settings[Config], missing: list[str]) -> Fact[Any]:
    """A value of a file that detectron2 ships, where the config names that file and says nothing else."""
    value, path = _KNOWN.get(name, (None, ""))
    tail = path.partition(":")[2]
    if value is not None and path in missing and not settings.spelled(name):
        return default(value, f"{_SOURCE}, configs/{tail}")
    fact = settings.fact(name)
    if fact.note:
        return fact
    return unknown(f"{posixpath.basename(missing[0])} is not at hand" if missing else "not set")
