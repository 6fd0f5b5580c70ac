"""The memory of this run is unknown.

Why: vramlint does not invent numbers for a model it does not know. What is known (parameters, optimizer states, the
context) is said; the rest needs a trace of the model or a peak that somebody measured.

Example: ``model: my_private_net``.

Fix safety: nothing to fix. Shown with ``--pedantic``.

Sources: the estimator, ``docs/memory.md``.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, MemoryVerdict, RuleInfo, Run, Severity, Verdict
from vramlint_rules._words import size

RULE = RuleInfo(
    code="VL403",
    name="vram-unknown",
    summary="the model is unknown, so its memory is",
    severity=Severity.INFO,
    confidence=Confidence.HIGH,
    fix=None,
    sources=("docs/memory.md",),
    pedantic=True,
    needs_gpu=True,
)

_LINE = "torchrun --nproc_per_node=2 train.py --model {} --image_size 512 512 --batch_size 2 --use_ddp --epochs 5\n"
VALID = (
    Case("train.sh", _LINE.format("resnet50"), gpu="rtx3060-12gb"),
    Case("train.sh", _LINE.format("hrnet"), gpu="rtx3060-12gb"),
)
INVALID = (
    Case("train.sh", _LINE.format("my_private_net"), gpu="rtx3060-12gb"),
    Case("train.sh", _LINE.format("frobnicator_v9"), gpu="a100-40gb"),
)


def check(run: Run) -> Iterator[Verdict]:
    """Say why there is no estimate, and what is known."""
    estimate = run.estimate()
    if run.target.gpu is None or estimate.verdict is not MemoryVerdict.UNKNOWN or estimate.required is not None:
        return
    known = ", ".join(f"{part.name} {size(part.bytes)}" for part in estimate.components if part.bytes)
    message = f"memory unknown: {estimate.unknown_because or 'nothing is known of the model'}"
    yield Verdict(
        "model",
        f"{message}; known so far: {known}" if known else message,
        label="no memory estimate",
        help="Trace the model once (vramlint trace), or record a measured peak (vramlint observe)",
    )
