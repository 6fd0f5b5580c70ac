"""The learning rate belongs to another effective batch.

Why: OpenMMLab's configs carry a learning rate that was tuned for ``auto_scale_lr.base_batch_size`` and scale it only on
request (``enable=True`` or ``--auto-scale-lr``). On fewer or more GPUs the rate stays and the batch does not: too high
a rate for a small batch ends in NaN losses, too low a one in a worse model.

Example: ``base_batch_size=16`` (8 GPUs x 2) trained on one GPU with batch 2: the rate is 8 times what it should be.

Fix safety: unsafe. Switching the scaling on changes the learning rate.

Sources: mmengine 0.10.7 ``runner/runner.py#scale_lr`` (linear rule, base batch); Goyal et al., arXiv 1706.02677.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Safety, Severity, Stability, Verdict
from vramlint_rules._repairs import write

RULE = RuleInfo(
    code="VL105",
    name="learning-rate-not-rescaled",
    summary="the learning rate belongs to another effective batch",
    severity=Severity.WARNING,
    confidence=Confidence.MEDIUM,
    fix=Safety.UNSAFE,
    sources=(
        "https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/runner/runner.py",
        "https://arxiv.org/abs/1706.02677",
    ),
    stability=Stability.PREVIEW,
)

_FACTOR = 2
"""Smaller ratios are within what the linear rule is worth."""
_CONFIG = """\
model = dict(type="FasterRCNN")
train_dataloader = dict(batch_size={}, num_workers=2)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.02))
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=12)
auto_scale_lr = dict(enable={}, base_batch_size=16)
"""
VALID = (
    Case("configs/faster.py", _CONFIG.format(2, "False"), gpus=8),
    Case("configs/faster.py", _CONFIG.format(2, "True"), gpus=1),
)
INVALID = (
    Case("configs/faster.py", _CONFIG.format(2, "False"), gpus=1, fixed=_CONFIG.format(2, "True"), unsafe=True),
    Case("configs/faster.py", _CONFIG.format(8, "False"), gpus=8, fixed=_CONFIG.format(8, "True"), unsafe=True),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the effective batch with the one that the rate was tuned for."""
    plan = run.plan
    base, effective = plan.fact("base_batch").value, plan.effective_batch.value
    if not base or not effective or plan.fact("lr_scaling").value is not False:
        return
    if not _belong_together(run):
        return
    ratio = effective / base
    if max(ratio, 1 / ratio) < _FACTOR:
        return
    side = f"{1 / ratio:.3g} times too high" if ratio < 1 else f"{ratio:.3g} times too low"
    yield Verdict(
        "base_batch",
        f"effective batch {effective}, but the learning rate was tuned for {base} and is not scaled: by the linear "
        f"rule it is {side}",
        label=f"this run has {effective}",
        help="Switch automatic scaling on (--auto-scale-lr), or set the learning rate for this batch",
        repairs=write(run, "lr_scaling", to=True, safety=Safety.UNSAFE),
    )


def _belong_together(run: Run) -> bool:
    """Whether one file gives the rate and the batch it was tuned for: a config that sets its own rate over that of its
    base has often tuned it anew, and left the base's batch as it was."""
    rate, base = run.plan.fact("learning_rate").location, run.plan.fact("base_batch").location
    return rate is not None and base is not None and rate.path == base.path
