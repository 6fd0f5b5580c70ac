"""Images that the training process itself decodes.

Why: without worker processes every batch is read and decoded between two steps, and the card waits. Text that is
tokenised beforehand costs next to nothing; images do.

Example: ``--num_workers 0`` with images of 1024 x 1024.

Fix safety: unsafe. The samples are the same, but each worker draws its own random augmentations.

Sources: PyTorch documentation of ``torch.utils.data``, "Single- and Multi-process Data Loading".
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Safety, Severity, Verdict
from vramlint_rules._cases import torchrun
from vramlint_rules._repairs import write

RULE = RuleInfo(
    code="VL310",
    name="loader-without-workers",
    summary="images that the training process itself decodes",
    severity=Severity.INFO,
    confidence=Confidence.MEDIUM,
    fix=Safety.UNSAFE,
    sources=("https://pytorch.org/docs/stable/data.html#single-and-multi-process-data-loading",),
)

_FEW = 2
_CACHING = ("kohya", "ai_toolkit", "onetrainer", "diffusers")
"""Trainers of diffusion models read latents that were made beforehand."""
_SMALL = 64
"""Images below this side (CIFAR, MNIST) are decoded in no time."""
VALID = (
    Case("train.sh", torchrun(num_workers=4)),
    Case("train.sh", torchrun(num_workers=0, image_size="32 32")),
)
INVALID = (
    Case("train.sh", torchrun(num_workers=0), fixed=torchrun(num_workers=2), unsafe=True),
    Case("train.sh", torchrun(1, num_workers="'0'"), fixed=torchrun(1, num_workers="'2'"), unsafe=True),
)


def check(run: Run) -> Iterator[Verdict]:
    """Look for a spelled 0 beside images."""
    workers, shape = run.plan.workers_per_rank, run.plan.image_size.value
    if workers.value != 0 or not workers.spelled or shape is None or max(shape) < _SMALL:
        return
    if run.plan.dialect in _CACHING:
        return
    name = run.spelling("workers_per_rank")
    yield Verdict(
        "workers_per_rank",
        f"{name} 0: the card waits while the training process decodes {shape} images",
        label="decodes between two steps",
        help=f"Set {name} to {_FEW} or more, unless you are debugging",
        repairs=write(run, "workers_per_rank", to=_FEW, safety=Safety.UNSAFE),
    )
