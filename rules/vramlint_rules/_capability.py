"""How rules word what a card cannot do."""

from __future__ import annotations

from vramlint.rule import Gpu, Run


def older_than(run: Run, least: tuple[int, int]) -> Gpu | None:
    """The target's GPU where it is known to be below the compute capability ``least``, else None."""
    gpu = run.target.gpu
    return gpu if gpu is not None and gpu.known_capability and gpu.capability < least else None


def capability(gpu: Gpu) -> str:
    """``t4 (compute capability 7.5)``."""
    return f"{gpu.name} (compute capability {gpu.capability[0]}.{gpu.capability[1]})"
