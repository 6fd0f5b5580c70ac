"""unsloth Studio and its command line: one YAML with a ``training`` section.

The batch is per GPU and accumulation is explicit, as in the TRL trainer behind it::

    effective batch = training.batch_size x ranks x training.gradient_accumulation_steps

Example (``lora_text.yaml``):

```yaml
model: unsloth/Qwen2.5-0.5B
training:
  training_type: lora
  max_seq_length: 2048
  load_in_4bit: true
  batch_size: 2
  gradient_accumulation_steps: 4
  gradient_checkpointing: "unsloth"
  optim: adamw_8bit
lora:
  lora_r: 64
```

```plan gpus=1
micro_batch: 2 file 6
accumulation: 4 file 7
effective_batch: 8 derived
seq_len: 2048 file 4
grad_checkpointing: true file 8
optimizer: adamw_8bit file 9
adapter: qlora derived
adapter_rank: 64 file 11
precision: bf16 derived
```

``"unsloth"`` is checkpointing that also keeps the checkpoints in host memory. ``max_steps: 0`` and ``save_steps: 0``
mean off. bf16 where the card has it, else fp16. Model default files without ``model:`` are the Studio's suggestions for
that model and are read all the same.

Sources: unsloth 2026-08-22, ``studio/backend/core/training/trainer.py`` lines 298 (4 bit), 686 (precision) and 3328
(batch and accumulation), ``studio/backend/assets/configs/*.yaml``. PyYAML reads the file, but Studio converts the
learning rate.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.language import half, language_facts
from vramlint.dialects.launch import world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.overrides import launch_sources
from vramlint.dialects.reading import Count, Flag, Schema, Settings, Text, keys, read_settings
from vramlint.plan import Fact, default, derived, unknown
from vramlint.sources.model import Document

NAME = "unsloth"
TITLE = "unsloth Studio"

_SOURCE = "unsloth 2026-08"


class Config(Schema):
    """The keys that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("training.batch_size", default=2)
    accumulation: Count | None = keys("training.gradient_accumulation_steps", default=4)
    seq_len: Count | None = keys("training.max_seq_length", default=2048)
    optimizer: Text | None = keys("training.optim", default="adamw_8bit")
    adapter_rank: Count | None = keys("lora.lora_r")
    epochs: float | None = keys("training.num_epochs")
    max_steps: int | None = keys("training.max_steps")

    kind: Text | None = keys("training.training_type")
    four_bit: Flag | None = keys("training.load_in_4bit", default=True)
    checkpointing: Any = keys("training.gradient_checkpointing", default="unsloth")
    packing: Flag | None = keys("training.packing", default=False)
    model: Text | None = keys("model")
    targets: Any = keys("lora.target_modules")
    dropout: float | None = keys("lora.lora_dropout")


_DIRECT = tuple(Config.model_fields)[:7]


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one YAML."""
    settings = read_settings(Config, launch_sources(document, context))
    draft = Draft(claim, document)
    draft.fill(settings, _DIRECT)
    draft.put("precision", derived(half(context), f"{_SOURCE} takes bf16 where the card has it"))
    _checkpointing(draft, settings)
    _adapter(draft, settings)
    draft.put("packing", settings.fact("packing"))
    draft.put("model", _model(settings))
    language_facts(draft, "unsloth")
    return draft.close(world(document, None, context))


def _model(settings: Settings[Config]) -> Fact[str]:
    """The model of the file; files of model defaults are for the model that Studio's user chose."""
    fact: Fact[str] = settings.fact("model")
    return fact if fact.known else unknown("the file holds a model's default settings, and names none", fact.location)


def _checkpointing(draft: Draft, settings: Settings[Config]) -> None:
    """``"unsloth"`` keeps the checkpoints in host memory; the words and switches of other trainers mean the usual."""
    fact = settings.fact("checkpointing")
    word = str(fact.value).lower()
    on = {"unsloth": True, "mlx": True, "true": True, "none": False, "false": False}.get(word)
    if on is None:
        draft.put("grad_checkpointing", unknown(fact.note or f"gradient_checkpointing {word}", fact.location))
        return
    draft.put("grad_checkpointing", Fact(on, fact.origin, fact.location, fact.note))
    if word == "unsloth":
        draft.put("activation_offload", derived(value=True, note="checkpoints wait in host memory"))


def _adapter(draft: Draft, settings: Settings[Config]) -> None:
    """``lora`` on 4-bit weights is QLoRA; files of model defaults leave the type to Studio's user."""
    kind = settings.fact("kind")
    if kind.value == "full":
        draft.put("adapter", Fact("none", kind.origin, kind.location))
    elif kind.value in ("lora", "qlora"):
        four_bit = kind.value == "qlora" or settings.values.four_bit
        draft.put("adapter", derived("qlora" if four_bit else "lora", "training_type and load_in_4bit"))
        if four_bit:
            draft.put("double_quantization", default(value=True, note="unsloth 2026.10, models/loader.py"))
    else:
        draft.put("adapter", unknown("no training_type: the user chooses", kind.location))
    draft.put("adapter_targets", settings.fact("targets"))
    draft.put("adapter_dropout", settings.fact("dropout"))
