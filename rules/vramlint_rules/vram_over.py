"""The run needs more memory than the card has.

Why: the peak is the maximum over the phases of a step (forward and loss, backward, optimizer step, second iteration).
It is compared with what the driver leaves to one process. Over is an error when even the lower bound of the estimate
is over, else a warning; so is a language model that an unseen launch may shard or whose unpacked samples may be much
shorter than the limit, and a value that fits while its upper bound does not.

Example: HRNet at 1024 x 1024, batch 3, on a 12 GB card; batch 2 with accumulation 6 keeps the effective batch 24.

Fix safety: safe while the effective batch and the numerics stay: micro batch down and accumulation up, then mixed
precision with the framework's own loss scaling, then activation checkpointing. Multi-scale off and smaller images are
unsafe. When only the upper bound is over, just the split of the batch is changed unasked. BatchNorm sees the micro
batch: its statistics get noisier when that shrinks.

Sources: the estimator, ``docs/memory.md``; activation checkpointing: Chen et al., arXiv 1604.06174; mixed precision:
Micikevicius et al., arXiv 1710.03740.
"""

from collections.abc import Iterator

from vramlint.rule import (
    Case,
    Confidence,
    Estimate,
    MemoryVerdict,
    RuleInfo,
    Run,
    Safety,
    Severity,
    TrainingPlan,
    Verdict,
)
from vramlint_rules._doubts import fits_shorter_samples, fits_switched_to_half
from vramlint_rules._multi_scale import largest_alone_is_over
from vramlint_rules._repairs import fits_sharded, may_be_sharded, offloaded_bytes, with_steps
from vramlint_rules._words import activations_alone_exceed, advice, memory_fact, need

RULE = RuleInfo(
    code="VL401",
    name="vram-over",
    summary="the run does not fit, or barely fits, the card's memory",
    severity=Severity.WARNING,
    confidence=Confidence.MEDIUM,
    fix=Safety.SAFE,
    sources=("https://arxiv.org/abs/1604.06174", "https://arxiv.org/abs/1710.03740"),
    needs_gpu=True,
)

_TIGHT_FROM = 0.5
"""Below this share of the card an upper bound that is over says more about the interval than about the run."""

_LINE = (
    "torchrun --nproc_per_node=2 train.py --model resnet50 --image_size 224 224 --batch_size {} "
    "--gradient_accumulation_steps {} --mixed_precision --use_ddp --epochs 5\n"
)
VALID = (
    Case("train.sh", _LINE.format(64, 8), gpu="rtx3060-12gb"),
    Case("train.sh", _LINE.format(2048, 1)),
)
INVALID = (
    Case("train.sh", _LINE.format(384, 2), gpu="rtx3060-12gb", fixed=_LINE.format(192, 4)),
    Case("train.sh", _LINE.format(512, 1), gpu="rtx3060-12gb", fixed=_LINE.format(128, 4)),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the estimate with the usable memory of the card."""
    estimate = run.estimate()
    required, usable = estimate.required, estimate.usable_bytes
    if required is None or usable is None or not _matters(estimate) or _only_multi_scale(run, estimate):
        return
    shardable = may_be_sharded(run.plan) and not activations_alone_exceed(estimate)
    shorter = fits_shorter_samples(run)
    half = fits_switched_to_half(run)
    away = offloaded_bytes(run.plan, estimate)
    if away and required.value - away <= usable:
        return
    open_ways = [
        text
        for text, holds in (
            (_sharing(run.plan), shardable),
            ("samples are much shorter", shorter),
            ("it is launched with --amp", half),
        )
        if holds
    ]
    certain = required.low - away > usable and not open_ways
    unless = f", unless {' or '.join(open_ways)}" if open_ways else ""
    repairs = with_steps(run)
    if shardable:
        repairs = tuple(repair._replace(safety=Safety.DISPLAY) for repair in repairs)
    yield Verdict(
        memory_fact(run.plan),
        f"needs {need(estimate)}, peak in {estimate.phase}: {_consequence(estimate)}{unless}",
        label="does not fit" if estimate.verdict is MemoryVerdict.OVER else "may not fit",
        help=advice(repairs, "Use a card with more memory, or a smaller model, image or sequence"),
        repairs=repairs,
        severity=Severity.ERROR if certain else Severity.INFO if shardable and fits_sharded(run) else Severity.WARNING,
        confidence=Confidence.LOW if shardable else _confidence(estimate, certain=certain),
    )


def _sharing(plan: TrainingPlan) -> str:
    """How a launch would make it smaller: one that is known to shard needs ranks enough."""
    return "the launch shards it" if plan.sharding.value in (None, "none", "ddp") else "enough ranks share it"


def _matters(estimate: Estimate) -> bool:
    """Over, or tight with a value near enough to the limit."""
    if estimate.required is None or estimate.usable_bytes is None:
        return False
    if estimate.verdict is MemoryVerdict.TIGHT:
        return estimate.required.value >= _TIGHT_FROM * estimate.usable_bytes
    return estimate.verdict is MemoryVerdict.OVER


def _only_multi_scale(run: Run, estimate: Estimate) -> bool:
    """The rule multi-scale-over says it better."""
    return estimate.verdict is MemoryVerdict.TIGHT and largest_alone_is_over(run) is not None


def _confidence(estimate: Estimate, *, certain: bool) -> Confidence:
    if certain:
        return Confidence.HIGH
    return Confidence.MEDIUM if estimate.verdict is MemoryVerdict.OVER else Confidence.LOW


def _consequence(estimate: Estimate) -> str:
    return "out of memory" if estimate.verdict is MemoryVerdict.OVER else "may run out of memory"
