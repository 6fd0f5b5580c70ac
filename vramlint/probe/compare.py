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


METERS = ("allocated", "reserved", "device")


class Compared(NamedTuple):
    """One meter of one row, in bytes."""

    measured_bytes: int
    predicted_bytes: int

    @property
    def error(self) -> float:
        """ln(predicted / measured)."""
        return log(self.predicted_bytes / self.measured_bytes)


class Comparison(NamedTuple):
    """One row: its meters, by ``METERS``. ``use`` is what its model is for: ``set`` constants or ``check`` them."""

    title: str
    meters: dict[str, Compared]
    use: str = ""


def compare(rows: Iterable[dict[str, Any]], idle_bytes: int = 0) -> list[Comparison]:
    """A comparison for every measured row whose model vramlint knows.

    ``idle_bytes`` is what others had on the card before the probe began: the driver counts it in.
    """
    found = []
    for row in rows:
        if row["out_of_memory"]:
            continue
        answer = estimate(_plan(row), Target())
        predicted = {"allocated": answer.allocated, "reserved": answer.reserved, "device": answer.device}
        measured = {meter: row.get(f"{meter}_bytes", 0) - (idle_bytes if meter == "device" else 0) for meter in METERS}
        meters = {
            meter: Compared(measured[meter], interval.value)
            for meter, interval in predicted.items()
            if interval is not None and measured[meter] > 0
        }
        if "allocated" not in meters:
            continue
        title = f"{row['model']} {row['batch']}x{row['size']} {row['precision']} {row['optimizer']}"
        if row["checkpointing"]:
            title += " checkpointing"
        found.append(Comparison(title, meters, row.get("use", "")))
    return found


def table(comparisons: list[Comparison]) -> str:
    """The comparisons as text, worst last, with median and worst of every meter and of the rows for each use."""
    if not comparisons:
        return "no measured row is of a model that vramlint predicts\n"
    heads = "".join(f"{meter:>22}" for meter in METERS)
    lines = [f"{'setting (GiB measured, predicted, error)':<56}{heads}  use"]
    for each in sorted(comparisons, key=lambda item: abs(item.meters["allocated"].error)):
        cells = "".join(f"{_cell(each.meters.get(meter)):>22}" for meter in METERS)
        lines.append(f"{each.title:<56}{cells}  {each.use}".rstrip())
    lines += [_summary(f"{meter}", comparisons, meter) for meter in METERS]
    for use in ("set", "check"):
        rows = [each for each in comparisons if each.use == use]
        lines += [_summary(f"allocated, rows to {use} constants", rows, "allocated")] if rows else []
    return "\n".join(lines) + "\n"


def _cell(found: Compared | None) -> str:
    if found is None:
        return "-"
    return f"{found.measured_bytes / 2**30:.2f} {found.predicted_bytes / 2**30:.2f} {found.error:+.1%}"


def _summary(title: str, comparisons: list[Comparison], meter: str) -> str:
    errors = [abs(each.meters[meter].error) for each in comparisons if meter in each.meters]
    if not errors:
        return f"{title}: nothing measured"
    return f"{title}: median {median(errors):.1%}, worst {max(errors):.1%} over {len(errors)} settings"


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
