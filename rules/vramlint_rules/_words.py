"""How several rules word the same number."""

from __future__ import annotations

from vramlint.rule import GIB, MIB, Estimate, Repair, TrainingPlan


def size(size_bytes: int) -> str:
    """``9.2 GiB``, ``64 MiB``: GiB from one tenth of a GiB on."""
    return f"{size_bytes / GIB:.1f} GiB" if size_bytes >= GIB / 10 else f"{size_bytes / MIB:.0f} MiB"


def need(estimate: Estimate) -> str:
    """``9.2 GiB (8.4 to 10.1) of 7.8 usable on rtx3070-8gb``; the estimate must be known and have a GPU."""
    required, usable = estimate.required, estimate.usable_bytes
    if required is None or usable is None:
        return "an unknown amount"
    bounds = f"{required.low / GIB:.1f} to {required.high / GIB:.1f}"
    return f"{required.value / GIB:.1f} GiB ({bounds}) of {usable / GIB:.1f} usable on {estimate.gpu}"


def count(number: int, noun: str) -> str:
    """``1 GPU``, ``2 GPUs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def advice(repairs: tuple[Repair, ...], otherwise: str) -> str:
    """The best repair as a help sentence; ``otherwise`` where there is none."""
    if not repairs:
        return otherwise
    text = repairs[0].title
    return text[0].upper() + text[1:]


def memory_fact(plan: TrainingPlan) -> str:
    """The fact to point at for a finding about memory: the first of the usual causes that somebody spelled."""
    causes = ("micro_batch", "global_batch", "image_size", "seq_len", "model")
    return next((name for name in causes if plan.fact(name).location is not None), "micro_batch")


def activations_alone_exceed(estimate: Estimate) -> bool:
    """Sharding divides weights, gradients and optimizer states; the activations of a rank stay whole."""
    if estimate.required is None or estimate.usable_bytes is None:
        return False
    activations = sum(part.bytes for part in estimate.components if part.name == "activations")
    return activations * estimate.required.low > estimate.usable_bytes * estimate.required.value
