"""Plans as tables: micro batch, steps, data-parallel ranks, effective batch and unit at 1, 2, 3 and 8 GPUs.

``plans/*.yaml`` are worked out by hand from the source each group names. ``plans/real.txt`` holds real files, with
what ``tools/plan_oracle.py`` makes of them: the framework's loader and the framework's arithmetic, no code of
vramlint's. Configs of the mmdet and mmsegmentation wheels stand in ``tests/data/mm_facts.jsonl`` as mmengine itself
resolved them. Real files are skipped where they are not beside the checkout.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.dialects.support import Surroundings, document
from tools.mm_agree import Wheel
from tools.plan_oracle import GPUS, Batch, agrees
from vramlint.dialects import registry
from vramlint.hardware.model import Target
from vramlint.plan import TrainingPlan
from vramlint.project.units import FileContext, Project

ROOT = Path(__file__).parents[2]
CORPUS = ROOT.parent / "shared" / "corpus"
PLANS = Path(__file__).parent / "plans"
WHEELS = [
    *(ROOT / ".cache" / "wheels").glob("mmdet-3.3.0-*.whl"),
    *(ROOT / ".cache" / "wheels").glob("mmsegmentation-1.2.2-*.whl"),
]


class Written(NamedTuple):
    """A case worked out by hand."""

    dialect: str
    file: str
    text: str
    launch: str
    unit: str
    batches: tuple[Batch | None, ...]


class Real(NamedTuple):
    """A line of ``real.txt``."""

    dialect: str
    path: str
    unit: str
    batches: tuple[Batch | None, ...]


def batch_of(text: str) -> Batch | None:
    """``4x8x2=64``, ``?`` for what stays unknown; None for ``stops``."""
    if text == "stops":
        return None
    product, _, effective = text.partition("=")
    return Batch(*(None if item == "?" else int(item) for item in (*product.split("x"), effective)))


def batches_of(plan: str) -> tuple[Batch | None, ...]:
    """``4x8xN`` has as many ranks as GPUs, ``always 4x8x2=64`` whatever their number; else a batch for each number."""
    first, *more = plan.split()
    if first == "always":
        return (batch_of(more[0]),) * len(GPUS)
    if more:
        return tuple(batch_of(item) for item in (first, *more))
    micro, steps, _ = (None if item in ("?", "N") else int(item) for item in first.split("x"))
    return tuple(Batch(micro, steps, ranks, micro * steps * ranks if micro and steps else None) for ranks in GPUS)


def written() -> Iterator[Written]:
    for path in sorted(PLANS.glob("*.yaml")):
        for group in yaml.safe_load(path.read_text("utf-8")):
            for case in group["cases"]:
                yield written_case(group, case)


def written_case(group: dict[str, Any], case: dict[str, Any]) -> Written:
    file = case.get("file", group["file"])
    text, more = case.get("text", group.get("text", "")), case.get("add", "")
    whole = f"{text} {more}" if file.endswith(".sh") else text + more
    launch, unit = case.get("launch", group.get("launch", "")), case.get("unit", group.get("unit", "samples"))
    return Written(group["dialect"], file, f"{whole}\n", launch, unit, batches_of(case["plan"]))


def real() -> Iterator[Real]:
    for line in (PLANS / "real.txt").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            dialect, path, unit, *batches = line.split(" | ")
            yield Real(dialect, path, unit, tuple(batch_of(batch) for batch in batches))


WRITTEN, REAL = list(written()), list(real())
MM_FACTS = [json.loads(line) for line in (ROOT / "tests" / "data" / "mm_facts.jsonl").read_text("utf-8").splitlines()]
MM_CASES = [
    row
    for row in MM_FACTS
    if "train_dataloader.batch_size" in row["facts"] and "model.type" in row["facts"] and "/_base_/" not in row["file"]
]


def disagreement(plan: TrainingPlan, gpus: int, unit: str, expected: Batch | None) -> str:
    """What differs, nothing where the plan is as expected."""
    facts = (plan.micro_batch, plan.accumulation, plan.data_parallel, plan.effective_batch)
    told = Batch(*(fact.value for fact in facts))
    if agrees(told, expected) and plan.batch_unit.value == unit:
        return ""
    notes = "; ".join(fact.note for fact in facts if not fact.known)
    return f"{gpus} GPUs: {plan.batch_unit.value} {tuple(told)}, expected {unit} {expected} ({notes})"


@pytest.mark.parametrize("case", WRITTEN, ids=lambda case: f"{case.dialect}-{case.text.splitlines()[-1].strip()[-40:]}")
def test_by_hand(case: Written) -> None:
    read = document(case.file, case.text)
    (claim,) = registry.claims(read)
    assert claim.dialect == case.dialect
    wrong = []
    for gpus, expected in zip(GPUS, case.batches, strict=True):
        around = Surroundings(gpus=gpus, launched_by=case.launch)
        plan = registry.dialect(claim.dialect).read(claim, read, around).plan
        wrong.append(disagreement(plan, gpus, case.unit, expected))
    assert not any(wrong), "\n".join(filter(None, wrong))


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside the checkout")
@pytest.mark.parametrize("dialect", sorted({case.dialect for case in REAL}))
def test_real_files(dialect: str) -> None:
    project, wrong = Project(), []
    for case in REAL:
        if case.dialect != dialect:
            continue
        path = str(CORPUS / case.path)
        read = project.files.document(path)
        (claim,) = registry.claims(read)
        for gpus, expected in zip(GPUS, case.batches, strict=True):
            context = FileContext(project, path, Target(None, gpus, source="--gpus"))
            plan = registry.dialect(claim.dialect).read(claim, read, context).plan
            told = disagreement(plan, gpus, case.unit, expected)
            wrong += [f"{case.path}: {told}"] if told else []
    assert not wrong, "\n".join(wrong)


@pytest.mark.corpus
@pytest.mark.skipif(len(WHEELS) != 2, reason="tools/fetch_wheels.sh has not been run")
def test_openmmlab_files_as_mmengine_resolves_them() -> None:
    wheel, wrong = Wheel([str(path) for path in WHEELS]), []
    for row in MM_CASES:
        micro = row["facts"]["train_dataloader.batch_size"]
        steps = row["facts"].get("optim_wrapper.accumulative_counts", 1)
        for gpus in GPUS:
            wheel.target = Target(None, gpus, source="--gpus")
            plan = wheel.plan(row["file"])
            assert plan is not None, row["file"]
            told = disagreement(plan, gpus, "samples", Batch(micro, steps, gpus, micro * steps * gpus))
            wrong += [f"{row['file']}: {told}"] if told else []
    assert not wrong, "\n".join(wrong)


def test_the_tables_are_long_enough_and_name_every_dialect() -> None:
    """Issue 4, point 2: 300 cases or more, half of them real files, every dialect among them."""
    files = len(REAL) + len(MM_CASES)
    assert len(WRITTEN) + files >= 300
    assert files >= (len(WRITTEN) + files) / 2
    assert {case.dialect for case in WRITTEN} == set(registry.names())
