"""A large part of the card stays unused.

Why: throughput grows with the micro batch until the card is busy; a card that is filled to half often trains slower
than it could, and accumulation steps that are not needed cost time.

Example: ResNet-50 MoCo with batch 64 takes 4.6 of 8 GB; batch 96 with a queue of 76,800 takes 6.9.

In a folder of many configs that were written for other cards this says little of each: where more than three of them
leave as much of the card that ``--gpu`` or the settings name, one is told, with the number of the others. A file that
is given by its name, or names its card itself, is always told.

Fix safety: unsafe, although the effective batch stays (micro batch up, accumulation down): a run that works must not
run out of memory because an estimate was low. A larger effective batch is only shown: the learning rate would have to
follow it.

Sources: Goyal et al., arXiv 1706.02677 (learning rate and batch size); the estimator, ``docs/memory.md``.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, Repair, RuleInfo, Run, Safety, Severity, Verdict
from vramlint_rules._repairs import is_plain
from vramlint_rules._words import advice, memory_fact, need

RULE = RuleInfo(
    code="VL402",
    name="vram-wasted",
    summary="a larger micro batch would fit the card",
    severity=Severity.INFO,
    confidence=Confidence.MEDIUM,
    fix=Safety.UNSAFE,
    sources=("https://arxiv.org/abs/1706.02677",),
    needs_gpu=True,
    once_a_card=True,
)

_LINE = (
    "torchrun --nproc_per_node=2 train.py --model resnet50 --image_size 224 224 --batch_size {} "
    "--gradient_accumulation_steps {} --mixed_precision --use_ddp --epochs 5\n"
)
VALID = (
    Case("train.sh", _LINE.format(192, 4), gpu="rtx3060-12gb"),
    Case("train.sh", _LINE.format(1, 6)),
)
INVALID = (
    Case("train.sh", _LINE.format(32, 8), gpu="rtx3060-12gb", fixed=_LINE.format(128, 2), unsafe=True),
    Case("train.sh", _LINE.format(64, 1), gpu="rtx3060-12gb"),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the estimate with the share of the card that counts as wasted."""
    estimate = run.estimate()
    required, usable = estimate.required, estimate.usable_bytes
    if required is None or not usable or not is_plain(run.plan):
        return
    share = required.value / usable
    if share >= run.limits.wasted_below or required.high / usable >= run.limits.fill_to:
        return
    repairs = tuple(map(_asked_for, run.repairs_to_fill()))
    if not repairs:
        return
    certain = required.high / usable < run.limits.wasted_below
    yield Verdict(
        memory_fact(run.plan),
        f"needs {need(estimate)} ({100 * share:.0f} %): a larger batch would fit",
        label=f"{100 * share:.0f} % of the card",
        help=advice(repairs, ""),
        repairs=repairs,
        confidence=Confidence.HIGH if certain else Confidence.MEDIUM,
    )


def _asked_for(repair: Repair) -> Repair:
    return repair._replace(safety=Safety.UNSAFE) if repair.safety is Safety.SAFE else repair
