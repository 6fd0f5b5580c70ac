"""A reading in the making: facts go in from settings, slots beside them, and the batch arithmetic closes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from vramlint.dialects import spelling_out
from vramlint.dialects.further import further_facts
from vramlint.dialects.launch import World
from vramlint.dialects.model import Claim, Reading, Slot
from vramlint.dialects.places import Place, Source, locate, location
from vramlint.dialects.reading import Schema, Settings, plain_value
from vramlint.dialects.spelling_out import Spell
from vramlint.findings import Finding
from vramlint.plan import PLAN_FACTS, BatchPolicy, Fact, Location, PerRank, TrainingPlan, close_batch, derived, unknown
from vramlint.rule import Confidence, Severity
from vramlint.sources.model import Command, Document, Scalar
from vramlint.sources.model import Mapping as MappingNode

S = TypeVar("S", bound=Schema)

EDITABLE: Mapping[str, Callable[[str, object], Spell]] = {
    "micro_batch": lambda _key, _current: spelling_out.number,
    "accumulation": lambda _key, _current: spelling_out.number,
    "nominal_batch": lambda _key, _current: spelling_out.number,
    "global_accumulation": lambda _key, _current: spelling_out.number,
    "queue_size": lambda _key, _current: spelling_out.number,
    "workers_per_rank": lambda _key, _current: spelling_out.number,
    "prefetch_factor": lambda _key, _current: spelling_out.number,
    "num_queries": lambda _key, _current: spelling_out.number,
    "seq_len": lambda _key, _current: spelling_out.number,
    "eval_batch": lambda _key, _current: spelling_out.number,
    "grad_checkpointing": lambda _key, current: spelling_out.switch(current),
    "persistent_workers": lambda _key, current: spelling_out.switch(current),
    "pin_memory": lambda _key, current: spelling_out.switch(current),
    "multi_scale": lambda _key, current: spelling_out.switch(current),
    "ema": lambda _key, current: spelling_out.switch(current),
    "image_size": lambda _key, current: spelling_out.image_size(current),
    "precision": lambda key, current: spelling_out.precision(key, current),
}
"""Facts a repair may write, each with the manner of spelling that its key and its present value ask for."""

EXTRA_FACTS = ("learning_rate", "epochs", "max_steps", "eval_batch", "projection_dim")
"""Settings that every training program has and the plan keeps beside its own facts."""


class Draft:
    """Collects what a dialect reads of one claim."""

    def __init__(self, claim: Claim, document: Document, title: str = "") -> None:
        self.plan = TrainingPlan(claim.dialect, document.path, title)
        self.document = document
        self.slots: dict[str, Slot] = {}
        self.findings: list[Finding] = []
        self.documents: list[Document] = [document]
        self._sources: dict[int, Source] = {}

    def put(self, name: str, fact: Fact[Any]) -> None:
        """Set the plan's fact ``name``."""
        if name in PLAN_FACTS:
            setattr(self.plan, name, fact)
        else:
            self.plan.extra[name] = fact

    def fill(self, settings: Settings[S], names: Iterable[str] | None = None) -> None:
        """Every setting that is a plan fact, with the slot of those that are spelled."""
        found = [place.source for place in settings.places.values()]
        self._sources.update((id(source), source) for source in (*settings.sources, *found))
        for name in names or type(settings.values).model_fields:
            if name not in PLAN_FACTS and name not in EXTRA_FACTS:
                continue
            self.put(name, settings.fact(name))
            place = settings.places.get(name)
            if place is not None and name not in settings.doubts:
                self.offer(name, place)

    def offer(self, name: str, place: Place, spell: Spell | None = None) -> None:
        """Let repairs write ``name`` where ``place`` spells it; a default in a script's source and an installed package
        are no such places."""
        if name not in EDITABLE or not place.source.editable or place.source.document.is_installed:
            return
        node = place.node
        if not isinstance(node, Scalar):
            return
        how = spell or EDITABLE[name](place.name, node.value)
        self.slots[name] = Slot(place.source.document, place.entry.key, node, place.parent, place.entry.key, None, how)

    def offer_insert(
        self,
        name: str,
        document: Document,
        parent: MappingNode,
        key: str,
        spell: Spell | None = None,
        *,
        after: str | None = None,
    ) -> None:
        """Let repairs add ``key`` to ``parent`` when nothing spells ``name`` yet."""
        if name in self.slots:
            return
        how = spell or EDITABLE[name](key, None)
        self.slots[name] = Slot(document, key, None, parent, key, after, how)

    def use(self, document: Document) -> None:
        """Another file that the plan was read from."""
        if all(known is not document for known in self.documents):
            self.documents.append(document)

    def doubt(self, place: Place, message: str, help: str = "") -> None:
        """A finding of reading itself: the framework's loader takes this value as something else than it looks."""
        self.findings.append(value_misread(location(place), message, help, self.plan.title))

    def close(self, world: World, policy: BatchPolicy | None = None, *, model_parallel: int | None = 1) -> Reading:
        """The reading: world, data-parallel ranks and effective batch worked out.

        ``model_parallel`` is how many ranks share one copy of the model, None where that is unknown.
        """
        self._add_further_facts()
        self._checkpointed_by_fsdp()
        self.put("world_size", world.ranks)
        self.put("nodes", world.nodes)
        self.put("data_parallel", data_parallel(world.ranks, model_parallel))
        if model_parallel is not None and model_parallel > 1:
            self.put("model_parallel", derived(model_parallel, "ranks that share one copy of the model"))
        if not self.plan.batch_unit.known:
            self.put("batch_unit", derived("samples", "one item of the dataset is one sample"))
        # A policy is an empty tuple, so only None means "none given".
        close_batch(self.plan, PerRank() if policy is None else policy)
        return Reading(self.plan, self.document, self.slots, self.findings, self.documents)

    def _checkpointed_by_fsdp(self) -> None:
        """FSDP's own activation checkpointing wraps the same blocks as the trainer's (accelerate 1.15
        ``accelerator.py#_prepare_fsdp2`` and ``prepare_model``)."""
        by_fsdp = self.plan.fact("fsdp_checkpointing")
        if by_fsdp.value and self.plan.sharding.value == "fsdp" and not self.plan.grad_checkpointing.value:
            # Derived, not spelled: the trainer's own switch is off, so nothing is asked for twice.
            self.put("grad_checkpointing", derived(by_fsdp.value, "FSDP's own activation checkpointing"))
            self.slots.pop("grad_checkpointing", None)

    def _add_further_facts(self) -> None:
        """What the dialect did not read itself and the table of further facts knows."""
        known = {name for name, fact in self.plan.facts() if fact.known}
        sources = self._sources.values()
        for name, fact, slot in further_facts(self.plan.dialect, sources, self.documents, known.__contains__):
            self.put(name, fact)
            if slot is not None and slot.document is self.document:  # a base file is other configs' too
                self.slots.setdefault(name, slot)


