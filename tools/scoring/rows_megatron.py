"""Truth rows of Megatron-LM's functional tests: their own config, read by the dialect as a user's would be."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from scoring.rows import Row, fact
from vramlint import sources
from vramlint.dialects import registry
from vramlint.hardware import Target
from vramlint.plan import TrainingPlan
from vramlint.sources.model import Command, Document

FRAMEWORK = "megatron-core"
_DEGREES = {
    "tp": "tensor_parallel",
    "pp": "pipeline_parallel",
    "cp": "context_parallel",
    "ep": "expert_parallel",
    "dp": "data_parallel",
}


class _Alone:
    """A config file with nothing beside it, on a number of GPUs where the row says it."""

    def __init__(self, gpus: int | None) -> None:
        self.target = Target(None, gpus, source="--gpus")

    def document(self, _path: str) -> Document | None:
        return None

    def launches(self, _document: Document) -> list[tuple[Document, Command]]:
        return []


def megatron_plan(row: Row) -> TrainingPlan | None:
    """The plan of the row's config; the row's own columns count where they differ from the config of today.

    Golden values are those of the last rank, so of the last pipeline stage. None for distillation, where a second model
    is resident, for configs that are not in the file, and for shared states of an unknown number of ranks.
    """
    arguments = _configs().get(row["config_path"])
    if arguments is None or "distill" in row["model"]:
        return None
    if "dist-optim" in row["parallelism"] and not row["n_gpus"]:
        return None  # the row does not say how many ranks share the optimizer's states
    document = sources.read("model_config.yaml", yaml.safe_dump({"MODEL_ARGS": arguments}).encode())
    context = _Alone(int(float(row["n_gpus"])) if row["n_gpus"] else None)
    readings = [registry.dialect(claim.dialect).read(claim, document, context) for claim in registry.claims(document)]
    if len(readings) != 1:
        return None
    plan = readings[0].plan
    degrees = {name: int(size) for name, size in re.findall(r"(?<![a-z-])(tp|pp|cp|ep|dp)(\d+)", row["parallelism"])}
    for name, degree in degrees.items():
        if name == "dp":
            plan.data_parallel = fact(degree)
        else:
            plan.extra[_DEGREES[name]] = fact(degree)
    plan.extra["sequence_parallel"] = fact(" sp" in row["parallelism"])
    plan.extra["pipeline_stage"] = fact("last")
    plan.micro_batch = fact(int(float(row["batch_per_gpu"])))
    if row["grad_accum"].isdigit():
        plan.accumulation = fact(int(row["grad_accum"]))
    return plan


@lru_cache(maxsize=1)
def _configs() -> dict[str, dict[str, Any]]:
    path = Path(__file__).with_name("megatron_configs.json")
    return dict(json.loads(path.read_text())["configs"])
