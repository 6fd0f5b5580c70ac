"""A dialect and rules small enough to see through: YAML with ``batch``, ``accum`` and ``queue``."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from vramlint.dialects.model import Claim, Context, Reading, Slot
from vramlint.engine import session, unused_suppression
from vramlint.engine.rules import RuleSet
from vramlint.fix.edits import location_of
from vramlint.plan import Fact, Origin, PerRank, TrainingPlan, default, rederive
from vramlint.rule import Change, Confidence, Repair, RuleInfo, RuleModule, Run, Safety, Severity, Verdict
from vramlint.sources.model import Document, Mapping, Plain, Scalar, Sequence

KEYS = {"batch": "micro_batch", "accum": "accumulation", "queue": "queue_size"}


def as_is(value: object) -> Plain:
    """The plan's value as the file's."""
    return value  # type: ignore[return-value]


class FakeDialect:
    """Claims a YAML mapping that has ``batch``, and every mapping of a list of such."""

    NAME = "fake"
    TITLE = "Fake"

    def claims(self, document: Document) -> list[Claim]:
        items = document.root.items if isinstance(document.root, Sequence) else [document.root]
        return [Claim("fake", item, ("batch",)) for item in items if isinstance(item, Mapping) and item.get("batch")]

    def read(self, claim: Claim, document: Document, context: Context) -> Reading:
        assert isinstance(claim.subject, Mapping)
        mapping = claim.subject
        if mapping.get("explode"):
            raise RuntimeError("boom")
        plan = TrainingPlan("fake", document.path, title="run", policy=PerRank(), accumulation=default(1, "fake 1.0"))
        plan.data_parallel = default(context.target.gpus or 1, "the target")
        reading = Reading(plan, document, documents=[document])
        for key, fact in KEYS.items():
            node = mapping.get(key)
            node = node if isinstance(node, Scalar) else None
            reading.slots[fact] = Slot(document, key, node, mapping, key, "batch", as_is)
            if node is not None:
                setattr(plan, fact, Fact(node.value, Origin.FILE, location_of(document, node.span)))
        reading.plan = rederive(plan)
        return reading


def rule(
    code: str,
    name: str,
    check: Callable[[Run], Iterator[Verdict]],
    *,
    severity: Severity = Severity.ERROR,
    pedantic: bool = False,
) -> RuleModule:
    module = types.SimpleNamespace(
        RULE=RuleInfo(code, name, "a rule", severity, Confidence.HIGH, Safety.SAFE, (), pedantic),
        VALID=(),
        INVALID=(),
        check=check,
    )
    return cast("RuleModule", module)


def _large(run: Run) -> Iterator[Verdict]:
    batch = run.plan.micro_batch.value or 0
    steps = run.plan.accumulation.value or 1
    if batch > 4:
        changes = (Change("micro_batch", batch // 2), Change("accumulation", steps * 2))
        fix = Repair(f"set {run.spelling('micro_batch')} to {batch // 2}", Safety.SAFE, changes)
        yield Verdict("micro_batch", f"batch {batch} is too large", repairs=(fix,))


def _queue(run: Run) -> Iterator[Verdict]:
    if (run.plan.queue_size.value or 0) % (run.plan.micro_batch.value or 1):
        yield Verdict("queue_size", "the queue is not divisible")


def _effective(run: Run) -> Iterator[Verdict]:
    yield Verdict("effective_batch", f"effective batch {run.plan.effective_batch.value}", severity=Severity.INFO)


LARGE = rule("VL101", "batch-large", _large)
QUEUE = rule("VL201", "queue-odd", _queue)
PEDANTIC = rule("VL102", "effective", _effective, pedantic=True)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts the fake dialect and the given rules in place of the real ones."""

    def install(*rules: RuleModule) -> None:
        dialect = FakeDialect()
        rule_set = RuleSet([cast("RuleModule", unused_suppression), *(rules or (LARGE, QUEUE, PEDANTIC))])
        monkeypatch.setattr(session, "claims", lambda document: tuple(dialect.claims(document)))
        monkeypatch.setattr(session, "dialect", lambda _name: dialect)
        monkeypatch.setattr(session, "load_rules", lambda *_: rule_set)

    return install
