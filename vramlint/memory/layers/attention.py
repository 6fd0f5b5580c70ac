"""Attention: one fused kernel, or scores that exist. Source: torch 2.13 ``nn/functional.py``, mmcv 2.1.0 bricks."""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.nn import Linear
from vramlint.memory.layers.tape import Parameter, Tape, Tensor


def attention(
    query: Tensor, key: Tensor, value: Tensor, heads: int, *, dropout: float = 0.0, fused: bool, copies: bool = True
) -> Tensor:
    """Attention of (batch, length, channels) tensors, laid out by head; the result is (batch, queries, channels).

    ``fused``: one kernel keeps its inputs, its output and one number a query and head. Else the scores exist (scaled
    query, product, softmax, dropout, product). ``copies``: the heads are first copied apart, as from one joint
    projection.
    """
    batch, queries = query.shape[:2]
    keys = key.shape[1]
    tape = query.storage.tape
    if fused:
        query, key, value = (tape.lowered(each) for each in (query, key, value))
        statistics = 4 * batch * heads * (-(-queries // 32) * 32)
        return tape.record(
            (batch, queries, value.shape[-1]), query.itemsize, (query, key, value),
            (query.bytes, key.bytes, value.bytes), (query, key, value), save_output=True, extra_saved_bytes=statistics,
        )  # fmt: skip
    query = ops.scaled(query)
    if copies:
        query, key, value = ops.copy(query) if not copies else query, ops.copy(key), ops.copy(value)
    scores = ops.softmax(ops.matmul(query, key, (batch, heads, queries, keys)))
    scores = ops.dropout(scores, dropout)
    found = ops.matmul(scores, value, (batch, queries, value.shape[-1]))
    return ops.copy(found)


class MultiheadAttention:
    """``nn.MultiheadAttention`` as mmcv calls it: with weights wanted, so scores exist whatever the version of torch.

    Tensors are (length, batch, channels) inside; three projections of ``channels`` to itself, or one joint one.
    """

    def __init__(self, tape: Tape, channels: int, heads: int, *, dropout: float = 0.0, bias: bool = True) -> None:
        self.tape, self.heads, self.dropout, self.channels = tape, heads, dropout, channels
        self.joint = Linear(tape, channels, 3 * channels, bias=bias)
        self.out = Linear(tape, channels, channels)

    def __call__(self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None) -> Tensor:
        if key is None or (key is query and value is query):
            joint = self.joint(query)
            parts = ops.copy(joint)
            query, key, value = ops.split(parts, [self.channels] * 3, axis=-1)
        else:
            query, key, value = (self._projected(each) for each in (query, key, value if value is not None else key))
        return self.out(self._attend(query, key, value))

    def _projected(self, x: Tensor) -> Tensor:
        """One third of the joint projection."""
        tape = self.tape
        x = tape.lowered(x)
        weight = tape.weight(self.joint.weight)
        grads = (x.bytes, x.itemsize * self.joint.weight.elements)
        saved = (x,) if isinstance(weight, Parameter) else (x, weight)
        return tape.record(x.shape, x.itemsize, (x, weight), grads, saved)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        batch, queries, channels = query.shape
        scores = ops.softmax(ops.matmul(ops.scaled(query), key, (batch, self.heads, queries, key.shape[1])))
        scores = ops.dropout(scores, self.dropout)
        return ops.copy(ops.matmul(scores, value, (batch, queries, channels)))
