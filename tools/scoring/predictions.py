"""What the estimator says about a truth row, in the row's own metric."""

from __future__ import annotations

import math
from typing import NamedTuple

from scoring import rows_llm, rows_megatron
from scoring.rows import Row, group_of, measured_bytes
from scoring.rows_diffusion import diffusion_plan
from scoring.rows_llm import language_plan
from scoring.rows_megatron import megatron_plan
from scoring.rows_vision import WHEELS, vision_plan
from vramlint.errors import TargetError
from vramlint.hardware import Target, find_gpu
from vramlint.memory import Estimate, Interval, estimate
from vramlint.plan import TrainingPlan


class Prediction(NamedTuple):
    """What the estimator says about one row, in bytes."""

    low: float
    value: float
    high: float


class Scored(NamedTuple):
    """A row with its prediction, None where it was not answered."""

    row: Row
    group: str
    measured: float
    predicted: Prediction | None

    @property
    def error(self) -> float:
        assert self.predicted is not None
        return math.log(self.predicted.value / self.measured)


def plan_of(row: Row) -> TrainingPlan | None:
    """The training plan of a row; None where its settings cannot be expressed yet."""
    if row["framework"] == rows_megatron.FRAMEWORK:
        return megatron_plan(row)
    if group_of(row) == "diffusion":
        return diffusion_plan(row)
    if row["seq_len"]:
        return None if rows_llm.is_split(row) else language_plan(row)
    if row["image_h"] or row["framework"] in WHEELS:
        return vision_plan(row)
    return None


def scored(row: Row) -> Scored:
    return Scored(row, group_of(row), measured_bytes(row), predicted(row))


_CARDS = {"A100": "A100-80GB", "GB200": "B200"}
"""Names of the truth's cards that leave the size open, or name a board of the card."""


def target_of(row: Row) -> Target:
    """The card that the row names; none where the catalogue does not have it."""
    name = row.get("gpu_model", "").removesuffix(" (assumed)").removeprefix("NVIDIA ")
    try:
        return Target(find_gpu(_CARDS.get(name, name)))
    except TargetError:
        return Target()


def predicted(row: Row) -> Prediction | None:
    """The estimator's answer in the row's own metric."""
    plan = plan_of(row)
    if plan is None:
        return None
    interval = metric_of(estimate(plan, target_of(row)), row)
    return None if interval is None else Prediction(*interval)


def metric_of(found: Estimate, row: Row) -> Interval | None:
    """The row's own metric of an estimate."""
    metrics = {"allocated": found.allocated, "reserved": found.reserved, "device": found.device}
    return metrics.get(row["metric_group"])
