"""Times one estimate after start-up: the plan is read, the modules are there, nothing of its model is kept.

Usage: python tools/bench_estimates.py PATH...   (configs and folders of them)

For every kind of knowledge: how many plans got a figure, and the processor time of one estimate, each plan's the least
of five. The bar is 5 ms.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from vramlint.engine import CheckOptions, check
from vramlint.hardware import Target
from vramlint.hardware.catalogue import find_gpu
from vramlint.memory import estimate, named_models
from vramlint.memory.layers import planned
from vramlint.memory.resolve import resolve
from vramlint.plan import TrainingPlan

BAR_MS = 5.0
_KINDS = {
    "Decoder": "decoder by name or shape",
    "MegatronModel": "Megatron-LM model",
    "Profile": "traced profile",
    "NamedLedger": "layer by layer, by name",
    "LayerModel": "layer by layer, from the config",
}


class Timed(NamedTuple):
    """One plan's estimate; ``milliseconds`` of processor time."""

    path: str
    kind: str
    milliseconds: float


def measure(paths: Sequence[str], rounds: int = 5) -> list[Timed]:
    """The estimates of all runs of ``paths`` that get a figure."""
    before = gc.get_threshold()
    gc.set_threshold(1_000_000, 50, 50)  # as the command line does
    try:
        target = Target(find_gpu("a100-40gb"))
        runs = check(tuple(paths), CheckOptions(with_rules=False)).runs
        found = [_timed(run.reading.plan, target, rounds) for run in runs]
    finally:
        gc.set_threshold(*before)
    return [each for each in found if each is not None]


def _timed(plan: TrainingPlan, target: Target, rounds: int) -> Timed | None:
    if estimate(plan, target).allocated is None:  # and imports what it needs
        return None
    times = []
    for _ in range(rounds):
        planned._model.cache_clear()
        named_models.find_ledger.cache_clear()
        start = time.process_time()
        estimate(plan, target)
        times.append(time.process_time() - start)
    kind = type(resolve(plan).knowledge).__name__
    return Timed(plan.path, _KINDS.get(kind, kind), 1000 * min(times))


def table(timed: Sequence[Timed]) -> str:
    """A row a kind: plans, median, 90th percentile, worst, and how many miss the bar."""
    lines = ["| one estimate after start-up | plans | median | p90 | worst | over 5 ms |", "|---|---|---|---|---|---|"]
    for kind in sorted({each.kind for each in timed}):
        times = sorted(each.milliseconds for each in timed if each.kind == kind)
        middle, ninth = times[len(times) // 2], times[min(len(times) - 1, len(times) * 9 // 10)]
        over = sum(each > BAR_MS for each in times)
        lines.append(f"| {kind} | {len(times)} | {middle:.2f} ms | {ninth:.2f} ms | {times[-1]:.2f} ms | {over} |")
    return "\n".join(lines)


def main(paths: list[str]) -> int:
    """Prints the table and the slowest plans."""
    if not paths:
        print(__doc__.splitlines()[2], file=sys.stderr)
        return 2
    timed = measure(paths)
    print(table(timed))
    for each in sorted(timed, key=lambda row: -row.milliseconds)[:5]:
        print(f"{each.milliseconds:6.2f} ms  {each.path}")
    return 0 if all(each.milliseconds <= BAR_MS for each in timed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
