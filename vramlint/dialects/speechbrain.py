"""SpeechBrain: one HyperPyYAML file of hyper-parameters and objects.

Under torchrun every rank draws its own batches; with ``--data_parallel_backend`` one process splits each batch::

    effective batch = batch_size x ranks x grad_accumulation_factor      (torchrun)
    effective batch = batch_size x grad_accumulation_factor              (--data_parallel_backend)

Example (``hparams/train.yaml``):

```yaml
seed: 1986
number_of_epochs: 30
batch_size: 6
lr: 0.0001
precision: bf16
grad_accumulation_factor: 2
num_workers: 4
opt_class: !name:torch.optim.AdamW
  lr: !ref <lr>
train_dataloader_opts:
  batch_size: !ref <batch_size>
  num_workers: !ref <num_workers>
```

```plan gpus=2
micro_batch: 6 file 3
accumulation: 2 file 6
effective_batch: 24 derived
precision: bf16 file 5
workers_per_rank: 4 file 7
optimizer: AdamW derived
epochs: 30.0 file 2
```

Dynamic batches are filled up to so many seconds of audio: ``batch_unit`` says so and the samples stay UNKNOWN. A file
with neither epochs nor an optimizer (verification, inference, pretrained interfaces) trains nothing and is left
alone. Models are built by the file itself, so their memory is not known.

Sources: SpeechBrain 2026-04-03, ``core.py`` lines 276 (DDP), 663-720 (samplers), 836 (accumulation),
``utils/run_opts.py`` (defaults), ``recipes/*/hparams``. HyperPyYAML reads the file as YAML 1.2: ``1e-4`` is a number,
``no`` is a text.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.language import torch_prefetch
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.overrides import flag_overrides
from vramlint.dialects.places import Place, Source
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Text, keys, read_settings
from vramlint.dialects.values import as_precision
from vramlint.plan import Fact, Precision, default, derived, unknown
from vramlint.sources.model import Document, Mapping, Unknown

NAME = "speechbrain"
TITLE = "SpeechBrain HyperPyYAML"

_SOURCE = "SpeechBrain 2026-04"
_LOADERS = (
    "train_dataloader_opts",
    "train_dataloader_options",
    "train_loader_kwargs",
    "train_loader_options",
    "dataloader_opts",
    "dataloader_options",
)
"""What recipes call the options of the training loader."""


def _loader(*names: str, otherwise: tuple[str, ...] = ()) -> Any:
    return keys(*(f"{loader}.{name}" for name in names for loader in _LOADERS), *otherwise)


class Config(Schema):
    """The keys that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = _loader(
        "batch_size", otherwise=("batch_size", "train_batch_size", "N_batch", "train_N_batch")
    )
    accumulation: Count | None = keys("grad_accumulation_factor", "gradient_accumulation", default=1)
    workers_per_rank: Natural | None = _loader("num_workers", otherwise=("num_workers",))
    prefetch_factor: Natural | None = _loader("prefetch_factor")
    pin_memory: Flag | None = _loader("pin_memory")
    persistent_workers: Flag | None = _loader("persistent_workers")
    epochs: float | None = keys("number_of_epochs", "N_epochs", "epochs")
    learning_rate: float | None = keys("lr", "lr_model")

    precision: Text | None = keys("precision")
    auto_mix_prec: Flag | None = keys("auto_mix_prec", default=False)
    dynamic: Flag | None = keys("dynamic_batching")
    sampler: Any = keys("dynamic_batch_sampler_train", "dynamic_batch_sampler", "train_dynamic_batch_sampler")
    seconds: float | None = keys(
        *(f"{name}.{key}" for name in ("dynamic_batch_sampler_train", "dynamic_batch_sampler") for key in
          ("max_batch_length", "max_batch_len", "max_batch_length_train")),
        *("max_batch_length_train", "max_batch_length", "max_batch_len", "train_max_batch_length", "seconds_per_batch"),
    )  # fmt: skip
    split: Flag | None = keys("data_parallel_backend", default=False)


_DIRECT = tuple(Config.model_fields)[:8]


class References(Source):
    """The file with its ``!ref <name>`` followed to the value meant; arithmetic on references stays unknown."""

    def find(self, dotted: str) -> Place | None:
        place = super().find(dotted)
        for _ in range(_DEEPEST):
            if place is None or not isinstance(place.node, Unknown):
                return place
            named = _REFERENCE.fullmatch(place.node.text)
            if named is None:
                return place
            meant = super().find(named[1].replace("[", ".").replace("]", ""))
            if meant is None:
                return place
            place = meant
        return place


