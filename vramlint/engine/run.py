"""One run as rules and the solver see it, and its verdicts as findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vramlint.dialects.model import Reading
from vramlint.findings import Finding
from vramlint.fix.edits import is_editable, location_of, plan_fix
from vramlint.hardware.model import Target
from vramlint.memory.model import Estimate
from vramlint.memory.model import Verdict as MemoryVerdict
from vramlint.plan import DecoderShape, Fact, Location, TrainingPlan
from vramlint.results import Failure
from vramlint.rule import Limits, Repair, RuleInfo, Verdict
from vramlint.sources.model import Document, Span

if TYPE_CHECKING:
    from vramlint.engine.spelled import SpelledSettings

_RELATIVES = {
    "effective_batch": ("micro_batch", "global_batch", "accumulation"),
    "data_parallel": ("world_size", "micro_batch", "global_batch"),
    "world_size": ("data_parallel", "micro_batch", "global_batch"),
    "prefetch_factor": ("workers_per_rank",),
    "persistent_workers": ("workers_per_rank",),
    "pin_memory": ("workers_per_rank",),
}
"""Where to point for a fact that nobody spelled: at those it follows from, nearest first."""
_LAST_RESORTS = ("micro_batch", "global_batch", "nominal_batch", "accumulation", "image_size", "seq_len", "model")


class EngineRun:
    """Implements ``vramlint.rule.Run`` over a reading and a target. Failures of the estimator are kept, once."""

    def __init__(self, reading: Reading, target: Target, limits: Limits, *, verbose: bool = False) -> None:
        self._reading = reading
        self._target = target
        self._limits = limits
        self._verbose = verbose
        self._estimates: dict[tuple[object, ...], Estimate] = {}
        self._editable: dict[str, bool] = {}
        self._repairs: dict[str, Sequence[Repair]] = {}
        self._spelled: SpelledSettings | None = None
        self.failures: list[Failure] = []

    @property
    def plan(self) -> TrainingPlan:
        return self._reading.plan

    @property
    def target(self) -> Target:
        return self._target

    @property
    def limits(self) -> Limits:
        return self._limits

    def estimate(self, plan: TrainingPlan | None = None) -> Estimate:
        """Peak memory of the run's plan, or of a changed one; unknown where the estimator breaks."""
        if plan is None:
            return self._own_estimate
        key = tuple((name, repr(fact.value)) for name, fact in plan.facts())
        known = self._estimates.get(key)
        if known is None:
            known = self._estimates[key] = self._estimated(plan)
        return known

    @cached_property
    def _own_estimate(self) -> Estimate:
        """What nearly every rule asks for: found without comparing all facts."""
        return self.estimate(self.plan)

    @cached_property
    def shape(self) -> DecoderShape | None:
        """The plan's own shape, else that of the catalogue's decoder of that name."""
        own, name = self.plan.model_shape.value, self.plan.model.value
        if own is not None or name is None:
            return own
        from vramlint.memory.catalogue import find_decoder

        found = find_decoder(name)
        return None if found is None else found.config.shape

    def editable(self, fact: str) -> bool:
        known = self._editable.get(fact)
        if known is None:
            slot = self._reading.slots.get(fact)
            known = self._editable[fact] = slot is not None and is_editable(slot)
        return known

    def spelling(self, fact: str) -> str:
        slot = self._reading.slots.get(fact)
        return fact if slot is None else slot.name

    def setting(self, key: str) -> Fact[Any]:
        if self._spelled is None:
            from vramlint.engine.spelled import SpelledSettings

            self._spelled = SpelledSettings(self._reading)
        return self._spelled.fact(key)

    def repairs_to_fit(self) -> Sequence[Repair]:
        from vramlint.fix.solver import repairs_to_fit

        return self._solved("fit", repairs_to_fit)

    def steps_to_fit(self) -> Sequence[Repair]:
        from vramlint.fix.ladder import steps_to_fit

        return self._solved("steps", steps_to_fit)

    def repairs_to_fill(self) -> Sequence[Repair]:
        from vramlint.fix.solver import repairs_to_fill

        return self._solved("fill", repairs_to_fill)

    def repairs_to_divide(self) -> Sequence[Repair]:
        from vramlint.fix.solver import repairs_to_divide

        return self._solved("divide", repairs_to_divide)

    def _solved(self, name: str, solve: Callable[[EngineRun], Sequence[Repair]]) -> Sequence[Repair]:
        """Several rules may ask for the same repairs; the solver works once."""
        if name not in self._repairs:
            self._repairs[name] = solve(self)
        return self._repairs[name]

    def _estimated(self, plan: TrainingPlan) -> Estimate:
        from vramlint.memory.estimate import estimate

        try:
            return estimate(plan, self._target, self._limits)
        except Exception as error:  # noqa: BLE001 - one plan's estimate must not stop the others; reported below
            if not self.failures:
                self.failures.append(crash("the memory estimate", self.plan.path, error, verbose=self._verbose))
            return _no_estimate(plan, self._target, error)


