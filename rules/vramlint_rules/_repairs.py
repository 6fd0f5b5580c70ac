"""Repairs of one value, as most rules offer them."""

from __future__ import annotations

from vramlint.rule import Change, Estimate, MemoryVerdict, Repair, Run, Safety, TrainingPlan, revise


def write(run: Run, fact: str, *, to: object, safety: Safety, why: str = "") -> tuple[Repair, ...]:
    """The repair that gives ``fact`` the plan value ``to``; none where no file has a place for it.

    ``why`` is added to the title in parentheses.
    """
    if not run.editable(fact):
        return ()
    name = run.spelling(fact)
    match to:
        case None:
            title = f"remove {name}"
        case True:
            title = f"switch on {name}"
        case False:
            title = f"switch off {name}"
        case _:
            title = f"set {name} to {to}"
    return (Repair(f"{title} ({why})" if why else title, safety, (Change(fact, to),)),)


def is_language(plan: TrainingPlan) -> bool:
    """Whether the run trains on tokens."""
    return plan.seq_len.value is not None or plan.model_shape.value is not None or plan.task.value == "causal-lm"


def with_steps(run: Run) -> tuple[Repair, ...]:
    """The repairs that make a run fit, and where none keeps the experiment, every single step that would help."""
    repairs = tuple(run.repairs_to_fit())
    if any(repair.safety is Safety.SAFE for repair in repairs):
        return repairs
    said = [_facts(repair) for repair in repairs]
    steps = run.steps_to_fit()
    rung = {fact: number for number, step in enumerate(steps) for fact in _facts(step)}
    merged = (*repairs, *(step for step in steps if _facts(step) not in said))
    return tuple(sorted(merged, key=lambda repair: max(rung.get(fact, -1) for fact in _facts(repair))))


def _facts(repair: Repair) -> set[str]:
    return {change.fact for change in repair.changes}


def is_plain(plan: TrainingPlan) -> bool:
    """Whether one model in one forward pass is all there is: the estimator knows no reference models and rollouts, so
    that for the rest "more would fit" is not to be said."""
    return plan.fact("objective").value is None and plan.fact("responses_per_prompt").value is None


def fits_sharded(run: Run) -> bool:
    """Whether the run fits once its states are shared out over the ranks, which a launch that is not at hand may do."""
    if (run.plan.data_parallel.value or 1) < 2:
        return False
    return run.estimate(revise(run.plan, {"sharding": "fsdp"})).verdict is MemoryVerdict.FITS


def may_be_sharded(plan: TrainingPlan) -> bool:
    """Language models are often launched under FSDP or ZeRO by a file that is not at hand; images hardly ever are.

    A run that is known to shard, over nobody knows how many ranks, is counted as one rank's.
    """
    is_language = plan.seq_len.value is not None or plan.model_shape.value is not None
    if plan.world_size.value is None and plan.sharding.value not in (None, "none", "ddp"):
        return True
    return is_language and plan.sharding.value is None and plan.world_size.value != 1


_STATES = ("states", "master weights")
_WEIGHTS = ("parameters", "frozen parameters", "base linear layers", "embeddings and norms")


def offloaded_bytes(plan: TrainingPlan, estimate: Estimate) -> int:
    """What the run keeps in host memory instead of on the card, as far as the estimate counts it among its parts."""
    states = plan.fact("offload_optimizer").value or plan.fact("cpu_offload").value
    weights = plan.fact("offload_parameters").value
    return sum(
        part.bytes
        for part in estimate.components
        if ((states or weights) and part.name.endswith(_STATES)) or (weights and part.name in _WEIGHTS)
    )
