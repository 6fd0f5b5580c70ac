"""What a run keeps for each parameter, taken from the estimate of one unsharded rank."""

from __future__ import annotations

from typing import NamedTuple

from vramlint.rule import Run, revise

_WEIGHTS = ("parameters", "frozen parameters", "base linear layers", "embeddings and norms", "adapters", "EMA weights")
_OPTIMIZER = ("states", "master weights")


class States(NamedTuple):
    """Bytes over all ranks: of the weights, and of what the optimizer keeps."""

    weights: int
    optimizer: int


def states(run: Run) -> States | None:
    """The whole model's states; None where the model is unknown."""
    estimate = run.estimate(revise(run.plan, {"sharding": "none"}))
    if estimate.required is None:
        return None
    parts = [(part.name, part.bytes) for part in estimate.components]
    return States(
        sum(size for name, size in parts if name in _WEIGHTS),
        sum(size for name, size in parts if name.endswith(_OPTIMIZER)),
    )
