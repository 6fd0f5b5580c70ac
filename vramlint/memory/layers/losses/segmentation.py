"""Losses of mmsegmentation over (batch, classes, height, width) logits. Source: 1.2.2 ``models/losses``."""

from __future__ import annotations

from collections.abc import Callable

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.registry import Build, Config, register
from vramlint.memory.layers.tape import Tensor

PixelLoss = Callable[[Tensor, Tensor], Tensor]
"""From logits and labels (batch, height, width) to a scalar."""


@register("loss", "CrossEntropyLoss")
def cross_entropy(build: Build, config: Config) -> PixelLoss:
    """Softmax over classes, or one sigmoid each: then labels become one-hot tensors of the logits' size."""
    del build
    if config.get("use_sigmoid"):
        return _binary
    weighted = config.get("loss_weight", 1.0) != 0

    def run(logits: Tensor, labels: Tensor) -> Tensor:
        each = ops.cross_entropy(logits, labels)
        return ops.scaled(ops.mean(each, ())) if weighted else ops.mean(each, ())

    return run


def _binary(logits: Tensor, labels: Tensor) -> Tensor:
    """One-hot labels, a mask and weights of the logits' size beside the logits."""
    tape = logits.storage.tape
    one_hot = tape.new(*logits.shape)
    weight = tape.new(*logits.shape)
    del labels
    each = ops.pointwise_loss(logits, steps=0)
    kept = tape.record(each.shape, each.itemsize, (each,), (each.bytes,), (weight,))
    del one_hot, weight, each
    return ops.scaled(ops.mean(kept, ()))
