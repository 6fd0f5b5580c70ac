"""Measured peaks beside what vramlint predicts for the same settings."""

from __future__ import annotations

from collections.abc import Iterable
from math import log
from statistics import median
from typing import Any, NamedTuple

from vramlint.hardware.model import Target
from vramlint.memory.estimate import estimate
from vramlint.plan import Fact, ImageSize, Origin, Precision, TrainingPlan, unknown

_TEXT_FAMILY = "transformers/"


class Comparison(NamedTuple):
    """One row: allocated bytes as measured and as predicted, and the error ln(predicted / measured)."""

    title: str
    measured_bytes: int
    predicted_bytes: int
    error: float


def compare(rows: Iterable[dict[str, Any]]) -> list[Comparison]:
    """A comparison for every measured row whose model vramlint knows."""
    found = []
    for row in rows:
        if row["out_of_memory"]:
            continue
        answer = estimate(_plan(row), Target())
        if answer.allocated is None:
            continue
        measured, predicted = row["allocated_bytes"], answer.allocated.value
        title = f"{row['model']} {row['batch']}x{row['size']} {row['precision']} {row['optimizer']}"
        if row["checkpointing"]:
            title += " checkpointing"
        found.append(Comparison(title, measured, predicted, log(predicted / measured)))
    return found


def table(comparisons: list[Comparison]) -> str:
    """The comparisons as text, worst last, with the median and worst error."""
    if not comparisons:
        return "no measured row is of a model that vramlint predicts\n"
    lines = [f"{'setting':<44}{'measured':>10}{'predicted':>11}{'error':>8}"]
    for each in sorted(comparisons, key=lambda item: abs(item.error)):
        measured, predicted = each.measured_bytes / 2**30, each.predicted_bytes / 2**30
        lines.append(f"{each.title:<44}{measured:>6.2f} GiB{predicted:>7.2f} GiB{each.error:>8.1%}")
    errors = [abs(each.error) for each in comparisons]
    lines.append(f"median {median(errors):.1%}, worst {max(errors):.1%} over {len(errors)} settings")
    return "\n".join(lines) + "\n"


def _plan(row: dict[str, Any]) -> TrainingPlan:
    def said(value: Any) -> Fact[Any]:
        return Fact(value, Origin.OBSERVED)

    name, _, adapter = str(row["model"]).rpartition("/")[2].partition("+lora")
    text = str(row["model"]).startswith(_TEXT_FAMILY) and not name.startswith("segformer")
    return TrainingPlan(
        dialect="probe",
        path="",
        model=said(name),
        micro_batch=said(row["batch"]),
        accumulation=said(1),
        world_size=said(1),
        data_parallel=said(1),
        image_size=unknown() if text else said(ImageSize(row["size"], row["size"])),
        seq_len=said(row["size"]) if text else unknown(),
        precision=said(Precision(row["precision"])),
        grad_checkpointing=said(row["checkpointing"]),
        optimizer=said(row["optimizer"]),
        ema=said(False),  # noqa: FBT003 - the value of a fact
        sharding=said("none"),
        adapter=said("lora" if adapter else "none"),
        adapter_rank=said(int(adapter)) if adapter else unknown(),
    )