def crash(what: str, path: str, error: Exception, *, verbose: bool) -> Failure:
    """The report of a part of vramlint or of a plugin that broke."""
    message = f"{what} failed: {type(error).__name__}: {error}"
    trace = _trace(error) if verbose else ""
    return Failure(path, message, help=trace or "Please report it; --verbose shows where it happened.")


def _trace(error: Exception) -> str:
    import traceback

    return "".join(traceback.format_exception(error))


def locate(fact: str, reading: Reading) -> Location:
    """Where to point for ``fact``: its own place, its slot's, that of its nearest relative, or the run's first line."""
    plan = reading.plan
    for name in (fact, *_RELATIVES.get(fact, ()), *_LAST_RESORTS):
        place = plan.fact(name).location
        if place is not None and not _is_inherited(place, reading):
            return place
        slot = reading.slots.get(name)
        if slot is not None and slot.node is not None and slot.node.span.end > slot.node.span.start:
            place = location_of(slot.document, slot.node.span)
            if not _is_inherited(place, reading):
                return place
    places = [place for _, found in plan.facts() if (place := found.location) is not None]
    if any(_is_inherited(place, reading) for place in places):
        return _first_line(reading.document)
    here = [place for place in places if place.path == reading.document.path]
    return min(here or places, key=lambda place: place.start) if places else _first_line(reading.document)


def _is_inherited(place: Location, reading: Reading) -> bool:
    """Whether a Python config took the value over from a base: a finding is about the config, not about its base."""
    own = reading.document.path
    return place.path != own and place.path.endswith(".py") and own.endswith(".py")


def finding_of(info: RuleInfo, verdict: Verdict, run: EngineRun, reading: Reading) -> Finding:
    """The verdict of a rule on a run as a finding, with its place and the edits of its repairs."""
    return Finding(
        code=info.code,
        name=info.name,
        severity=verdict.severity or info.severity,
        confidence=verdict.confidence or info.confidence,
        location=(run.setting(verdict.key).location if verdict.key else None) or locate(verdict.fact, reading),
        message=verdict.message,
        label=verdict.label,
        help=verdict.help,
        fixes=tuple(plan_fix(repair, reading) for repair in verdict.repairs),
        fact=verdict.fact or verdict.key,
        run=run.plan.title,
        once_a_card=info.once_a_card,
    )


def _first_line(document: Document) -> Location:
    start = len(document.text) - len(document.text.lstrip())
    line = document.text[start:].splitlines()[:1]
    return location_of(document, Span(start, start + len(line[0] if line else "")))


def _no_estimate(plan: TrainingPlan, target: Target, error: Exception) -> Estimate:
    gpu, usable = (target.gpu.name, target.gpu.usable_bytes) if target.gpu else (None, None)
    why = f"the estimator failed: {type(error).__name__}"
    return Estimate(
        plan.model.value, gpu, None, None, None, None, usable, MemoryVerdict.UNKNOWN, "", (), (), unknown_because=why
    )
