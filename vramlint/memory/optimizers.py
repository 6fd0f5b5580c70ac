"""What each optimizer keeps per trainable parameter, and what its step needs on top."""

from __future__ import annotations

import re

from vramlint.records import NamedTuple


class Optimizer(NamedTuple):
    """Memory of one optimizer.

    ``dtype_states``: states of the parameter's own dtype per element; ``fixed_bytes``: bytes per element whatever the
    dtype (8-bit states); ``step_copies``: temporary copies of all trainable parameters during the step (``foreach``).
    ``paged``: states live in managed memory, outside the caching allocator. ``largest_bytes``: temporary bytes per
    element of the weight that is stepped, of which the largest counts.
    """

    name: str
    dtype_states: float
    fixed_bytes: float
    step_copies: float
    source: str
    paged: bool = False
    largest_bytes: float = 0

    @property
    def overridden(self) -> bool:
        """Whether it is one of bitsandbytes' 8-bit ones, in which single weights can keep 32-bit states."""
        return "8-bit" in self.name and not self.largest_bytes

    @property
    def states(self) -> int:
        """How many states an element has."""
        return round(self.dtype_states + self.fixed_bytes) if self.overridden else round(self.dtype_states)

    def state_bytes(self, elements: int, bytes_each: float) -> int:
        return round(elements * (self.dtype_states * bytes_each + self.fixed_bytes))


_BLOCKWISE = 4 / 256
"""Scale of one 8-bit state: an fp32 maximum per block of 256 (bitsandbytes 0.45 ``optim/optimizer.py``)."""

ADAMW = Optimizer("AdamW", 2, 0, 1, "torch.optim 2.13 adamw.py: exp_avg, exp_avg_sq; foreach keeps sqrt(exp_avg_sq)")
_FUSED = ADAMW._replace(name="fused AdamW", step_copies=0, source="torch.optim 2.13 _fused_adamw: no temporary copies")
_ADAM_8BIT = Optimizer(
    "8-bit AdamW", 0, 2 * (1 + _BLOCKWISE), 0, "bitsandbytes 0.45: two 8-bit states in blocks of 256"
)
_TORCHAO_8BIT = _ADAM_8BIT._replace(
    name="torchao's 8-bit AdamW",
    # Read off the code that torch.compile makes of its step: both states, whole, in fp32 before they are quantised.
    source="torchao 0.18 optim/adam.py, compiled: two 8-bit states, both in fp32 for the weight stepped",
    largest_bytes=8,
)
_BNB_32BIT = "bitsandbytes (06029dd) optim/optimizer.py: fp32 states whatever the weights' dtype, no temporary copies"
_ADAM_32BIT = Optimizer("32-bit AdamW", 0, 8, 0, _BNB_32BIT)
_LION_32BIT = Optimizer("32-bit Lion", 0, 4, 0, _BNB_32BIT)
_ADEMAMIX_32BIT = Optimizer("32-bit AdEMAMix", 0, 12, 0, _BNB_32BIT)
_RMSPROP_32BIT = Optimizer("32-bit RMSprop", 0, 4, 0, _BNB_32BIT)
_RMSPROP_8BIT = Optimizer("8-bit RMSprop", 0, 1 + _BLOCKWISE, 0, "bitsandbytes 0.45: one 8-bit state in blocks of 256")
_LION = Optimizer("Lion", 1, 0, 1, "one momentum (Lion, arXiv 2302.06675)")
_LION_8BIT = Optimizer("8-bit Lion", 0, 1 + _BLOCKWISE, 0, "bitsandbytes 0.45: one 8-bit state in blocks of 256")
_SGD = Optimizer(
    "SGD with momentum", 1, 0, 1, "torch.optim 2.13 sgd.py: momentum_buffer; foreach copies decayed gradients"
)
_PLAIN_SGD = _SGD._replace(name="SGD", dtype_states=0)
_ADAFACTOR = Optimizer("Adafactor", 0, 0.02, 0.1, "row and column statistics (arXiv 1804.04235); no first moment")
_MUON = Optimizer("Muon", 1, 0, 0.5, "one momentum for matrices (torch.optim 2.13 _muon.py); orthogonalised one by one")
_ONE_STATE = Optimizer("one state per parameter", 1, 0, 1, "torch.optim 2.13: square_avg or sum")

