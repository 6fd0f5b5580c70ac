"""Results built by hand, so that a report is tested without any reader, dialect or rule."""

from __future__ import annotations

from vramlint.dialects.model import Reading
from vramlint.findings import FileEdit, Finding, Fix
from vramlint.hardware.model import GIB, Gpu, Target
from vramlint.memory.model import Component, Estimate, Interval, Verdict
from vramlint.plan import (
    Fact,
    ImageSize,
    Location,
    Origin,
    PerRank,
    Precision,
    TrainingPlan,
    default,
    derived,
    rederive,
)
from vramlint.results import CheckResult, Failure, RunResult, settled
from vramlint.rule import Change, Confidence, Limits, Repair, Safety, Severity
from vramlint.sources.model import Document, Mapping, Span, Syntax

GPU = Gpu("rtx-3070-8gb", "GeForce RTX 3070", 8 * GIB, int(7.8 * GIB), (8, 6), "a test")

MOCO = """class Config:
    image_size: int = 224

    batch_size: int = 96
    queue_size: int = 65536
    use_amp: bool = True
"""


def place(text: str, needle: str, path: str = "src/config.py") -> Location:
    """The place of the first ``needle`` in ``text``."""
    start = text.index(needle)
    end = start + len(needle)
    document = Document(path, text, Syntax.PYTHON, Mapping(Span(0, 0), []))
    (line, column), (end_line, end_column) = document.position(start), document.position(end)
    return Location(path, start, end, line, column, end_line, end_column)


def fact(text: str, needle: str, value: object, path: str = "src/config.py") -> Fact:
    return Fact(value, Origin.FILE, place(text, needle, path))


def plan(text: str = MOCO, path: str = "src/config.py", title: str = "Config", **changes: object) -> TrainingPlan:
    values = {
        "micro_batch": fact(text, "96", 96, path),
        "queue_size": fact(text, "65536", 65536, path),
        "accumulation": default(4, "torch 2.6"),
        "data_parallel": derived(2, "gpus=2"),
        "precision": fact(text, "True", Precision.FP16, path),
        "grad_checkpointing": default(True, "Config"),
        "image_size": fact(text, "224", ImageSize(224, 224), path),
    }
    return rederive(TrainingPlan("python-config", path, title, PerRank(), **{**values, **changes}))


def estimate(verdict: Verdict = Verdict.FITS, required_gib: float = 6.9, gpu: Gpu | None = GPU) -> Estimate:
    def around(value_gib: float) -> Interval:
        return Interval(int((value_gib - 0.5) * GIB), int(value_gib * GIB), int((value_gib + 0.5) * GIB))

    return Estimate(
        model="resnet50",
        gpu=None if gpu is None else gpu.name,
        allocated=around(required_gib - 1),
        reserved=around(required_gib - 0.6),
        device=around(required_gib),
        required=around(required_gib),
        usable_bytes=None if gpu is None else gpu.usable_bytes,
        verdict=verdict,
        phase="backward",
        components=(
            Component("activations", int(4.0 * GIB), "profile resnet50"),
            Component("parameters", int(0.2 * GIB), "profile resnet50"),
            Component("CUDA context", int(0.4 * GIB), "table"),
        ),
        assumptions=("Adam states in fp32", "no torch.compile"),
    )


def unknown_estimate() -> Estimate:
    because = "no profile of model 'mynet'"
    return Estimate(None, None, None, None, None, None, None, Verdict.UNKNOWN, "", (), (), because)


def finding(text: str = MOCO, needle: str = "65536", path: str = "src/config.py", **changes: object) -> Finding:
    where = place(text, needle, path)
    repair = Repair("set queue_size to 76800 (800 batches)", Safety.SAFE, (Change("queue_size", 76800),))
    values: dict = {
        "code": "VL201",
        "name": "queue-not-divisible",
        "severity": Severity.ERROR,
        "confidence": Confidence.HIGH,
        "location": where,
        "message": "queue_size 65536 is not a multiple of batch_size 96 (682.67 batches): the queue pointer runs past "
        "the end",
        "label": "not a multiple of 96 (682.67 batches)",
        "help": "",
        "fixes": (Fix(Safety.SAFE, repair.title, (FileEdit(where, "76800"),), repair),),
        "fact": "queue_size",
        "run": "Config",
    }
    return Finding(**{**values, **changes})


def run(*findings: Finding, text: str = MOCO, **changes: object) -> RunResult:
    path = findings[0].location.path if findings else "src/config.py"
    document = Document(path, text, Syntax.PYTHON, Mapping(Span(0, 0), []))
    made = changes.get("plan") or plan(text, path)
    reading = Reading(made, document, documents=[document])
    found = settled(changes.get("estimate") or estimate())
    return RunResult(reading, Target(GPU, 2), found, findings, Limits())


def result(*runs: RunResult, failures: tuple[Failure, ...] = (), files_seen: int = 1) -> CheckResult:
    findings = tuple(sorted((found for one in runs for found in one.findings), key=lambda found: found.location))
    return CheckResult(runs, findings, failures, files_seen, min(files_seen, len(runs)))


def texts(text: str = MOCO, path: str = "src/config.py"):
    return {path: text}.get
