"""DeepSpeed JSON: any two of three batch keys give the third.

``train_batch_size`` is GLOBAL and includes accumulation::

    train_batch_size = train_micro_batch_size_per_gpu x gradient_accumulation_steps x ranks

Example (``ds_config.json``):

```json
{
  "train_batch_size": 64,
  "train_micro_batch_size_per_gpu": 4,
  "zero_optimization": {"stage": 2},
  "bf16": {"enabled": true}
}
```

```plan gpus=8
micro_batch: 4 file 3
global_batch: 64 file 2
accumulation: 2 derived
effective_batch: 64 derived
sharding: zero2 file 4
precision: bf16 file 5
```

``"auto"`` is filled in by the Trainer that is handed the file, so it stays UNKNOWN here. Source: DeepSpeed 0.19.6,
``runtime/config.py#_set_batch_related_parameters`` (floor divisions, then an assertion) and lines 707-727 (ranks of
sequence and tensor parallelism see the same batch), ``runtime/constants.py``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vramlint.dialects.agreement import Said, files_disagree
from vramlint.dialects.draft import Draft, data_parallel
from vramlint.dialects.language import STAGES, product, root_source
from vramlint.dialects.launch import world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.reading import Count, Schema, Settings, Text, keys, read_settings
from vramlint.dialects.values import as_count
from vramlint.plan import Fact, Precision, default, derived, unknown
from vramlint.sources.model import Document

NAME = "deepspeed"
TITLE = "DeepSpeed JSON"

_SOURCE = "DeepSpeed 0.19.6"


class Config(Schema):
    """The keys that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    train_batch: Any = keys("train_batch_size")
    micro: Any = keys("train_micro_batch_size_per_gpu")
    steps: Any = keys("gradient_accumulation_steps")
    stage: Any = keys("zero_optimization.stage", default=0)
    bf16: Any = keys("bf16.enabled", "bfloat16.enabled")
    fp16: Any = keys("fp16.enabled")
    optimizer: Text | None = keys("optimizer.type")
    sequence_parallel: Count | None = keys("sequence_parallel_size", default=1)
    tensor_parallel: Count | None = keys("tensor_parallel.autotp_size", default=1)
    learning_rate: Any = keys("optimizer.params.lr")


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one JSON."""
    settings = read_settings(Config, root_source(document))
    draft = Draft(claim, document)
    draft.fill(settings, ("optimizer",))
    found = world(document, None, context)
    stage = settings.fact("stage")
    kind = STAGES.get(stage.value) if isinstance(stage.value, int) else None
    draft.put(
        "sharding", Fact(kind, stage.origin, stage.location, stage.note) if kind else unknown("no known ZeRO stage")
    )
    draft.put("precision", _precision(settings))
    draft.put("model", unknown("a DeepSpeed file names no model"))
    shared = product(settings.values.sequence_parallel, settings.values.tensor_parallel)
    ranks = data_parallel(found.ranks, shared)
    _batch(draft, settings, ranks)
    reading = draft.close(found, model_parallel=shared)
    _stop_where_it_asserts(reading)
    return reading


def _stop_where_it_asserts(reading: Reading) -> None:
    """``_batch_assertion``: train_batch_size == micro batch x steps x ranks, else DeepSpeed raises AssertionError."""
    plan = reading.plan
    total, product_ = plan.fact("global_batch").value, plan.effective_batch.value
    if total is not None and product_ is not None and total != product_:
        told = f"train_batch_size {total} is not {product_}, the product of the others: DeepSpeed stops"
        plan.effective_batch = unknown(told)
        place = plan.fact("global_batch").location
        if place is not None and plan.world_size.location is not None:
            whole = Said("train_batch_size", total, place)
            ranks = Said(
                f"{plan.micro_batch.value} x {plan.accumulation.value} x ranks",
                plan.world_size.value,
                plan.world_size.location,
            )
            reading.findings.append(files_disagree(whole, ranks, "DeepSpeed's assertion stops the run"))


def _batch(draft: Draft, settings: Settings[Config], ranks: Fact[int]) -> None:
    """Two of the three give the third; one alone means one step (a total or a micro batch alone)."""
    total, micro, steps = (_number(settings, name) for name in ("train_batch", "micro", "steps"))
    draft.put("global_batch", total)
    draft.put("micro_batch", micro)
    draft.put("accumulation", steps)
    if settings.spelled("micro"):
        draft.offer("micro_batch", settings.places["micro"])
    if settings.spelled("steps"):
        draft.offer("accumulation", settings.places["steps"])
    if micro.value is None and not settings.spelled("micro") and total.value and ranks.value:
        divisor = ranks.value * (steps.value or 1)
        note = f"{total.value} // {ranks.value}" + (f" // {steps.value}" if steps.value else "")
        draft.put("micro_batch", derived(total.value // divisor, note) if total.value >= divisor else unknown(note))
    if steps.value is None and not settings.spelled("steps"):
        if total.value and micro.value and ranks.value:
            count = total.value // (micro.value * ranks.value)
            note = f"{total.value} // {micro.value} // {ranks.value}"
            draft.put("accumulation", derived(count, note) if count else unknown(f"{note} is no step at all"))
        elif not (total.value and micro.value):
            draft.put("accumulation", default(1, f"default of {_SOURCE}"))


def _number(settings: Settings[Config], name: str) -> Fact[int]:
    fact = settings.fact(name)
    if fact.value is None:
        return fact
    try:
        value = as_count(fact.value)
    except ValueError:
        value = None
    if isinstance(value, int) and value > 0:
        return Fact(value, fact.origin, fact.location)
    return unknown(
        "auto: the Trainer fills it in" if fact.value == "auto" else f"{fact.value!r} is no batch", fact.location
    )


def _precision(settings: Settings[Config]) -> Fact[Precision]:
    """DeepSpeed keeps 16-bit weights beside fp32 masters: as many bytes as autocast over fp32 weights."""
    for name, kind in (("bf16", Precision.BF16), ("fp16", Precision.FP16)):
        fact = settings.fact(name)
        if fact.value is True:
            return Fact(kind, fact.origin, fact.location)
        if fact.value == "auto":
            return unknown("auto: the Trainer fills it in", fact.location)
    return default(Precision.FP32, f"default of {_SOURCE}")
