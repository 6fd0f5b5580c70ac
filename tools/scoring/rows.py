"""A truth row: its group, its measured bytes, and the facts every kind of row shares."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from vramlint.plan import Fact, Origin, TrainingPlan

GIB = 2**30
SCORED_TIERS = ("A", "B-seq", "B-shape")

Row = dict[str, str]


def read_rows(path: Path, tiers: tuple[str, ...] = SCORED_TIERS) -> list[Row]:
    """The rows of a truth CSV in these tiers that have a figure."""
    with path.open(newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["tier"] in tiers and row["measured_gib"]]


def measured_bytes(row: Row) -> float:
    return float(row["measured_gib"]) * GIB


def group_of(row: Row) -> str:
    """The group a row is scored in; groups are never pooled."""
    task = row["task"].lower()
    if "diffusion" in task:
        return "diffusion"
    if row["seq_len"]:
        return _language_group(row)
    if "segmentation" in task and "instance" not in task:
        return "segmentation"
    if "detection" in task or "instance" in task:
        return "detection"
    if row["framework"].startswith("mmaction"):
        return "video"
    return "detection" if row["framework"] in ("detectron2", "mmdet", "mmdet3d") else "other"


def _language_group(row: Row) -> str:
    if row["parallelism"] not in ("", "none", "ddp"):
        return "LLM sharded"
    if "qlora" in row["peft"]:
        return "LLM QLoRA"
    if row["peft"] in ("none", "full"):
        return "LLM full"
    return "LLM LoRA" if row["peft"].startswith("lora") else "LLM other PEFT"


def common_plan(row: Row) -> TrainingPlan:
    plan = TrainingPlan(row["framework"], row["config_path"])
    plan.model = fact(row["model"])
    plan.micro_batch = fact(int(float(row["batch_per_gpu"])))
    plan.accumulation = fact(int(row["grad_accum"])) if row["grad_accum"].isdigit() else fact(1)
    plan.grad_checkpointing = fact(row["grad_checkpoint"].startswith("y"))
    plan.optimizer = fact(row["optimizer"])
    ranks = int(float(row["n_gpus"] or 1))
    plan.world_size = fact(ranks)
    plan.data_parallel = fact(ranks)
    plan.ema = fact("ema" in row["optimizer"].lower())
    return plan


def fact(value: Any) -> Fact[Any]:
    return Fact(value, Origin.FILE)
