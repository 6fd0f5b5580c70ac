"""What each optimizer keeps per trainable parameter, and what its step needs on top."""

from __future__ import annotations

import re
from typing import NamedTuple

from vramlint.memory.matrix_states import Matrices
from vramlint.memory.optimizer_names import states_by_name


class Optimizer(NamedTuple):
    """Memory of one optimizer.

    ``dtype_states``: states of the parameter's own dtype per element; ``fixed_bytes``: bytes per element whatever the
    dtype (8-bit states); ``step_copies``: temporary copies of all trainable parameters during the step (``foreach``).
    ``paged``: states live in managed memory, outside the caching allocator. ``largest_bytes``: temporary bytes per
    element of the weight that is stepped, of which the largest counts. ``half_states``: further states of 16-bit
    parameters alone. ``steps_in_backward``: each weight is stepped as soon as its gradient is there, which is freed.
    ``matrices``: what the weights of linear layers keep instead, where it follows their shape.
    """

    name: str
    dtype_states: float
    fixed_bytes: float
    step_copies: float
    source: str
    paged: bool = False
    largest_bytes: float = 0
    half_states: float = 0
    steps_in_backward: bool = False
    matrices: Matrices | None = None

    @property
    def overridden(self) -> bool:
        """Whether it is one of bitsandbytes' 8-bit ones, in which single weights can keep 32-bit states."""
        return "8-bit" in self.name and not self.largest_bytes

    @property
    def states(self) -> int:
        """How many states an element has."""
        return round(self.dtype_states + self.fixed_bytes) if self.overridden else round(self.dtype_states)

    def state_bytes(self, elements: int, bytes_each: float) -> int:
        states = self.dtype_states + (self.half_states if bytes_each == HALF_BYTES else 0)
        return round(elements * (states * bytes_each + self.fixed_bytes))


