"""OpenCLIP: ``open_clip_train.main`` with flags.

The batch is per GPU; accumulation re-runs the forward pass for every micro batch and keeps all features::

    effective batch = --batch-size x GPUs x --accum-freq

Example (``train.sh``):

```shell
torchrun --nproc_per_node 4 -m open_clip_train.main --train-data 'cc12m.tar' --model ViT-B-32 --batch-size 256 \\
    --accum-freq 2 --precision amp --workers 6 --grad-checkpointing
```

```plan
micro_batch: 256 launch 1
accumulation: 2 launch 2
world_size: 4 launch 1
effective_batch: 2048 derived
precision: fp16 launch 2
workers_per_rank: 6 launch 2
grad_checkpointing: true launch 2
model: ViT-B-32 launch 1
```

Sources: open_clip 3 (2026-06), ``src/open_clip_train/params.py`` lines 269-535 (flags and defaults; ``--precision`` is
``amp_bf16``, in older releases ``amp``: autocast either way), ``train.py`` lines 222-311 (accumulation).
"""

from __future__ import annotations

from typing import Any, ClassVar

from vramlint.dialects import spelling_out
from vramlint.dialects.commands import open_run, world_of
from vramlint.dialects.draft import Draft
from vramlint.dialects.language import torch_prefetch
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Size, Text, keys
from vramlint.plan import Fact, Precision, default, derived, unknown
from vramlint.sources.model import Document, Plain

NAME = "open_clip"
TITLE = "OpenCLIP"

_SOURCE = "open_clip 3"


class Train(Schema):
    """The flags that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("batch_size", default=64)
    accumulation: Count | None = keys("accum_freq", default=1)
    workers_per_rank: Natural | None = keys("workers", default=4)
    grad_checkpointing: Flag | None = keys("grad_checkpointing", default=False)
    image_size: Size | None = keys("force_image_size")
    optimizer: Text | None = keys("opt", default="adamw")
    learning_rate: float | None = keys("lr")
    epochs: Count | None = keys("epochs", default=32)
    model: Text | None = keys("model", default="RN50")

    precision: Any = keys("precision")
    local_loss: Flag | None = keys("local_loss", default=False)
    lock_image: Flag | None = keys("lock_image", default=False)
    lock_text: Flag | None = keys("lock_text", default=False)
    tokens: Any = keys("naflex_max_tokens_per_batch")


_DIRECT = tuple(Train.model_fields)[:9]
_FLAGS = {
    "accumulation": "--accum-freq",
    "precision": "--precision",
    "grad_checkpointing": "--grad-checkpointing",
    "workers_per_rank": "--workers",
}
_KINDS = {
    "amp": Precision.FP16,
    "amp_bf16": Precision.BF16,
    "amp_bfloat16": Precision.BF16,
    "bf16": Precision.PURE_BF16,
    "fp16": Precision.PURE_FP16,
    "pure_bf16": Precision.PURE_BF16,
    "pure_fp16": Precision.PURE_FP16,
    "fp32": Precision.FP32,
}
_WORDS: dict[Precision, Plain] = {Precision.FP32: "fp32", Precision.FP16: "amp", Precision.BF16: "amp_bf16"}


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one command."""
    run = open_run(claim, document, context)
    settings = run.settings(Train)
    draft = run.draft
    draft.fill(settings, _DIRECT)
    draft.put("precision", _precision(settings))
    if "precision" in settings.places:
        place = settings.places["precision"]
        draft.offer("precision", place, spelling_out.precision(place.name, words=_WORDS))
    if settings.spelled("tokens"):
        draft.put("micro_batch", unknown("NaFlex batches count tokens, and --batch-size is ignored"))
        draft.slots.pop("micro_batch", None)
    if not settings.spelled("image_size"):
        draft.put("image_size", unknown(f"the size is the one of {settings.values.model}'s own configuration"))
    _towers(draft, settings)
    torch_prefetch(draft)
    run.offer_flags({fact: flag for fact, flag in _FLAGS.items() if fact != "precision"}, of_framework=True)
    return draft.close(world_of(run, context, f"{_SOURCE}: one process without a launcher"))


_LIKE = {
    "ViT-B-32": "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    "ViT-B-16": "laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
    "ViT-L-14": "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
    "ViT-L-14-336": "open_clip/ViT-L-14-336",
    "ViT-H-14": "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    "ViT-B-32-quickgelu": "openai/clip-vit-base-patch32",
    "ViT-B-16-quickgelu": "openai/clip-vit-base-patch16",
    "ViT-L-14-quickgelu": "openai/clip-vit-large-patch14",
    "ViT-L-14-336-quickgelu": "openai/clip-vit-large-patch14-336",
}
"""Checkpoints of transformers with the shape of an ``open_clip/model_configs`` entry."""


def _towers(draft: Draft, settings: Settings[Train]) -> None:
    """What a model's shape is like; features of all ranks are gathered (``src/open_clip/loss.py#gather_features``)."""
    like = _LIKE.get(str(settings.values.model).replace("/", "-"))
    if like is not None:
        draft.put("architecture_like", derived(like, "the same shape in transformers"))
    draft.put("gathered_features", derived(value=True, note="the loss compares the samples of all ranks"))
    draft.put("local_loss", settings.fact("local_loss"))
    locked = (("image tower", settings.values.lock_image), ("text tower", settings.values.lock_text))
    if any(on for _, on in locked):
        draft.put("frozen_parts", derived(tuple(part for part, on in locked if on), "locked towers"))


def _precision(settings: Settings[Train]) -> Fact[Precision]:
    """The words of ``--precision``; without it the release decides, and both of its defaults are autocast."""
    fact = settings.fact("precision")
    if not settings.spelled("precision"):
        return default(Precision.BF16, f"default of {_SOURCE}: amp_bf16 (older releases: amp)")
    kind = _KINDS.get(str(fact.value))
    if kind is None:
        return unknown(f"--precision {fact.value} is none of OpenCLIP's", fact.location)
    return Fact(kind, fact.origin, fact.location)
