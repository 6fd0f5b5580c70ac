"""Fragmentation of the allocator decides whether the run fits.

Why: PyTorch's caching allocator keeps blocks of many sizes; what is free may be in pieces too small for the next
tensor. ``expandable_segments:True`` lets segments grow instead and gives most of it back. It costs nothing on Linux.

Example: 11.2 GiB allocated on a card with 11.8 usable, and 0.9 GiB of slack.

Fix safety: none. The variable belongs to the launch: ``PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True``.

Sources: PyTorch documentation, "Optimizing memory usage with PYTORCH_ALLOC_CONF"; the simulated allocator,
``docs/memory.md``.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, MemoryVerdict, RuleInfo, Run, Safety, Severity, Stability, Verdict
from vramlint_rules._cases import torchrun
from vramlint_rules._words import memory_fact, size

RULE = RuleInfo(
    code="VL408",
    name="fragmentation-untreated",
    summary="fragmentation of the allocator decides whether the run fits",
    severity=Severity.INFO,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=("https://pytorch.org/docs/stable/notes/cuda.html#optimizing-memory-usage-with-pytorch-alloc-conf",),
    stability=Stability.PREVIEW,
    needs_gpu=True,
)

_VARIABLES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")


def _line(batch: int, prefix: str = "") -> str:
    return prefix + torchrun(1, batch_size=batch, mixed_precision=True)


VALID = (
    Case("train.sh", _line(192), gpu="rtx3060-12gb"),
    Case("train.sh", _line(240, "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True "), gpu="rtx3060-12gb"),
)
INVALID = (
    Case("train.sh", _line(240), gpu="rtx3060-12gb"),
    Case("train.sh", _line(248, "PYTORCH_CUDA_ALLOC_CONF=max_split_size_mb:128 "), gpu="rtx3060-12gb"),
)


def check(run: Run) -> Iterator[Verdict]:
    """Whether the run fits without the allocator's slack and does not surely fit with it."""
    estimate = run.estimate()
    if estimate.verdict not in (MemoryVerdict.OVER, MemoryVerdict.TIGHT) or _treated(run):
        return
    if any(repair.safety is Safety.SAFE for repair in run.repairs_to_fit()):
        return  # the repair of vram-over makes room enough
    slack = sum(part.bytes for part in estimate.components if part.name == "allocator slack")
    required, usable = estimate.required, estimate.usable_bytes
    if required is None or usable is None or estimate.allocated is None or estimate.device is None:
        return
    bare = estimate.device.value - slack
    if not slack or bare > usable or estimate.device.value <= usable * (1 - run.limits.headroom):
        return
    yield Verdict(
        memory_fact(run.plan),
        f"{size(bare)} are in use at the peak, {size(slack)} more are lost in fragments, {size(usable)} usable",
        label=f"{size(slack)} in fragments",
        help="Set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True for the launch",
    )


def _treated(run: Run) -> bool:
    return any("expandable_segments:True" in str(run.setting(f"${name}").value) for name in _VARIABLES)
