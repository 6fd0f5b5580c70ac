"""BatchNorm statistics of very few images.

Why: each rank normalises with its own micro batch. Below about 4 images the statistics are noisy, and more ranks do not
help unless they are synchronised: SyncBatchNorm computes them over all ranks.

Example: ``resnet50`` with a micro batch of 2 on 8 GPUs.

Fix safety: none. It is a change of the model, in code.

Sources: PyTorch documentation of ``torch.nn.SyncBatchNorm``; Wu and He, Group Normalization, arXiv 1803.08494, figure 1
(error of BatchNorm by batch size).
"""

import re
from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Stability, Verdict
from vramlint_rules._cases import torchrun

RULE = RuleInfo(
    code="VL607",
    name="batch-norm-not-synchronised",
    summary="statistics of BatchNorm over very few images",
    severity=Severity.INFO,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=(
        "https://pytorch.org/docs/stable/generated/torch.nn.SyncBatchNorm.html",
        "https://arxiv.org/abs/1803.08494",
    ),
    pedantic=True,
    stability=Stability.PREVIEW,
)

_FEW = 4
_NORMALISED = re.compile(r"(?i)^(wide_)?resnet|^resnext|hrnet|^regnet|^efficientnet|^mobilenet|^densenet|deeplab|^fcn_")
"""Families that use BatchNorm throughout; a detector's frozen one is no part of it."""
VALID = (
    Case("train.sh", torchrun(8, batch_size=32)),
    Case("train.sh", torchrun(8, batch_size=2, sync_bn=True)),
)
INVALID = (
    Case("train.sh", torchrun(8, batch_size=2)),
    Case("train.sh", torchrun(2, batch_size=3, model="hrnet")),
)


def check(run: Run) -> Iterator[Verdict]:
    """Look for a small micro batch on several ranks without synchronisation."""
    plan = run.plan
    micro, ranks = plan.micro_batch.value, plan.data_parallel.value
    if not micro or micro >= _FEW or (ranks or 1) < 2 or plan.fact("sync_batch_norm").value:
        return
    if plan.task.value in ("detect", "self-supervised") or not _NORMALISED.search(plan.model.value or ""):
        return
    yield Verdict(
        "micro_batch",
        f"BatchNorm sees {micro} images a rank: its statistics are noisy, and {ranks} ranks do not share them",
        label=f"{micro} images a rank",
        help="Convert the model with torch.nn.SyncBatchNorm.convert_sync_batchnorm",
    )
