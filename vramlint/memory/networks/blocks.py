"""The block that encoders share: attention and two or three linear layers, norms before or after.

Sources: transformers 5.24 ``models/{bert,roberta,electra,distilbert,vit,deit,dinov2,clip}/modeling_*.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.tape import Tensor
from vramlint.memory.networks.parts import Attending, LayerNorm, Linear, attend, gelu_new, scaled_by
from vramlint.memory.networks.stepping import Run


class Shape(NamedTuple):
    """Sizes of a stack of blocks, and how a block is built.

    ``before``: norms stand before attention and MLP. ``activation`` as transformers calls it. ``dropout`` of each half,
    ``attention_dropout`` of the scores. ``scales``: each half is scaled by a learnt vector. ``gated``: the MLP has a
    SiLU gate. ``names``: of queries', keys', values', output's, inner and outer linear layers.
    """

    width: int
    ffn: int
    heads: int
    layers: int
    before: bool = True
    activation: str = "gelu"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    query_bias: bool = True
    key_bias: bool = True
    scales: bool = False
    gated: bool = False
    drops: tuple[bool, bool] = (True, True)
    """Whether dropout follows attention, and the MLP."""
    begins_late: bool = False
    """Whether a checkpointed block's last gradients are there before it is worked out again: traces of ViT show it,
    those of CLIP and DINOv2 do not."""
    holds_inner: bool = False
    """Whether the MLP's inner tensor stays until the block's last norm has run, as BERT's local variable does."""
    causal: bool = False
    names: tuple[str, str, str, str, str, str] = (
        "query/q_proj", "key/k_proj", "value/v_proj", "dense/o_proj/out_proj", "dense/fc1", "dense/fc2",
    )  # fmt: skip


class Block:
    """One block; ``mask`` is of the batch that runs."""

    def __init__(self, run: Run, shape: Shape) -> None:
        self.run, self.shape = run, shape
        h, names = shape.width, shape.names
        self.query = Linear(run, names[0], h, h, bias=shape.query_bias)
        self.key = Linear(run, names[1], h, h, bias=shape.query_bias and shape.key_bias)
        self.value = Linear(run, names[2], h, h, bias=shape.query_bias)
        self.out = Linear(run, names[3], h, h)
        self.norms = LayerNorm(run, h), LayerNorm(run, h)
        self.up = [Linear(run, names[4], h, shape.ffn) for _ in range(2 if shape.gated else 1)]
        self.down = Linear(run, names[5], shape.ffn, h)
        self.scales = [run.weight(h), run.weight(h)] if shape.scales else []
        self.mask: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        held: list[Tensor] = []
        x = self._half(x, self._attended, 0, held)
        return self._half(x, self._fed, 1, held)

    def _half(
        self, x: Tensor, function: Callable[[Tensor, list[Tensor]], Tensor], index: int, held: list[Tensor]
    ) -> Tensor:
        """One half; ``held`` are what the block's local variables keep until it ends."""
        shape = self.shape
        inner = function(self.norms[index](x) if shape.before else x, held)
        if self.scales:
            inner = scaled_by(inner, self.scales[index], self.run.way.weight_bytes)
        inner = ops.dropout(inner, shape.dropout if shape.drops[index] else 0.0)
        if not shape.before:
            return self.norms[index](ops.add(inner, x))  # both stay until the norm has run
        return ops.add(inner, x)

    def _attended(self, x: Tensor, held: list[Tensor]) -> Tensor:
        shape = self.shape
        query, key, value = self.query(x), self.key(x), self.value(x)
        del x
        how = Attending(shape.heads, shape.attention_dropout, mask=self.mask, causal=shape.causal)
        found = attend(self.run, query, key, value, how)
        del query, key, value
        held += [how.weights] if how.weights is not None else []
        return self.out(found)

    def _fed(self, x: Tensor, held: list[Tensor]) -> Tensor:
        inner = activated(self.up[0](x), self.shape.activation)
        if self.shape.gated:
            inner = ops.mul(inner, self.up[1](x))
        del x
        if self.shape.holds_inner:
            held.append(inner)
        return self.down(inner)

    def pending_bytes(self, x: Tensor) -> int:
        """Where nothing after the last linear layer keeps a tensor, its adapter's gradients come first."""
        return self.down.pending_bytes(x) if self.shape.begins_late and not self.shape.dropout else 0


def activated(x: Tensor, name: str) -> Tensor:
    """``x`` through the activation that transformers calls ``name``."""
    match name:
        case "relu":
            return ops.relu(x)
        case "gelu_new" | "gelu_fast":
            return gelu_new(x)
        case "quick_gelu":
            return ops.mul(x, ops.sigmoid(ops.scaled(x)))
        case _:
            return ops.keeps_input(x)


def masked(blocks: Sequence[Block], mask: Tensor | None) -> None:
    """The mask of the batch for every block."""
    for block in blocks:
        block.mask = mask
