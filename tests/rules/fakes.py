"""A run made by hand, for rules and the solver: a plan, a target, and memory that follows simple rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vramlint.fix import ladder, solver
from vramlint.hardware.model import GIB, Gpu, Host, Target
from vramlint.memory.model import Component, Estimate, Interval, Verdict
from vramlint.plan import Fact, ImageSize, Location, Origin, PerRank, Precision, TrainingPlan, default, rederive
from vramlint.rule import Limits, Repair

AMPERE = Gpu("rtx3060-12gb", "GeForce RTX 3060", 12 * GIB, 12 * GIB, (8, 6), "made up")
TURING = Gpu("t4", "Tesla T4", 15 * GIB, 15 * GIB, (7, 5), "made up")


def spelled(value: Any) -> Fact[Any]:
    """A fact written in a file."""
    return Fact(value, Origin.FILE, Location("train.yml", 0, 1, 1, 1, 1, 2))


_PER_RANK = PerRank()
_NO_HOST = Host()
_LIMITS = Limits()


def plan(policy: Any = _PER_RANK, **values: Any) -> TrainingPlan:
    """A plan whose facts are spelled in a file; a value that is a Fact already stays as it is."""
    extra = values.pop("extra", {})
    facts = {name: value if isinstance(value, Fact) else spelled(value) for name, value in values.items()}
    facts.setdefault("data_parallel", default(1, "made up"))
    facts.setdefault("world_size", facts["data_parallel"])
    extra = {name: spelled(value) for name, value in extra.items()}
    return rederive(TrainingPlan("fake", "train.yml", policy=policy, extra=extra, **facts))


class FakeRun:
    """A :class:`vramlint.rule.Run` whose memory is linear in the batch: half under mixed precision, a quarter more
    under multi-scale, two fifths under checkpointing, and proportional to the pixels."""

    def __init__(
        self,
        plan: TrainingPlan,
        *,
        gpu: Gpu | None = AMPERE,
        gib_per_sample: float | None = 1.0,
        spread: float = 0.1,
        fixed: frozenset[str] = frozenset(),
        host: Host = _NO_HOST,
        gpus: int | None = None,
        limits: Limits = _LIMITS,
        activation_share: float = 1.0,
    ) -> None:
        self.plan = plan
        self.target = Target(gpu, gpus, None, host, "a test")
        self.limits = limits
        self.shape = plan.model_shape.value
        self.estimates = 0
        self._gib_per_sample = gib_per_sample
        self._spread = spread
        self._activation_share = activation_share
        self._fixed = fixed

    def estimate(self, plan: TrainingPlan | None = None) -> Estimate:
        self.estimates += 1
        plan = plan or self.plan
        usable = self.target.gpu.usable_bytes if self.target.gpu else None
        if self._gib_per_sample is None:
            return Estimate(None, None, None, None, None, None, usable, Verdict.UNKNOWN, "", (), (), "no profile of it")
        value = int(GIB * (1 + self._gib_per_sample * (plan.micro_batch.value or 1) * _factor(plan)))
        interval = Interval(int(value * (1 - self._spread)), value, int(value * (1 + self._spread)))
        verdict = Verdict.UNKNOWN
        if usable is not None:
            verdict = Verdict.OVER if value > usable else Verdict.TIGHT if interval.high > usable else Verdict.FITS
        gpu = self.target.gpu.name if self.target.gpu else None
        activations = int(value * self._activation_share)
        parts = (Component("parameters", value - activations, "fake"), Component("activations", activations, "fake"))
        return Estimate("net", gpu, interval, interval, interval, interval, usable, verdict, "backward", parts, ())

    def editable(self, fact: str) -> bool:
        return self.plan.fact(fact).known and fact not in self._fixed

    def spelling(self, fact: str) -> str:
        return {"micro_batch": "batch_size", "precision": "mixed_precision"}.get(fact, fact)

    def repairs_to_fit(self) -> Sequence[Repair]:
        return solver.repairs_to_fit(self)

    def steps_to_fit(self) -> Sequence[Repair]:
        return ladder.steps_to_fit(self)

    def repairs_to_fill(self) -> Sequence[Repair]:
        return solver.repairs_to_fill(self)

    def repairs_to_divide(self) -> Sequence[Repair]:
        return solver.repairs_to_divide(self)


def _factor(plan: TrainingPlan) -> float:
    size = plan.image_size.value or ImageSize(1024, 1024)
    factor = size.height * size.width / 2**20
    factor *= 0.5 if plan.precision.value not in (None, Precision.FP32) else 1.0
    factor *= 0.4 if plan.grad_checkpointing.value else 1.0
    return factor * (1.25 if plan.multi_scale.value else 1.0)
