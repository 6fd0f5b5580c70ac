"""timm's ``train.py``: a command line, a YAML for ``-c``, or the ``args.yaml`` that a run leaves behind.

The batch is per process and accumulation is explicit::

    effective batch = --batch-size x processes x --grad-accum-steps

Example (``train.sh``):

```shell
./distributed_train.sh 4 /data/imagenet --model resnet50 -b 64 --grad-accum-steps 2 --sched cosine --amp -j 8 \\
    --aa rand-m9-mstd0.5 --model-ema
```

```plan
micro_batch: 64 launch 1
accumulation: 2 launch 1
world_size: 4 launch 1
effective_batch: 512 derived
precision: fp16 launch 1
workers_per_rank: 8 launch 1
pin_memory: false default
model: resnet50 launch 1
ema: true launch 2
grad_checkpointing: false default
image_size: 224x224 derived
```

Sources: timm 1.0 (2026-08), ``train.py`` lines 112-420 (flags and defaults), 500 (accumulation), 516 (autocast), 838
(effective batch); ``distributed_train.sh`` (the first word is the number of processes); ``-c`` files are read by
``yaml.safe_load`` and become defaults of the flags.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any, ClassVar

from vramlint.dialects.commands import Run, open_run, world_of
from vramlint.dialects.language import torch_prefetch
from vramlint.dialects.launch import World
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import Source, locate
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Size, Text, keys, read_settings
from vramlint.dialects.values import as_count
from vramlint.plan import Fact, ImageSize, Origin, Precision, default, derived, unknown
from vramlint.sources.model import Document, Mapping

NAME = "timm"
TITLE = "timm train.py"

_SOURCE = "timm 1.0"
_SHORT = {"-b": ("batch_size",), "-j": ("workers",), "-c": ("config",)}


class Train(Schema):
    """The flags of ``train.py`` that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("batch_size", default=128)
    accumulation: Count | None = keys("grad_accum_steps", default=1)
    workers_per_rank: Natural | None = keys("workers", default=4)
    pin_memory: Flag | None = keys("pin_mem", default=False)
    grad_checkpointing: Flag | None = keys("grad_checkpointing", default=False)
    ema: Flag | None = keys("model_ema", default=False)
    optimizer: Text | None = keys("opt", default="sgd")
    learning_rate: float | None = keys("lr")
    epochs: Count | None = keys("epochs", default=300)
    num_classes: Count | None = keys("num_classes")

    model: Text | None = keys("model", default="resnet50")
    image_size: Size | None = keys("img_size", "input_size")
    amp: Flag | None = keys("amp", default=False)
    amp_dtype: Text | None = keys("amp_dtype", default="float16")
    model_dtype: Text | None = keys("model_dtype")
    sizes: Any = keys("train_img_sizes", "naflex_loader")


_DIRECT = tuple(Train.model_fields)[:10]
_FLAGS = {
    "accumulation": "--grad-accum-steps",
    "precision": "--amp",
    "grad_checkpointing": "--grad-checkpointing",
    "workers_per_rank": "--workers",
}


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one command or one file of arguments."""
    run = open_run(claim, document, context, _SHORT)
    _config_file(run, context)
    settings = run.settings(Train)
    draft = run.draft
    draft.fill(settings, _DIRECT)
    draft.put("precision", _precision(settings))
    if "amp" in settings.places and not settings.spelled("amp_dtype"):
        draft.offer("precision", settings.places["amp"])
    _model(run, settings)
    draft.put("task", derived("classify", "train.py trains classifiers"))
    draft.put("persistent_workers", default(value=True, note=f"{_SOURCE}, data/loader.py"))
    torch_prefetch(draft)
    run.offer_flags(_FLAGS)
    return draft.close(_world(run, context))


def _config_file(run: Run, context: Context) -> None:
    """``-c file.yaml`` gives defaults for the flags that the command leaves out."""
    named = read_settings(_Named, run.sources).values.config if run.command is not None else None
    found = context.document(posixpath.normpath(named)) if named else None
    if found is not None and isinstance(found.root, Mapping):
        run.draft.use(found)
        run.sources.insert(len(run.sources) - (run.script is not None), Source(found, found.root))


class _Named(Schema):
    config: Text | None = keys("config")


def _precision(settings: Settings[Train]) -> Fact[Precision]:
    """``--amp`` autocasts to ``--amp-dtype``; ``--model-dtype`` holds the weights in it, and AMP wants fp32 then."""
    amp = settings.fact("amp")
    if not amp.known:
        return unknown(amp.note, amp.location)
    if amp.value:
        word = str(settings.fact("amp_dtype").value)
        kind = {"float16": Precision.FP16, "bfloat16": Precision.BF16}.get(word)
        return unknown(f"--amp-dtype {word}", amp.location) if kind is None else Fact(kind, amp.origin, amp.location)
    held = settings.fact("model_dtype")
    pure = {"float16": Precision.PURE_FP16, "bfloat16": Precision.PURE_BF16}.get(str(held.value))
    if pure is not None:
        return Fact(pure, held.origin, held.location)
    return Fact(Precision.FP32, amp.origin, amp.location, amp.note)


_OWN_SIZE = re.compile(r"_(\d{3})$")
_AT_224 = re.compile(r"^(resnet(18|34|50|152)|convnext_(tiny|small|base|large)|(deit|vgg|densenet|mobilenetv3).*)$")


def _model(run: Run, settings: Settings[Train]) -> None:
    """The architecture without the tag of its weights, and the size it is trained at unless a flag says."""
    model = settings.fact("model")
    name = str(model.value or "").removeprefix("timm/").split(".")[0]
    run.draft.put("model", Fact(name, model.origin, model.location, model.note) if name else model)
    size = settings.fact("image_size")
    if settings.spelled("sizes"):
        size = unknown("sizes vary from batch to batch")
    elif not size.known and not settings.spelled("image_size"):
        size = _default_size(name)
    run.draft.put("image_size", size)
    if size.spelled:
        run.draft.offer("image_size", settings.places["image_size"])
    run.draft.put("multi_scale", derived(settings.spelled("sizes"), "one size a run unless --train-img-sizes"))


def _default_size(name: str) -> Fact[ImageSize]:
    """The size of the model's own ``default_cfg``, as far as its name tells."""
    found = _OWN_SIZE.search(name)
    if found:
        return derived(ImageSize(int(found[1]), int(found[1])), f"{name} names its size")
    if _AT_224.match(name):
        return derived(ImageSize(224, 224), f"{_SOURCE}: default_cfg of {name}")
    return unknown(f"the size is the one of {name}'s default_cfg")


def _world(run: Run, context: Context) -> World:
    """``distributed_train.sh N`` starts N processes; ``train.py`` without a launcher is one."""
    command = run.command
    if command is not None and command.program.endswith("distributed_train.sh") and command.positionals:
        word = command.positionals[0]
        count = as_count(word.value)
        where = locate(run.document, word.span)
        if not isinstance(count, int) or count < 1:
            return World(unknown("the number of processes is no constant", where), unknown())
        return World(Fact(count, Origin.LAUNCH, where), default(1, "one node"))
    return world_of(run, context, f"{_SOURCE}: one process without a launcher")