HALF_BYTES = 2
"""Bytes of a bf16 or fp16 weight."""

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
_ADAFACTOR_BV = _ADAFACTOR._replace(
    name="Adafactor with momentum",
    fixed_bytes=2.02,
    source="timm 1.0.31 adafactor_bv.py: bf16 momentum, factored squares",
)
_MUON = Optimizer("Muon", 1, 0, 0.5, "one momentum for matrices (torch.optim 2.13 _muon.py); orthogonalised one by one")
_MUON_AND_ADAMW = _MUON._replace(
    name="Muon and AdamW",
    dtype_states=2,
    matrices=Matrices("Muon", states=1),
    source="LLaMA-Factory 0.9.5 _create_muon_optimizer: one momentum for the blocks' matrices, AdamW for the rest",
)
_SINKGD = Optimizer(
    "SinkGD", 0, 2 * (1 + _BLOCKWISE), 0, "axolotl 0.19.0 utils/optimizers/sinkgd.py: no state for matrices, "
    "torchao's 8-bit AdamW for the rest", largest_bytes=8, matrices=Matrices("SinkGD"),
)  # fmt: skip
_SOAP = Optimizer(
    "SOAP", 2, 0, 0, "pytorch_optimizer 4.1.0 optimizer/soap.py: two moments; covariances and their bases per side of "
    "a matrix up to 10,000", largest_bytes=16, matrices=Matrices("SOAP", states=2, per_square=8, largest_side=10_000),
)  # fmt: skip
_LOMO = Optimizer(
    "LOMO", 0, 0, 0, "lomo_optim 0.1.1 lomo.py: no state; each weight is updated in backward, in fp32 copies",
    largest_bytes=8, steps_in_backward=True,
)  # fmt: skip
_ADALOMO = _LOMO._replace(
    name="AdaLOMO", fixed_bytes=0.01, largest_bytes=16,
    source="lomo_optim 0.1.1 adalomo.py: fp32 row and column statistics; each weight is updated in backward",
)  # fmt: skip
_PRODIGY = Optimizer(
    "Prodigy", 4, 0, 0, "prodigyopt 1.1.2 prodigy.py: s, p0, exp_avg, exp_avg_sq (slice_p is 1 by default)",
    largest_bytes=8,
)  # fmt: skip
_GROKADAMW = Optimizer(
    "GrokAdamW", 0, 0, 0, "grokadamw 0.1.2 grokadamw.py: three states in host memory, on the card one weight at a time",
    largest_bytes=24,
)  # fmt: skip
_ADAMW_BF16 = Optimizer(
    "bf16 AdamW", 3, 0, 0, "SimpleTuner 2026-08 adamw_bfloat16: exp_avg, exp_avg_sq and shift in the weights' dtype"
)
_OPTIMI = Optimizer(
    "optimi's AdamW", 2, 0, 1, "torch-optimi 0.3.3: exp_avg, exp_avg_sq; Kahan compensation beside 16-bit weights",
    half_states=1,
)  # fmt: skip
_OPTIMI_LION = _OPTIMI._replace(
    name="optimi's Lion", dtype_states=1, source="torch-optimi 0.3.3 lion.py: exp_avg; Kahan compensation as its AdamW"
)
_CAME = Optimizer(
    "CAME", 0, 4.02, 0,
    "came-pytorch 0.1.3 CAME.py: fp32 exp_avg whatever the weights' dtype; row and column statistics",
    largest_bytes=12,
)  # fmt: skip
_FLASH_SOURCE = "flashoptim 0.1.4 optimizers.py: 8-bit states with fp16 scales per group of 32; 24-bit master weights"
_FLASH_ADAM = Optimizer("Flash AdamW", 0, 2 * (1 + 2 / 32), 0, _FLASH_SOURCE, half_states=0.5)
_FLASH_ONE = _FLASH_ADAM._replace(name="Flash SGD or Lion", fixed_bytes=1 + 2 / 32)
_ON_HOST = Optimizer(
    "torchao's offloaded optimizer", 0, 0, 0, "torchao 0.18 optim/cpu_offload.py: states and step in host memory"
)
_LAMB_8BIT = Optimizer("8-bit LAMB", 0, 2, 0, "bitsandbytes 0.50.2 optim/lamb.py: two 8-bit states, not blockwise")
_LARS_8BIT = Optimizer("8-bit LARS", 0, 1, 0, "bitsandbytes 0.50.2 optim/lars.py: one 8-bit state, not blockwise")
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

_PROJECTED = "both moments of the projected gradients and the projections, of the linear layers in the blocks"
_GALORE = Optimizer(
    "GaLore AdamW", 2, 0, 0, f"galore_torch 1.0 adamw.py: {_PROJECTED}; the decomposition's workspace left out",
    largest_bytes=12, matrices=Matrices("GaLore", states=2, projects=True, keeps_square=True),
)  # fmt: skip
_GALORE_8BIT = _GALORE._replace(
    name="8-bit GaLore AdamW", dtype_states=0, fixed_bytes=2 * (1 + _BLOCKWISE),
    matrices=Matrices("GaLore", fixed_bytes=2 * (1 + _BLOCKWISE), projects=True, keeps_square=True),
    source=f"galore_torch 1.0 adamw8bit.py: {_PROJECTED}; the decomposition's workspace left out",
)  # fmt: skip
_GALORE_ADAFACTOR = _GALORE._replace(
    name="GaLore Adafactor", dtype_states=0, fixed_bytes=0.02,
    matrices=Matrices("GaLore", fixed_bytes=0.02, projects=True, keeps_square=True, in_fp32=True),
    source=f"galore_torch 1.0 adafactor.py: {_PROJECTED}, factored; the decomposition's workspace left out",
)  # fmt: skip
_APOLLO = _GALORE._replace(
    name="APOLLO", largest_bytes=8, matrices=Matrices("APOLLO", states=2, projects=True),
    source=f"apollo_torch 1.0.3 apollo.py: {_PROJECTED}, which are random",
)  # fmt: skip

