"""What each optimizer keeps per trainable parameter, and what its step needs on top."""

from __future__ import annotations

import re
from typing import NamedTuple


class Optimizer(NamedTuple):
    """Memory of one optimizer.

    ``dtype_states``: states of the parameter's own dtype per element; ``fixed_bytes``: bytes per element whatever the
    dtype (8-bit states); ``step_copies``: temporary copies of all trainable parameters during the step (``foreach``).
    ``paged``: states live in managed memory, outside the caching allocator.
    """

    name: str
    dtype_states: float
    fixed_bytes: float
    step_copies: float
    source: str
    paged: bool = False

    def state_bytes(self, elements: int, bytes_each: float) -> int:
        return round(elements * (self.dtype_states * bytes_each + self.fixed_bytes))


_BLOCKWISE = 4 / 256
"""Scale of one 8-bit state: an fp32 maximum per block of 256 (bitsandbytes 0.45 ``optim/optimizer.py``)."""

ADAMW = Optimizer("AdamW", 2, 0, 1, "torch.optim 2.13 adamw.py: exp_avg, exp_avg_sq; foreach keeps sqrt(exp_avg_sq)")
_FUSED = ADAMW._replace(name="fused AdamW", step_copies=0, source="torch.optim 2.13 _fused_adamw: no temporary copies")
_ADAM_8BIT = Optimizer(
    "8-bit AdamW", 0, 2 * (1 + _BLOCKWISE), 0, "bitsandbytes 0.45: two 8-bit states in blocks of 256"
)
_LION = Optimizer("Lion", 1, 0, 1, "one momentum (Lion, arXiv 2302.06675)")
_LION_8BIT = Optimizer("8-bit Lion", 0, 1 + _BLOCKWISE, 0, "bitsandbytes 0.45: one 8-bit state in blocks of 256")
_SGD = Optimizer(
    "SGD with momentum", 1, 0, 1, "torch.optim 2.13 sgd.py: momentum_buffer; foreach copies decayed gradients"
)
_PLAIN_SGD = _SGD._replace(name="SGD", dtype_states=0)
_ADAFACTOR = Optimizer("Adafactor", 0, 0.02, 0.1, "row and column statistics (arXiv 1804.04235); no first moment")
_MUON = Optimizer("Muon", 1, 0, 0.5, "one momentum for matrices (torch.optim 2.13 _muon.py); orthogonalised one by one")
_ONE_STATE = Optimizer("one state per parameter", 1, 0, 1, "torch.optim 2.13: square_avg or sum")

_TABLE: tuple[tuple[str, Optimizer], ...] = (
    (r"lion.*8 ?bit|8 ?bit.*lion", _LION_8BIT),
    (r"lion", _LION),
    (r"muon", _MUON),
    (r"adafactor", _ADAFACTOR),
    (r"(adam|ademamix).*8 ?bit|8 ?bit.*adam|adamw?8", _ADAM_8BIT),
    (r"fused.*adam|adam.*fused|fusedadam", _FUSED),
    (r"adam|radam|lamb|nadam|prodigy|schedule ?free", ADAMW),
    (r"sgd|nesterov|momentum", _SGD),
    (r"rmsprop|adagrad|adadelta", _ONE_STATE),
)


def find_optimizer(name: str | None, momentum: float | None = None) -> Optimizer | None:
    """The optimizer that frameworks call ``name`` (``adamw_torch_fused``, ``PagedAdamW8bit``); None if unknown."""
    if name is None:
        return None
    text = re.sub(r"[_\-.]+", " ", name.lower())
    for pattern, optimizer in _TABLE:
        if re.search(pattern, text):
            found = _PLAIN_SGD if optimizer is _SGD and momentum == 0 else optimizer
            return found._replace(paged=True, name=f"paged {found.name}") if "paged" in text else found
    return None
