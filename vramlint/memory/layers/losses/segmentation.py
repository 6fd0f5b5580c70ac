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
    """One-hot labels of 8 bytes an element, a mask that serves as weights, and both kept in fp32 beside the logits."""
    tape = logits.storage.tape
    one_hot = tape.new(*logits.shape, itemsize=8)
    coordinates = tape.new(3 * labels.elements, itemsize=8)
    weight = tape.new(*logits.shape)
    del coordinates
    target = tape.new(*logits.shape)
    logits = tape.raised(logits)
    each = tape.record(logits.shape, 4, (logits,), (logits.bytes,), (logits, target))
    del target
    kept = tape.record(each.shape, 4, (each,), (each.bytes,), (weight,))
    del each
    found = ops.scaled(ops.mean(kept, ()))
    del one_hot, weight
    return found


@register("loss", "OhemCrossEntropy")
def hard_cross_entropy(build: Build, config: Config) -> PixelLoss:
    """Cross entropy of the hardest pixels: a softmax of its own, sorted."""
    del build, config

    def run(logits: Tensor, labels: Tensor) -> Tensor:
        tape = logits.storage.tape
        pixels = labels.elements
        probabilities = ops.softmax(logits)
        each = ops.cross_entropy(logits, labels)
        target, taken = tape.new(*labels.shape, itemsize=8), tape.new(pixels)
        each = ops.gather(each, (pixels,), pixels)  # by a boolean mask
        each = ops.gather(each, (pixels,), 8 * pixels)  # by the order of the sorted probabilities
        each = ops.gather(each, (pixels,), pixels)
        del probabilities, target, taken
        return ops.scaled(ops.mean(each, ()))

    return run


@register("loss", "DiceLoss")
def dice(build: Build, config: Config) -> PixelLoss:
    """Dice over all classes: one-hot labels of 8 bytes a class and pixel, twice, then in fp32."""
    del build
    active, sigmoid, naive = (bool(config.get(key, value)) for key, value in _DICE)

    def run(logits: Tensor, labels: Tensor) -> Tensor:
        tape, classes = logits.storage.tape, logits.shape[1]
        one_hot = tape.new(labels.elements, classes + 1, itemsize=8)
        x = logits if not active else ops.sigmoid(logits) if sigmoid else ops.softmax(logits)
        x = ops.gather(x, x.shape, 8 * classes)
        chosen = tape.new(labels.elements, classes, itemsize=8)
        target = tape.new(*x.shape)
        del chosen
        common = ops.total(ops.mul(x, target), (x.shape[0],))
        whole = ops.total(x if naive else ops.mul(x, x), (x.shape[0],))
        with tape.no_grad():
            ops.mul(target, target)
        del one_hot
        return ops.scaled(ops.mean(ops.mul(common, whole), ()))

    return run


_DICE = (("activate", True), ("use_sigmoid", True), ("naive_dice", False))


@register("loss", "BoundaryLoss")
def boundary_loss(build: Build, config: Config) -> PixelLoss:
    """Binary cross entropy of one map with weights by class frequency."""
    del build, config

    def run(logits: Tensor, labels: Tensor) -> Tensor:
        tape = logits.storage.tape
        target, weight = tape.new(*logits.shape), tape.new(*logits.shape)
        del labels
        each = tape.record(logits.shape, 4, (logits,), (logits.bytes,), (logits, target, weight))
        return ops.scaled(ops.mean(each, ()))

    return run
