"""What the three generic dialects share: one schema over all common spellings, and how precision is told from them.

A generic dialect finds the places (flags, leaves, attributes); this module makes facts of them.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from typing import Any, ClassVar, NamedTuple

from vramlint.dialects.draft import Draft
from vramlint.dialects.places import Place, location
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
    settings_from,
)
from vramlint.dialects.signature import normal_name
from vramlint.dialects.spellings import SPELLINGS
from vramlint.dialects.values import as_precision, as_size
from vramlint.plan import Fact, Precision, default, derived, unknown
from vramlint.sources.model import Scalar


def _spelled(fact: str) -> Any:
    return keys(*SPELLINGS[fact])


class Trainer(Schema):
    """The settings of a training program that follows no framework's convention."""

    source: ClassVar[str] = ""

    micro_batch: Count | None = _spelled("micro_batch")
    accumulation: Count | None = _spelled("accumulation")
    workers_per_rank: Natural | None = _spelled("workers_per_rank")
    prefetch_factor: Natural | None = _spelled("prefetch_factor")
    persistent_workers: Flag | None = _spelled("persistent_workers")
    pin_memory: Flag | None = _spelled("pin_memory")
    image_size: Size | None = _spelled("image_size")
    grad_checkpointing: Flag | None = _spelled("grad_checkpointing")
    multi_scale: Flag | None = _spelled("multi_scale")
    ema: Flag | None = _spelled("ema")
    queue_size: Count | None = _spelled("queue_size")
    num_queries: Count | None = _spelled("num_queries")
    num_classes: Count | None = _spelled("num_classes")
    seq_len: Count | None = _spelled("seq_len")
    model: Text | None = _spelled("model")
    optimizer: Text | None = _spelled("optimizer")
    learning_rate: float | None = _spelled("learning_rate")
    epochs: float | None = _spelled("epochs")
    max_steps: float | None = _spelled("max_steps")
    global_batch: Count | None = _spelled("global_batch")
    projection_dim: Count | None = _spelled("projection_dim")


PER_RANK_NAMES = frozenset(
    name for name in SPELLINGS["micro_batch"] if "per_" in name or "micro" in name or name == "samples_per_gpu"
)
"""Names that say themselves that the batch is one rank's."""


class Silence(NamedTuple):
    """Why a setting that nobody spells has torch's own value; an empty reason leaves it UNKNOWN."""

    accumulation: str = ""
    precision: str = ""
    grad_checkpointing: str = ""


NO_KEY = Silence(
    "no accumulation key: one optimizer step a batch",
    "no precision key: torch trains in fp32",
    "no checkpointing key: torch keeps all activations",
)
"""The program's whole configuration is at hand and has no such key."""


def choose(candidates: MappingType[str, list[Place]]) -> dict[str, Place]:
    """One place a fact, when each fact has its candidates in order of preference."""
    return {fact: places[0] for fact, places in candidates.items() if places and fact in Trainer.model_fields}


def fill(draft: Draft, places: dict[str, Place], precisions: list[Place], silence: Silence) -> Settings[Trainer]:
    """Put everything at ``places`` into the draft, precision and the defaults of silence included."""
    settings = settings_from(Trainer, {name: place for name, place in places.items() if _sensible(name, place)})
    draft.fill(settings, [name for name in settings.places if name != "precision"])
    _precision(draft, precisions, silence.precision)
    if "accumulation" not in settings.places and silence.accumulation:
        draft.put("accumulation", default(1, silence.accumulation))
    if "grad_checkpointing" not in settings.places and silence.grad_checkpointing:
        draft.put("grad_checkpointing", default(value=False, note=silence.grad_checkpointing))
    if draft.plan.workers_per_rank.value and not draft.plan.prefetch_factor.spelled:
        draft.put("prefetch_factor", default(2, "default of torch.utils.data.DataLoader with workers"))
    _task(draft)
    return settings


def _sensible(name: str, place: Place) -> bool:
    """``size: small`` is no image size and ``lr: null`` says nothing: such a place does not spell the fact."""
    value = plain_value(place.node)
    if value is None and isinstance(place.node, Scalar):
        return False
    if name != "image_size":
        return True
    try:
        size = as_size(value)
    except ValueError:
        return not isinstance(place.node, Scalar) or normal_name(place.entry.key) not in ("size", "resolution")
    return min(size) >= 8


def _precision(draft: Draft, places: list[Place], silence: str) -> None:
    """The precision that words and switches say together; a contradiction is UNKNOWN."""
    if not places:
        draft.put("precision", default(Precision.FP32, silence) if silence else unknown())
        return
    read = [(place, _kind(place, places)) for place in places]
    unreadable = next((place for place, kind in read if kind is None), None)
    if unreadable is not None:
        reason = f"{unreadable.name} = {plain_value(unreadable.node)!r} is no constant precision"
        draft.put("precision", unknown(reason, location(unreadable)))
        return
    mixed = [(place, kind) for place, kind in read if kind is not None and kind.mixed]
    kinds = {kind for _, kind in mixed}
    if len(kinds) > 1:
        names = " and ".join(place.name for place, _ in mixed)
        draft.put("precision", unknown(f"{names} contradict each other", location(mixed[0][0])))
        return
    place, kind = (mixed or read)[0]
    assert kind is not None
    draft.put("precision", Fact(kind, place.source.origin, location(place), place.source.note))
    draft.offer("precision", place)


def _kind(place: Place, places: list[Place]) -> Precision | None:
    """What one key says. A bare ``amp`` switch means the type that a neighbouring ``amp_dtype`` names, else fp16."""
    value = plain_value(place.node)
    name = normal_name(place.entry.key)
    named = {"fp16": Precision.FP16, "use_fp16": Precision.FP16, "bf16": Precision.BF16, "use_bf16": Precision.BF16}
    try:
        said = as_precision(value)
    except ValueError:
        return None
    if name in named:
        return named[name] if said.mixed else Precision.FP32
    if name == "amp_dtype":
        switches = [other for other in places if normal_name(other.entry.key) in ("amp", "use_amp")]
        on = all(as_precision(plain_value(other.node)).mixed for other in switches if _readable(other))
        return said if on else Precision.FP32
    if _is_switch_value(value) and said.mixed:
        dtype = next((other for other in places if normal_name(other.entry.key) == "amp_dtype"), None)
        if dtype is not None and _readable(dtype):
            return as_precision(plain_value(dtype.node))
    return said


def _readable(place: Place) -> bool:
    try:
        as_precision(plain_value(place.node))
    except ValueError:
        return False
    return True


def _is_switch_value(value: object) -> bool:
    return isinstance(value, bool) or str(value).lower() in ("true", "1", "yes", "on")


def _task(draft: Draft) -> None:
    """A queue of keys belongs to contrastive pre-training: two encoders, one of them without gradients."""
    if draft.plan.queue_size.known:
        draft.put("task", derived("self-supervised", "a queue of keys: contrastive pre-training"))
        draft.put("momentum_encoder", derived(value=True, note="a second encoder fills the queue of keys"))
        return
    words = f"{draft.plan.path} {draft.plan.title}".lower()
    for word, task in (("landmark", "landmarks"), ("segment", "segment"), ("detect", "detect")):
        if word in words:
            draft.put("task", derived(task, f"named after it: {word}"))
            return
