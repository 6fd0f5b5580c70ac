"""Losses of a logit a pixel and class."""

from __future__ import annotations

from collections.abc import Callable

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.tape import Tensor


def pixel_loss(network: Callable[[Tensor], Tensor], images: Tensor, classes: int) -> Tensor:
    """One class with binary cross-entropy and Dice; several with cross-entropy."""
    tape = images.storage.tape
    if classes > 1:
        labels = tape.new(images.shape[0], *images.size, itemsize=8)
        return ops.cross_entropy(network(images), labels, reduced=True)
    target = tape.new(images.shape[0], 1, *images.size)
    return mask_loss(network(images), target)


def mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy on logits plus soft Dice."""
    tape = logits.storage.tape
    probability = ops.sigmoid(logits)
    overlap = ops.total(ops.mul(probability, target))
    both = ops.total(probability)
    ops.total(target)
    dice = ops.scaled(ops.add(overlap, both))
    raised = tape.raised(logits)
    scratch = [tape.new(*raised.shape) for _ in range(2)]
    del scratch
    entropy = tape.record((), 4, (raised,), (raised.bytes,), (raised, target), transient=raised.bytes)
    return ops.add(entropy, dice)