_REFERENCE = re.compile(r"!ref\s+<([\w.\[\]]+)>\s*")
_DEEPEST = 8
"""References to references; a circle of them ends here."""


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one file; flags of the one line that launches it win over the file."""
    root = document.root
    sources: list[Source] = flag_overrides(document, context)
    if isinstance(root, Mapping):
        sources.append(References(document, root))
    settings = read_settings(Config, sources)
    draft = Draft(claim, document)
    for source in sources:
        draft.use(source.document)
    draft.fill(settings, _DIRECT)
    draft.put("precision", _precision(settings))
    if "precision" in settings.places:
        draft.offer("precision", settings.places["precision"], _word)
    draft.put("optimizer", _optimizer(root))
    draft.put("model", unknown("the file builds its model of its own objects"))
    _dynamic(draft, settings)
    torch_prefetch(draft)
    return draft.close(_world(draft, settings, context))


def _dynamic(draft: Draft, settings: Settings[Config]) -> None:
    """``DynamicBatchSampler`` fills batches up to a length, where the recipe has it and does not switch it off."""
    if settings.values.dynamic is False or not (settings.values.dynamic or _only_sampler(settings)):
        return
    draft.put("micro_batch", unknown("dynamic batches hold so many seconds, not so many samples"))
    draft.slots.pop("micro_batch", None)
    draft.put("batch_unit", derived("seconds", "dynamic batches are filled up to a length"))
    draft.put("batch_seconds", settings.fact("seconds"))


def _only_sampler(settings: Settings[Config]) -> bool:
    place = settings.places.get("micro_batch")
    return settings.spelled("sampler") and (place is None or place.name not in _train_batches())


def _train_batches() -> tuple[str, ...]:
    return tuple(f"{loader}.batch_size" for loader in _LOADERS)


def _world(draft: Draft, settings: Settings[Config], context: Context) -> World:
    """``--data_parallel_backend`` splits the batch of the one process over the machine's GPUs."""
    found = world(draft.document, None, context)
    if not settings.values.split:
        return found
    batch, gpus = draft.plan.micro_batch, found.ranks.value
    if batch.value is None or gpus is None or batch.value % gpus:
        draft.put("micro_batch", unknown("data_parallel_backend splits each batch over the GPUs", batch.location))
    else:
        note = f"batch_size {batch.value} split over {gpus} GPUs"
        draft.put("micro_batch", Fact(batch.value // gpus, batch.origin, batch.location, note))
    draft.slots.pop("micro_batch", None)
    return found


def _precision(settings: Settings[Config]) -> Fact[Precision]:
    fact = settings.fact("precision")
    if fact.value is None:
        if settings.values.auto_mix_prec:
            switch = settings.fact("auto_mix_prec")
            return Fact(Precision.FP16, switch.origin, switch.location, "auto_mix_prec is fp16")
        return unknown(fact.note, fact.location) if fact.location else default(Precision.FP32, f"default of {_SOURCE}")
    try:
        return Fact(as_precision(fact.value), fact.origin, fact.location)
    except ValueError:
        return unknown(f"precision {fact.value} is none of SpeechBrain's", fact.location)


def _word(value: object) -> str:
    """A precision in SpeechBrain's words (``AMPConfig.from_name``)."""
    return {Precision.FP32: "fp32", Precision.FP16: "fp16", Precision.BF16: "bf16"}[Precision(str(value))]


_OPTIMIZERS = ("opt_class", "optimizer", "opt", "model_opt_class")


def _optimizer(root: object) -> Fact[str]:
    """``opt_class: !name:torch.optim.AdamW``: the tag names the class."""
    if not isinstance(root, Mapping):
        return unknown()
    for key in _OPTIMIZERS:
        node = root.get(key)
        tag = node.tag if isinstance(node, Mapping) else node.text.split()[0] if isinstance(node, Unknown) else None
        named = re.match(r"!(?:name|new):([\w.]+)", tag or "")
        if named is not None:
            return derived(named[1].rsplit(".", 1)[-1], f"{key} {named[1]}")
    return unknown("no optimizer class in the file")
