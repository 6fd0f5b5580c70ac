"""Two baselines any estimator must beat, on the same rows."""

from __future__ import annotations

import math
from collections.abc import Iterable

from scoring.predictions import plan_of
from scoring.rows import GIB, Row
from vramlint.memory.resolve import resolve


def parameters_baseline(row: Row) -> float | None:
    """18 bytes a parameter (2 for a frozen base) plus 34 x layers x hidden bytes a token, linear in the batch."""
    plan = plan_of(row)
    knowledge = resolve(plan).knowledge if plan else None
    if plan is None or knowledge is None:
        return None
    frozen = knowledge.parameters - knowledge.trainable
    tokens = (plan.micro_batch.value or 0) * (plan.seq_len.value or 0)
    config = getattr(knowledge, "config", None)
    activations = 34 * config.shape.layers * config.shape.hidden * tokens if config else 0
    return 18 * knowledge.trainable + 2 * frozen + activations


def nearest_baseline(row: Row, rows: Iterable[Row]) -> float | None:
    """The most similar other row of the group, its figure scaled by batch x tokens or pixels."""
    others = [other for other in rows if other is not row and other["cluster"] != row["cluster"] and _work(other)]
    if not others or not _work(row):
        return None
    nearest = min(others, key=lambda other: abs(math.log(_work(other) / _work(row))))
    return float(nearest["measured_gib"]) * GIB * _work(row) / _work(nearest)


def _work(row: Row) -> float:
    batch = float(row["batch_per_gpu"] or 0)
    if row["seq_len"]:
        return batch * float(row["seq_len"])
    return batch * float(row["image_h"] or 0) * float(row["image_w"] or 0)