def data_parallel(ranks: Fact[int], model_parallel: int | None) -> Fact[int]:
    """Ranks that see different samples: all of them, divided by the ranks that share one copy of the model."""
    if ranks.value is None:
        return unknown("world size unknown")
    if model_parallel is None:
        return unknown("model-parallel degree unknown")
    if model_parallel == 1:
        return derived(ranks.value, "every rank is a data-parallel rank")
    if ranks.value % model_parallel:
        return unknown(f"{ranks.value} ranks do not divide by the model-parallel degree {model_parallel}")
    return derived(ranks.value // model_parallel, f"{ranks.value} ranks / {model_parallel} that share a model")


def title_of(document: Document, command: Command) -> str:
    """What tells a command from the others of its script: program and line."""
    line = document.position(command.program_span.start).line
    return f"{command.program} (line {line})" if len(document.commands) > 1 else command.program


def value_misread(where: Location, message: str, help: str, run: str = "") -> Finding:
    """VL001: a scalar that the framework's loader reads as something else than it looks."""
    return Finding("VL001", "value-misread", Severity.ERROR, Confidence.HIGH, where, message, help=help, run=run)


def present_value(place: Place) -> object:
    """The value at a place, for spelling a new one alike."""
    return plain_value(place.node)


__all__ = ["EDITABLE", "Draft", "data_parallel", "locate", "present_value", "title_of", "value_misread"]
