"""A pooled BatchNorm layer that sees one value per channel.

Why: DeepLabV3, PSPNet and their kin pool the whole image to one pixel and normalise it. With a micro batch of 1 that is
one value per channel, whose variance is undefined: PyTorch raises "Expected more than 1 value per channel when
training" at the first step. SyncBatchNorm over several ranks sees more than one value. A warning where the program's
own data module may make more samples of one.

Example: ``deeplabv3_resnet50`` with ``batch_size: 1``.

Fix safety: unsafe. A micro batch of 2 with half the accumulation steps would keep the effective batch, but it needs
more memory.

Sources: PyTorch 2.13 ``torch/nn/functional.py#_verify_batch_size``; torchvision 0.28
``models/segmentation/deeplabv3.py#ASPPPooling``.
"""

import re
from collections.abc import Iterator

from vramlint.rule import Case, Change, Confidence, Repair, RuleInfo, Run, Safety, Severity, Verdict, revise

RULE = RuleInfo(
    code="VL106",
    name="batch-norm-of-one",
    summary="a pooled BatchNorm layer sees one value per channel",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=Safety.UNSAFE,
    sources=(
        "https://github.com/pytorch/pytorch/blob/v2.13.0/torch/nn/functional.py",
        "https://github.com/pytorch/vision/blob/main/torchvision/models/segmentation/deeplabv3.py",
    ),
)

_OWN_BATCHES = ("lightning", "lightning_script", "lightning_hydra", "hydra_objects", "monai")
"""Dialects whose batch is an argument of the program's own data module, which may crop several samples from one."""
_POOLED = re.compile(r"(?i)deeplab_?v3|deeplabv3plus|pspnet|psp_net")
_LINE = "python train.py --model {} --image_size 512 512 --batch_size {} --gradient_accumulation_steps {} --epochs 5\n"
VALID = (
    Case("train.sh", _LINE.format("deeplabv3_resnet50", 2, 4)),
    Case("train.sh", _LINE.format("fcn_resnet50", 1, 8)),
)
INVALID = (
    Case(
        "train.sh",
        _LINE.format("deeplabv3_resnet50", 1, 8),
        fixed=_LINE.format("deeplabv3_resnet50", 2, 4),
        unsafe=True,
    ),
    Case("train.sh", _LINE.format("deeplabv3_resnet101", 1, 1)),
)


def check(run: Run) -> Iterator[Verdict]:
    """Look for a micro batch of 1 with a model that pools to one pixel."""
    plan = run.plan
    if plan.micro_batch.value != 1 or not _POOLED.search(plan.model.value or ""):
        return
    if plan.fact("sync_batch_norm").value and plan.world_size.value != 1:
        return
    own = plan.dialect in _OWN_BATCHES
    yield Verdict(
        "micro_batch",
        f"{plan.model.value} normalises one pooled pixel: with a micro batch of 1 the first step raises ValueError",
        label="one value per channel",
        help=f"Use a {run.spelling('micro_batch')} of at least 2",
        repairs=tuple(_doubled(run)),
        severity=Severity.WARNING if own else None,
        confidence=Confidence.LOW if own else None,
    )


def _doubled(run: Run) -> Iterator[Repair]:
    steps = run.plan.accumulation.value or 1
    values: dict[str, object] = {"micro_batch": 2, "accumulation": steps // 2}
    if steps % 2 or not all(map(run.editable, values)):
        return
    if revise(run.plan, values).effective_batch.value == run.plan.effective_batch.value:
        title = f"set {run.spelling('micro_batch')} to 2 and {run.spelling('accumulation')} to {steps // 2}"
        yield Repair(title, Safety.UNSAFE, tuple(Change(fact, value) for fact, value in values.items()))
