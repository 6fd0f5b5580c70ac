"""Effective-batch arithmetic: how many samples one optimizer step sees, in each of the ways frameworks count.

The ways are named for what they do, never for a framework. Sources for who uses which: ``docs/batch.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from vramlint.plan.facts import Fact, Origin, derived, unknown
from vramlint.plan.model import PLAN_FACTS, BatchInputs, BatchPolicy, BatchResult, TrainingPlan


class PerRank(NamedTuple):
    """Micro batch per rank and explicit accumulation: effective = micro batch x data-parallel ranks x accumulation."""

    def derive(self, inputs: BatchInputs) -> BatchResult:
        micro, steps, ranks = inputs.micro_batch, inputs.accumulation, inputs.data_parallel
        if micro is None or steps is None or ranks is None:
            return BatchResult(steps, None, "", _missing(inputs))
        return BatchResult(steps, micro * ranks * steps, "", f"{micro} x {_ranks(ranks)} x {_steps(steps)}")


class NominalAccumulation(NamedTuple):
    """A GLOBAL batch, accumulated towards a nominal batch: steps = max(round(nominal / global), 1).

    Python's ``round`` goes half to even, so a batch of twice the nominal one gives 0 and the maximum makes it 1.
    Source: Ultralytics 8.4.190, ``ultralytics/engine/trainer.py``: ``max(round(self.args.nbs / self.batch_size), 1)``.
    """

    def derive(self, inputs: BatchInputs) -> BatchResult:
        micro, ranks, nominal = inputs.micro_batch, inputs.data_parallel, inputs.nominal_batch
        if micro is None or ranks is None or nominal is None:
            return BatchResult(None, None, "", _missing(inputs))
        batch = micro * ranks
        steps = max(round(nominal / batch), 1)
        return BatchResult(steps, batch * steps, f"max(round({nominal} / {batch}), 1)", f"{batch} x {_steps(steps)}")


class FlooredAccumulation(NamedTuple):
    """A GLOBAL batch to aim at and two floors: steps = (nominal // ranks) // micro batch.

    The effective batch, micro batch x ranks x steps, may be smaller than the nominal one; no step at all is an error
    of the run. Source: litgpt 0.5.13, ``litgpt/args.py#TrainArgs.gradient_accumulation_iters``.
    """

    def derive(self, inputs: BatchInputs) -> BatchResult:
        micro, ranks, nominal = inputs.micro_batch, inputs.data_parallel, inputs.nominal_batch
        if micro is None or ranks is None or nominal is None:
            return BatchResult(None, None, _missing(inputs), _missing(inputs))
        steps = nominal // ranks // micro
        note = f"{nominal} // {ranks} // {micro}"
        if steps == 0:
            return BatchResult(None, None, f"{note} is no step at all", f"{note} is no step at all")
        return BatchResult(steps, micro * ranks * steps, note, f"{micro} x {_ranks(ranks)} x {_steps(steps)}")


class DividedAccumulation(NamedTuple):
    """A GLOBAL batch to reach exactly: steps = nominal / (micro batch x ranks); a remainder is an error of the run.

    Without a nominal batch one micro batch a rank is the step. Sources: Megatron-LM 2026-08
    ``core/num_microbatches_calculator.py#ConstantNumMicroBatchesCalculator``, torchtitan 0.2.0 ``train.py`` line 197.
    """

    def derive(self, inputs: BatchInputs) -> BatchResult:
        micro, ranks, nominal = inputs.micro_batch, inputs.data_parallel, inputs.nominal_batch
        if micro is None or ranks is None:
            missing = _missing(inputs._replace(accumulation=1))
            # The step sees the global batch whatever the ranks; only how it is cut up is open.
            return BatchResult(None, nominal, missing, f"global batch {nominal}" if nominal else missing)
        if nominal is None:
            return BatchResult(1, micro * ranks, "no global batch: one step", f"{micro} x {_ranks(ranks)}")
        note = f"{nominal} / ({micro} x {_ranks(ranks)})"
        if nominal % (micro * ranks):
            return BatchResult(None, None, f"{note} leaves a remainder", f"{note} leaves a remainder")
        steps = nominal // (micro * ranks)
        return BatchResult(steps, nominal, note, f"{micro} x {_ranks(ranks)} x {_steps(steps)}")


class CeiledAccumulation(NamedTuple):
    """A GLOBAL batch shared out over the ranks and cut into micro batches, the last of which may be smaller.

    steps = ceil(nominal / ranks / micro batch); the step always sees the whole nominal batch, which has to divide by
    the ranks. Source: llm-foundry 0.21 ``utils/config_utils.py#calculate_batch_size_info``.
    """

    def derive(self, inputs: BatchInputs) -> BatchResult:
        micro, ranks, nominal = inputs.micro_batch, inputs.data_parallel, inputs.nominal_batch
        if nominal is None:
            return BatchResult(None, None, "global batch unknown", "global batch unknown")
        if ranks is None:
            return BatchResult(None, nominal, "data parallel unknown", f"global batch {nominal}")
        if nominal % ranks:
            note = f"{nominal} over {_ranks(ranks)} leaves a remainder"
            return BatchResult(None, None, note, note)
        share = nominal // ranks
        if micro is None:
            return BatchResult(None, nominal, "micro batch unknown", f"{share} x {_ranks(ranks)}")
        return BatchResult(-(-share // micro), nominal, f"ceil({share} / {micro})", f"{share} x {_ranks(ranks)}")


class SharedAccumulation(NamedTuple):
    """An accumulation of ``total`` steps over ALL ranks: each rank takes its share, so the ranks cancel out.

    Whoever fills the plan gives each rank's share as its accumulation; without one, the ranks are unknown or do not
    divide ``total``, which is an error of the run. Source: nanoGPT ``train.py`` lines 94-95.
    """

    total: int

    def derive(self, inputs: BatchInputs) -> BatchResult:
        if inputs.accumulation is not None or inputs.micro_batch is None:
            return PerRank().derive(inputs)
        if inputs.data_parallel is None:
            note = f"{inputs.micro_batch} x {_steps(self.total)} over all GPUs"
            return BatchResult(None, inputs.micro_batch * self.total, "shared out over the GPUs", note)
        note = f"{_steps(self.total)} over {_ranks(inputs.data_parallel)} leave a remainder"
        return BatchResult(None, None, note, note)


def rederive(plan: TrainingPlan) -> TrainingPlan:
    """``plan`` with everything its policy derives worked out from the plan's own facts.

    A spelled accumulation stays as it is; a plan without a policy is returned unchanged.
    """
    if plan.policy is None:
        return plan
    accumulation, effective = _worked_out(plan, plan.policy)
    return replace(plan, accumulation=accumulation, effective_batch=effective)


def close_batch(plan: TrainingPlan, policy: BatchPolicy) -> None:
    """Give a plan in the making its policy and what that derives, as ``rederive`` does for a copy."""
    plan.policy = policy
    plan.accumulation, plan.effective_batch = _worked_out(plan, policy)


def _worked_out(plan: TrainingPlan, policy: BatchPolicy) -> tuple[Fact[int], Fact[int]]:
    """The accumulation and the effective batch by ``policy``."""
    inputs = BatchInputs(
        plan.micro_batch.value, plan.accumulation.value, plan.data_parallel.value, plan.nominal_batch.value
    )
    result = policy.derive(inputs)
    accumulation = plan.accumulation
    if result.accumulation_note:
        accumulation = _derived(result.accumulation, result.accumulation_note)
    return accumulation, _derived(result.effective_batch, result.effective_note)


def revise(plan: TrainingPlan, values: Mapping[str, object]) -> TrainingPlan:
    """The plan after a repair: ``values`` (fact name to new value) replaced, everything derived worked out again."""
    changed: dict[str, Any] = {name: _with_value(plan, name, values[name]) for name in values if name in PLAN_FACTS}
    extra = {name: _with_value(plan, name, values[name]) for name in values if name not in PLAN_FACTS}
    return rederive(replace(plan, extra={**plan.extra, **extra}, **changed))


def _with_value(plan: TrainingPlan, name: str, value: object) -> Fact[Any]:
    return plan.fact(name)._replace(value=value, origin=Origin.DERIVED)


def _derived(value: int | None, note: str) -> Fact[int]:
    return unknown(note) if value is None else derived(value, note)


def _missing(inputs: BatchInputs) -> str:
    names = {
        "micro_batch": inputs.micro_batch,
        "accumulation": inputs.accumulation,
        "data_parallel": inputs.data_parallel,
    }
    absent = [name.replace("_", " ") for name, value in names.items() if value is None]
    return f"{' and '.join(absent) or 'nominal batch'} unknown"


def _ranks(count: int) -> str:
    return f"{count} GPU" if count == 1 else f"{count} GPUs"


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"
