"""The one-line summaries of a run (its plan, its memory) and of a whole check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from vramlint.findings import Finding
from vramlint.hardware.model import Target
from vramlint.memory.model import Estimate, Interval, Verdict
from vramlint.plan import NominalAccumulation, Precision, TrainingPlan
from vramlint.report.silence import no_run
from vramlint.report.text import count, gib, gib_range, percent
from vramlint.results import CheckResult, RunResult
from vramlint.rule import Safety, Severity

_SEPARATOR = " · "


def plan_line(plan: TrainingPlan) -> str:
    """What the run will do, in one line: ``96 per GPU x 2 GPUs x 4 steps = effective batch 768 · fp16 autocast``."""
    parts = [_batch(plan), _precision(plan), _checkpointing(plan), _sharding(plan), _adapter(plan), _shape(plan)]
    return _SEPARATOR.join(part for part in parts if part)


def _batch(plan: TrainingPlan) -> str:
    micro, ranks, steps = plan.micro_batch.value, plan.data_parallel.value, plan.accumulation.value
    effective = plan.effective_batch.value
    unit = plan.batch_unit.value
    suffix = f" {unit}" if unit and unit != "samples" else ""
    if micro is None and effective is None:
        return f"effective batch unknown ({plan.micro_batch.note or 'no batch size in the files'})"
    if effective is None:
        return _unknown_batch(plan)
    shared = _gpus_per_rank(plan)
    factors = [] if micro is None else [f"{micro} per {'GPU' if shared == 1 else 'rank'}"]
    if ranks is not None and factors:
        factors.append(count(ranks, "GPU") if shared == 1 else f"{count(ranks, 'rank')} of {shared} GPUs")
    if steps is not None and factors:
        factors.append(count(steps, "step"))
    if isinstance(plan.policy, NominalAccumulation) and plan.nominal_batch.value is not None:
        suffix += f" (nominal {plan.nominal_batch.value})"
    product = f"{' x '.join(factors)} = " if factors else ""
    return f"{product}effective batch {effective:,}{suffix}"


def _gpus_per_rank(plan: TrainingPlan) -> int:
    """GPUs that work on one micro batch together: tensor, pipeline and context parallelism share a model."""
    world, ranks = plan.world_size.value, plan.data_parallel.value
    return 1 if not world or not ranks or world % ranks else world // ranks


def _unknown_batch(plan: TrainingPlan) -> str:
    micro, ranks, steps = plan.micro_batch.value, plan.data_parallel.value, plan.accumulation.value
    if micro is not None and steps is not None and ranks is None:
        because = plan.data_parallel.note.removeprefix("world size unknown") or "add --gpus N"
        return f"{micro} per GPU x {count(steps, 'step')}, number of GPUs unknown ({because})"
    known = "" if micro is None else f"{micro} per GPU, "
    return f"{known}effective batch unknown ({plan.effective_batch.note or plan.micro_batch.note})"


def _precision(plan: TrainingPlan) -> str:
    match plan.precision.value:
        case None:
            return ""
        case Precision.FP32:
            return "fp32"
        case Precision.FP16 | Precision.BF16 | Precision.FP8 as mixed:
            return f"{mixed.value} autocast"
        case pure:
            return pure.value.replace("-", " ")


def _checkpointing(plan: TrainingPlan) -> str:
    if plan.grad_checkpointing.value is None:
        return ""
    return "checkpointing on" if plan.grad_checkpointing.value else "checkpointing off"


def _sharding(plan: TrainingPlan) -> str:
    kind = plan.sharding.value
    return "" if kind in (None, "none", "ddp") else str(kind)


def _adapter(plan: TrainingPlan) -> str:
    kind = plan.adapter.value
    if kind in (None, "none"):
        return ""
    rank = plan.adapter_rank.value
    return f"{kind} rank {rank}" if rank is not None else str(kind)


def _shape(plan: TrainingPlan) -> str:
    if plan.image_size.value is not None:
        return f"{plan.image_size.value} px"
    return f"{plan.seq_len.value:,} tokens" if plan.seq_len.value is not None else ""


def memory_line(estimate: Estimate, target: Target) -> str:
    """What one rank needs: ``6.9 GiB of 7.8 usable on rtx3070-8gb (88 %), 6.4 to 7.4, peak in backward · fits``."""
    return f"{_needs(estimate, target)}{_caveat(estimate)}"


def _caveat(estimate: Estimate) -> str:
    return f"{_SEPARATOR}{estimate.caveat}" if estimate.caveat else ""


def _needs(estimate: Estimate, target: Target) -> str:
    needed = estimate.required or estimate.device or estimate.reserved or estimate.allocated
    if needed is None:
        return _unknown_memory(estimate)
    phase = f", peak in {estimate.phase}" if estimate.phase else ""
    gpu = estimate.gpu or (target.gpu.name if target.gpu else None)
    if gpu is None or estimate.usable_bytes is None:
        return f"{gib(needed.value)} GiB per GPU, {gib_range(needed)}{phase}{_SEPARATOR}no GPU named: add --gpu NAME"
    share = percent(needed.value, estimate.usable_bytes)
    room = f"{gib(needed.value)} GiB of {gib(estimate.usable_bytes)} usable on {gpu} ({share})"
    return f"{room}, {gib_range(needed)}{phase}{_SEPARATOR}{verdict_words(estimate.verdict)}"


def _unknown_memory(estimate: Estimate) -> str:
    because = estimate.unknown_because or "the model is not known"
    if estimate.least_bytes is not None:
        return f"{least_words(estimate)}{_SEPARATOR}{because}"
    known = sum(component.bytes for component in estimate.components)
    return f"unknown: {because}{f'{_SEPARATOR}known so far {gib(known)} GiB' if known else ''}"


def least_words(estimate: Estimate) -> str:
    """``at least 20.1 GiB of 23.7 usable on rtx-3090``; the estimate must have ``least_bytes``."""
    least = f"at least {gib(estimate.least_bytes or 0)} GiB"
    if estimate.usable_bytes is None:
        return least
    over = f"{_SEPARATOR}{verdict_words(Verdict.OVER)}" if (estimate.least_bytes or 0) > estimate.usable_bytes else ""
    return f"{least} of {gib(estimate.usable_bytes)} usable on {estimate.gpu}{over}"


def verdict_words(verdict: Verdict) -> str:
    """A verdict as people say it."""
    match verdict:
        case Verdict.FITS:
            return "fits"
        case Verdict.TIGHT:
            return "tight: may not fit"
        case Verdict.OVER:
            return "does not fit"
        case Verdict.UNKNOWN:
            return "verdict unknown"


def interval_of(estimate: Estimate) -> Interval | None:
    """The interval that the verdict is about."""
    return estimate.required or estimate.device


def fixable(findings: Iterable[Finding], safety: Safety) -> int:
    """How many findings have a fix of this ``safety`` with edits, and none that is safer."""
    return sum(_best(finding) is safety for finding in findings)


def _best(finding: Finding) -> Safety | None:
    offered = {fix.safety for fix in finding.fixes if fix.edits}
    for safety in (Safety.SAFE, Safety.UNSAFE):
        if safety in offered:
            return safety
    return None


def closing_line(result: CheckResult) -> str:
    """What was found and where, or what was checked when nothing was found."""
    if not result.findings:
        return _all_well(result)
    severities = Counter(finding.severity for finding in result.findings)
    parts = [_severity_count(severities[severity], severity) for severity in Severity if severities[severity]]
    files = len({finding.location.path for finding in result.findings})
    total = max(result.files_seen, files)
    where = count(total, "file") if files == total else f"{files} of {count(total, 'file')}"
    line = f"{', '.join(parts)} in {where}"
    safe, unsafe = (fixable(result.findings, safety) for safety in (Safety.SAFE, Safety.UNSAFE))
    if safe:
        line += f"{_SEPARATOR}{count(safe, 'fix', 'fixes')} with --fix"
    if unsafe:
        line += f"{_SEPARATOR}{unsafe}{' more' if safe else ''} with --unsafe-fixes"
    return line + _unchecked(result) + _suppressed(result)


def _severity_count(number: int, severity: Severity) -> str:
    return f"{number} info" if severity is Severity.INFO else count(number, severity.value)


def _all_well(result: CheckResult) -> str:
    if not result.runs:
        return no_run(result.files_seen)
    head = f"{count(len(result.runs), 'training run')} in {count(result.files_seen, 'file')}, nothing to report"
    digest = _without_estimate(result) if len(result.runs) != 1 else f"{_SEPARATOR}{_digest(result.runs[0])}"
    return head + digest + _unchecked(result) + _suppressed(result)


def _without_estimate(result: CheckResult) -> str:
    """Runs whose memory nobody knows are not "well": say so."""
    unknown = [run for run in result.runs if interval_of(run.estimate) is None]
    if not unknown:
        return ""
    reasons = Counter(run.estimate.unknown_because for run in unknown if run.estimate.unknown_because)
    common = f" (mostly: {reasons.most_common(1)[0][0]})" if len(reasons) > 1 else ""
    only = f" ({next(iter(reasons))})" if len(reasons) == 1 else ""
    return f"{_SEPARATOR}memory of {len(unknown)} unknown{common or only}"


def _digest(run: RunResult) -> str:
    effective = run.reading.plan.effective_batch.value
    batch = "effective batch unknown" if effective is None else f"effective batch {effective:,}"
    needed, usable = interval_of(run.estimate), run.estimate.usable_bytes
    if needed is None:
        because = run.estimate.unknown_because
        if run.estimate.least_bytes is not None:
            return f"{batch}{_SEPARATOR}{least_words(run.estimate)} ({because}){_caveat(run.estimate)}"
        return f"{batch}{_SEPARATOR}memory unknown{f': {because}' if because else ''}{_caveat(run.estimate)}"
    if usable is None or run.estimate.gpu is None:
        return f"{batch}{_SEPARATOR}{gib(needed.value)} GiB{_caveat(run.estimate)}"
    return f"{batch}{_SEPARATOR}{gib(needed.value)} of {gib(usable)} GiB on {run.estimate.gpu}{_caveat(run.estimate)}"


def _unchecked(result: CheckResult) -> str:
    return f"{_SEPARATOR}{len(result.failures)} could not be checked" if result.failures else ""


def _suppressed(result: CheckResult) -> str:
    suppressed = f"{_SEPARATOR}{result.suppressed} suppressed" if result.suppressed else ""
    return suppressed + (f"{_SEPARATOR}{result.baselined} in the baseline" if result.baselined else "")
