"""Scores the largest batch: rows that say which batch of a ladder trained on a card and which next one did not.

The rows are of timm's ``benchmark.py --train --amp`` on an RTX 3090: autocast with fp16, SGD with momentum, one GPU, no
EMA, no accumulation, no checkpointing, cross entropy over the model's classes. ``nhwc`` is channels-last, which takes
the same bytes. A prediction counts where it lies at or above the batch that trained and below the one that did not.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from scoring.rows import Row, fact
from vramlint.hardware.catalogue import find_gpu
from vramlint.hardware.model import Target
from vramlint.memory.largest import largest_batch
from vramlint.memory.profile_catalogue import find_profile
from vramlint.plan import ImageSize, Precision, TrainingPlan


class Bound(NamedTuple):
    """One row with the predicted largest batch, by the value; None where the model is not in the catalogue."""

    row: Row
    predicted: int | None

    @property
    def verdict(self) -> str:
        """``inside``, ``over`` (it would run out of memory), ``under``, or ``not answered``."""
        if self.predicted is None:
            return "not answered"
        if self.predicted < float(self.row["fits_batch"]):
            return "under"
        fails = self.row["fails_batch"]
        return "over" if fails and self.predicted >= float(fails) else "inside"


def is_bounds(path: Path) -> bool:
    """Whether the CSV is of this kind."""
    with path.open(newline="") as stream:
        return "fits_batch" in next(csv.reader(stream))


def read_bounds(path: Path) -> list[Bound]:
    with path.open(newline="") as stream:
        return [Bound(row, _predicted(row)) for row in csv.DictReader(stream)]


def _predicted(row: Row) -> int | None:
    if find_profile(f"timm/{row['model']}") is None:
        return None
    side = int(row["img_size"])
    plan = TrainingPlan("timm", row["source_path"])
    plan.model = fact(f"timm/{row['model']}")
    plan.task = fact("classify")
    plan.micro_batch = fact(1)
    plan.accumulation = fact(1)
    plan.image_size = fact(ImageSize(side, side))
    plan.precision = fact(Precision.FP16)
    plan.optimizer = fact("sgd")
    plan.extra["momentum"] = fact(0.9)
    plan.grad_checkpointing = plan.ema = fact(value=False)
    plan.sharding = fact("none")
    plan.extra["stack"] = fact("torch-1.11")  # the files' names say torch 1.12 and CUDA 11.3
    plan.world_size = plan.data_parallel = fact(1)
    return largest_batch(plan, Target(find_gpu("rtx3090"))).by_value


def print_bounds(bounds: Sequence[Bound], *, all_rows: bool) -> None:
    """The shares over the models that the catalogue holds, by layout."""
    print("layout   rows  answered   inside    under     over")
    for layout in sorted({bound.row["layout"] for bound in bounds}):
        members = [bound for bound in bounds if bound.row["layout"] == layout]
        answered = [bound.verdict for bound in members if bound.predicted is not None]
        shares = [answered.count(word) / max(1, len(answered)) for word in ("inside", "under", "over")]
        print(f"{layout:<8} {len(members):>4} {len(answered):>9} " + " ".join(f"{share:>8.1%}" for share in shares))
    for bound in bounds:
        if bound.predicted is not None and (all_rows or bound.verdict != "inside"):
            row = bound.row
            print(
                f"{row['model']:<36} {row['img_size']:>4} {row['layout']} fits {row['fits_batch']:>4}"
                f" fails {row['fails_batch'] or '-':>4} predicted {bound.predicted:>5} {bound.verdict}"
            )