_ADAMW_4BIT = Optimizer(
    "4-bit AdamW",
    0,
    2 * (0.5 + 4 / 128),
    0,
    "torchao 0.18 optim/adam.py: two 4-bit states in blocks of 128",
    largest_bytes=8,
)
_ADEMAMIX = Optimizer("AdEMAMix", 3, 0, 1, "two first moments and a second one (arXiv 2409.03137)")
_ADEMAMIX_8BIT = Optimizer(
    "8-bit AdEMAMix", 0, 3 * (1 + _BLOCKWISE), 0, "bitsandbytes 0.45 optim/ademamix.py: three 8-bit states"
)
_ADAM_MINI = Optimizer("Adam-mini", 1, 0, 1, "one first moment; a second one per block of a weight (arXiv 2406.16793)")
_SCHEDULE_FREE = Optimizer(
    "schedule-free AdamW", 2, 0, 1, "schedulefree 1.4 adamw_schedulefree.py: z and exp_avg_sq; x takes z's place"
)
_SCHEDULE_FREE_SGD = _SCHEDULE_FREE._replace(name="schedule-free SGD", dtype_states=1)

_TABLE: tuple[tuple[str, Optimizer | None], ...] = (
    # States of a rank that the config need not spell, or none at all: better unknown than taken for AdamW's.
    (r"galore|apollo|q ?galore|lomo|shampoo|soap|distributed muon", None),
    (r"ademamix.*8 ?bit|8 ?bit.*ademamix", _ADEMAMIX_8BIT),
    (r"torchao.*adamw?.*(8 ?bit|fp8)|adamw torch (8bit|fp8)", _TORCHAO_8BIT),
    (r"paged.*ademamix", _ADEMAMIX_32BIT),
    (r"ademamix", _ADEMAMIX),
    (r"adam ?mini", _ADAM_MINI),
    (r"adamw?.*4 ?bit|4 ?bit.*adam", _ADAMW_4BIT),
    (r"sgd.*schedule ?free|schedule ?free.*sgd", _SCHEDULE_FREE_SGD),
    (r"schedule ?free", _SCHEDULE_FREE),
    (r"lion.*8 ?bit|8 ?bit.*lion", _LION_8BIT),
    (r"paged.*lion|lion.*32 ?bit", _LION_32BIT),
    (r"lion", _LION),
    (r"muon", _MUON),
    (r"adafactor", _ADAFACTOR),
    (r"adam.*8 ?bit|8 ?bit.*adam|adamw?8", _ADAM_8BIT),
    (r"paged.*adam|adam.*(bnb|32 ?bit)", _ADAM_32BIT),
    (r"rmsprop.*8 ?bit", _RMSPROP_8BIT),
    (r"rmsprop.*(bnb|32 ?bit)", _RMSPROP_32BIT),
    (r"fused.*adam|adam.*fused|fusedadam", _FUSED),
    (r"adam|radam|lamb|nadam|prodigy", ADAMW),
    (r"sgd|nesterov|momentum", _SGD),
    (r"rmsprop|adagrad|adadelta", _ONE_STATE),
)

_USUAL = {"adamw": ADAMW, "adam": ADAMW, "sgd": _SGD}
"""What most configs say, without a look through the table."""


def other_libraries(name: str | None, found: Optimizer | None) -> Optimizer | None:
    """What ``name`` may be beside ``found``: bitsandbytes and torchao both call a class ``AdamW8bit``."""
    is_class = re.match(r"adamw?8bit", (name or "").lower())  # transformers' word adamw_8bit is bitsandbytes'
    return _TORCHAO_8BIT if found is _ADAM_8BIT and is_class else None


def find_optimizer(name: str | None, momentum: float | None = None) -> Optimizer | None:
    """The optimizer that frameworks call ``name`` (``adamw_torch_fused``, ``PagedAdamW8bit``); None if unknown."""
    if name is None:
        return None
    usual = _USUAL.get(name.lower())
    if usual is not None:
        return _PLAIN_SGD if usual is _SGD and momentum == 0 else usual
    text = re.sub(r"[_\-.]+", " ", name.lower())
    for pattern, optimizer in _TABLE:
        if re.search(pattern, text):
            if optimizer is None:
                return None
            found = _PLAIN_SGD if optimizer is _SGD and momentum == 0 else optimizer
            return found._replace(paged=True, name=f"paged {found.name}") if "paged" in text else found
    return None
