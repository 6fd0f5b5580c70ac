"""How repairs are worded: the file's own names, the arithmetic that stays true, the memory that is won."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from vramlint.hardware.model import GIB
from vramlint.memory.model import Estimate
from vramlint.plan import ImageSize, Precision, TrainingPlan, revise


class Names(Protocol):
    """What the wording needs to know of a run."""

    @property
    def plan(self) -> TrainingPlan: ...
    def spelling(self, fact: str) -> str: ...


def gib(size_bytes: int) -> str:
    """``9.2 GiB``."""
    return f"{size_bytes / GIB:.1f} GiB"


def title(names: Names, values: Mapping[str, object], after: Estimate | None = None, note: str = "") -> str:
    """``set batch_size to 2 and accum to 6 (effective batch stays 24 = 2 x 2 x 6): 7.1 GiB``.

    The memory after the repair is told where ``after`` is given; ``note`` joins the remark in parentheses.
    """
    parts = [_phrase(names, fact, value) for fact, value in values.items()]
    text = _join(parts)
    remark = ", ".join(part for part in (_batch_remark(names.plan, values), *_costs(values), note) if part)
    if remark:
        text += f" ({remark})"
    if after is not None and after.required is not None:
        text += f": {gib(after.required.value)}"
    return text


_COSTS = {
    "grad_checkpointing": "a fifth to a third slower",
    "image_size": "another experiment",
    "num_queries": "another experiment",
    "multi_scale": "another experiment",
}
"""What a switch costs besides memory; a smaller micro batch at the same effective batch costs little."""


def _costs(values: Mapping[str, object]) -> list[str]:
    """Each cost once, for values that give something up."""
    given_up = [fact for fact, value in values.items() if fact != "grad_checkpointing" or value is True]
    return list(dict.fromkeys(_COSTS[fact] for fact in given_up if fact in _COSTS))


def saving(before: Estimate, after: Estimate) -> str:
    """``saves 3.1``, in GiB; empty where that is below the tenth that would be shown."""
    if before.required is None or after.required is None:
        return ""
    saved = before.required.value - after.required.value
    return f"saves {saved / GIB:.1f}" if saved >= GIB / 20 else ""


def _join(parts: list[str]) -> str:
    """``set a to 1, b to 2 and switch on c``: one verb serves its neighbours."""
    said: list[str] = []
    for part in parts:
        repeats = said and part.startswith("set ") and any(item.startswith("set ") for item in said)
        said.append(part.removeprefix("set ") if repeats else part)
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"


def _phrase(names: Names, fact: str, value: object) -> str:
    name = names.spelling(fact)
    match value:
        case None:
            return f"remove {name}"
        case Precision() if value.mixed:
            return f"use {value.value} autocast" + (f" ({name})" if name != "precision" else "")
        case True:
            return f"switch on {name}"
        case False:
            return f"switch off {name}"
        case _:
            return f"set {name} to {_shown(names, fact, value)}"


def _shown(names: Names, fact: str, value: object) -> str:
    """The number as the file spells it: a global batch is shown as such."""
    plan = names.plan
    ranks = plan.data_parallel.value or 1
    if fact == "micro_batch" and isinstance(value, int) and ranks > 1 and _spells_global(plan, ranks):
        return f"{value * ranks} ({value} per GPU)"
    if isinstance(value, ImageSize) and value.height == value.width:
        return str(value.height)
    return str(value)


def _spells_global(plan: TrainingPlan, ranks: int) -> bool:
    micro, total = plan.micro_batch.value, plan.global_batch
    return micro is not None and total.spelled and total.value is not None and total.value // ranks == micro


def _batch_remark(plan: TrainingPlan, values: Mapping[str, object]) -> str:
    if not {"micro_batch", "accumulation"} & values.keys():
        return ""
    before, after = plan.effective_batch.value, revise(plan, values)
    if before is None or after.effective_batch.value is None:
        return _remark_per_rank(plan, after)
    kept = before == after.effective_batch.value
    return f"effective batch {'stays' if kept else f'{before} ->'} {arithmetic(after)}"


def _remark_per_rank(plan: TrainingPlan, after: TrainingPlan) -> str:
    """What can be said where nobody knows the number of ranks."""
    before, then = ((one.micro_batch.value or 0) * (one.accumulation.value or 0) for one in (plan, after))
    if not before or not then:
        return ""
    product = f"{then} = {after.micro_batch.value} x {after.accumulation.value}"
    return f"effective batch per GPU {'stays' if before == then else f'{before} ->'} {product}"


def arithmetic(plan: TrainingPlan) -> str:
    """``24 = 2 x 2 x 6``: micro batch x data-parallel ranks x accumulation steps; factors nobody needs left out."""
    effective = plan.effective_batch.value
    micro, ranks, steps = plan.micro_batch.value, plan.data_parallel.value, plan.accumulation.value
    if micro is None or ranks is None or steps is None or micro * ranks * steps != effective:
        return str(effective)
    factors = [micro, *([ranks] if ranks > 1 else []), *([steps] if steps > 1 else [])]
    return f"{effective} = {' x '.join(map(str, factors))}" if len(factors) > 1 else str(effective)