_TABLE: tuple[tuple[str, Optimizer | None], ...] = (
    # States of a rank that the config need not spell, or none at all: better unknown than taken for AdamW's.
    (r"q ?galore|galore.*full|shampoo|distributed muon|kron|polora|dion|lbfgs|hessian", None),
    (r"galore.*adafactor", _GALORE_ADAFACTOR),
    (r"galore.*8 ?bit", _GALORE_8BIT),
    (r"galore", _GALORE),
    (r"apollo.*adamw|adamw.*apollo", _APOLLO),
    (r"adalomo", _ADALOMO),
    (r"lomo", _LOMO),
    (r"sinkgd", _SINKGD),
    (r"soap", _SOAP),
    (r"cpu ?offload ?optimizer", _ON_HOST),
    (r"muon and adamw", _MUON_AND_ADAMW),
    (r"prodigy", _PRODIGY),
    (r"grok ?adam", _GROKADAMW),
    (r"optimi lion", _OPTIMI_LION),
    (r"stable ?adam ?w|optimi ", _OPTIMI),
    (r"adam ?w? (bf16|bfloat16)|adam bfloat16", _ADAMW_BF16),
    (r"\bcame\b|came pytorch", _CAME),
    (r"flash ?adam", _FLASH_ADAM),
    (r"flash ?(sgd|lion)", _FLASH_ONE),
    (r"lamb.*8 ?bit", _LAMB_8BIT),
    (r"lars.*8 ?bit", _LARS_8BIT),
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
    (r"c ?adafactor$", _ADAFACTOR._replace(name="cautious Adafactor", dtype_states=1)),
    (r"adafactor ?bv", _ADAFACTOR_BV),
    (r"adafactor", _ADAFACTOR),
    (r"adam.*8 ?bit|8 ?bit.*adam|adamw?8", _ADAM_8BIT),
    (r"paged.*adam|adam.*(bnb|32 ?bit)", _ADAM_32BIT),
    (r"rmsprop.*8 ?bit", _RMSPROP_8BIT),
    (r"(sgd|adagrad).*8 ?bit", _RMSPROP_8BIT._replace(name="8-bit SGD or Adagrad")),
    (r"rmsprop.*(bnb|32 ?bit)", _RMSPROP_32BIT),
    (r"fused.*adam|adam.*fused|fusedadam", _FUSED),
    (r"adam|radam|lamb|nadam", ADAMW),
    (r"sgd|nesterov|momentum", _SGD),
    (r"rmsprop|adagrad", _ONE_STATE),
)

_USUAL = {"adamw": ADAMW, "adam": ADAMW, "sgd": _SGD}
"""What most configs say, without a look through the table."""


MEASURED = "states of real steps, timm 1.0.31 and pytorch_optimizer 4.1.0 (memory/optimizer_names.py)"
"""The source of what is known by name alone."""


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
    measured = states_by_name(name)
    if measured is not None and "8bit" not in text:
        return Optimizer(name.rsplit(".", 1)[-1], measured, 0, 0, MEASURED, largest_bytes=8)
    for pattern, optimizer in _TABLE:
        if re.search(pattern, text):
            return _as_named(text, optimizer, momentum)
    return None


def _as_named(text: str, optimizer: Optimizer | None, momentum: float | None) -> Optimizer | None:
    """What a row of the table stands for under a name that says more: paged, layer by layer, without momentum; None
    where it says states of fewer bits than the row has."""
    if optimizer is None or (re.search(r"[48] ?bit", text) and "-bit" not in optimizer.name):
        return None
    if "layerwise" in text:
        return optimizer._replace(steps_in_backward=True, name=f"layerwise {optimizer.name}")
    if optimizer is _ONE_STATE and "rmsprop" in text and momentum:
        return _ONE_STATE._replace(name="RMSprop with momentum", dtype_states=2)
    found = _PLAIN_SGD if optimizer is _SGD and momentum == 0 else optimizer
    return found._replace(paged=True, name=f"paged {found.name}") if "paged" in text else found
