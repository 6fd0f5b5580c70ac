"""Operations without weights, named as in ``torch.nn.functional``: each takes and returns tensors of the tape.

What each keeps for backward is torch 2.13's ``tools/autograd/derivatives.yaml``: an in-place ReLU its result, a GELU
its input, a max pooling its input and 64-bit indices, an interpolation nothing, a softmax its result.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from vramlint.memory.layers.tape import PART, SAME, Parameter, Tensor

Pair = int | Sequence[int]


def pair(value: Pair, length: int = 2) -> tuple[int, ...]:
    """``value`` for each spatial dimension."""
    return (value,) * length if isinstance(value, int) else tuple(value)


# --- activations -----------------------------------------------------------------------------------------------------


def relu(x: Tensor, *, inplace: bool = False) -> Tensor:
    """Keeps its result; leaky ReLU does the same in place."""
    tape = x.storage.tape
    if not inplace and tape.stack.relu_keeps_input:
        return keeps_input(x)
    return tape.record(x.shape, x.itemsize, (x,), (x.bytes,), inplace=x if inplace else None, save_output=True)


def keeps_result(x: Tensor, *, inplace: bool = False) -> Tensor:
    """Sigmoid, tanh and their like: the result is kept."""
    return x.storage.tape.record(
        x.shape, x.itemsize, (x,), (x.bytes,), inplace=x if inplace else None, save_output=True
    )


def leaky_relu(x: Tensor, *, inplace: bool = False) -> Tensor:
    """Keeps its result in place, else its input."""
    return keeps_result(x, inplace=True) if inplace else keeps_input(x)


def keeps_input(x: Tensor, *, inplace: bool = False) -> Tensor:
    """GELU, SiLU, hardswish, hardsigmoid, ELU, Mish and their like: the input is kept; in place a copy of it."""
    if not inplace:
        return x.storage.tape.record(x.shape, x.itemsize, (x,), (x.bytes,), (x,))
    copied = x.bytes if x.node is not None and x.storage.tape.graph else 0
    return x.storage.tape.record(x.shape, x.itemsize, (x,), (x.bytes,), inplace=x, extra_saved_bytes=copied)


def relu6(x: Tensor, *, inplace: bool = False) -> Tensor:
    """``hardtanh``: in place it kept its result in torch 1.x and keeps a copy of its input today."""
    if inplace and not x.storage.tape.stack.clones_inplace_relu6:
        return relu(x, inplace=True)
    return keeps_input(x, inplace=inplace)


def sigmoid(x: Tensor) -> Tensor:
    """Keeps its result."""
    return keeps_result(x)


def softmax(x: Tensor) -> Tensor:
    """Keeps its result, in fp32 under autocast."""
    tape = x.storage.tape
    return _softmax(x, transient=4 * x.elements if tape.stack.softmax_product else 0)


def log_softmax(x: Tensor) -> Tensor:
    """Keeps its result, in fp32 under autocast."""
    return _softmax(x, transient=0)


def _softmax(x: Tensor, *, transient: int) -> Tensor:
    tape = x.storage.tape
    if tape.half:
        x = tape.raised(x)
    kept = (x,) if tape.stack.softmax_keeps_input else ()
    return tape.record(x.shape, x.itemsize, (x,), (x.bytes,), kept, save_output=True, transient=transient)


# --- arithmetic ------------------------------------------------------------------------------------------------------


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape of operands."""
    if len(shapes) == 2 and shapes[0] == shapes[1]:
        return shapes[0]
    length = max(map(len, shapes))
    padded = [(1,) * (length - len(shape)) + shape for shape in shapes]
    return tuple(max(sides) if 0 not in sides else 0 for sides in zip(*padded, strict=True))


def add(x: Tensor, y: Tensor | Parameter, *, inplace: bool = False) -> Tensor:
    """``x + y``, or ``x += y``. Nothing is kept; a smaller operand's gradient is summed."""
    if isinstance(y, Parameter):
        return x.storage.tape.record(x.shape, max(4, x.itemsize), (x, y), (SAME, 4 * y.elements))
    shape, itemsize = broadcast(x.shape, y.shape), max(x.itemsize, y.itemsize)
    if inplace:
        shape, itemsize = x.shape, x.itemsize
    first = SAME if x.itemsize == itemsize and x.shape == shape else x.bytes
    second = SAME if y.itemsize == itemsize and y.shape == shape else y.bytes
    return x.storage.tape.record(shape, itemsize, (x, y), (first, second), inplace=x if inplace else None)


def mul(x: Tensor, y: Tensor) -> Tensor:
    """``x * y``: each is kept where the other one needs a gradient."""
    shape, itemsize = broadcast(x.shape, y.shape), max(x.itemsize, y.itemsize)
    saved = [kept for kept, other in ((x, y), (y, x)) if other.node is not None]
    product = prod(shape) * itemsize
    smaller = sum(product for each in (x, y) if each.node is not None and each.shape != shape)
    return x.storage.tape.record(shape, itemsize, (x, y), (x.bytes, y.bytes), saved, transient=smaller)


def scaled(x: Tensor, *, inplace: bool = False) -> Tensor:
    """``x`` times or divided by a number: nothing is kept, the gradient is scaled into a new tensor."""
    return x.storage.tape.record(x.shape, x.itemsize, (x,), (x.bytes,), inplace=x if inplace else None)


def shifted(x: Tensor) -> Tensor:
    """``x`` plus a number, ``-x``'s shape-alike: a new tensor, nothing kept."""
    return x.storage.tape.record(x.shape, x.itemsize, (x,), (SAME,))


def matmul(x: Tensor, y: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A (batched) matrix product of two activations with a result of ``shape``; both are kept."""
    tape = x.storage.tape
    x, y = tape.lowered(x), tape.lowered(y)
    saved = [kept for kept, other in ((x, y), (y, x)) if other.node is not None]
    return tape.record(shape, x.itemsize, (x, y), (x.bytes, y.bytes), saved)


def copy(x: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
    """``contiguous()`` or a reshape that has to copy."""
    return x.storage.tape.record(shape or x.shape, x.itemsize, (x,), (SAME,))


def concatenate(parts: Sequence[Tensor], axis: int = 1) -> Tensor:
    """``torch.cat``: a new tensor; backward hands out views of the gradient."""
    first = parts[0]
    itemsize = max(each.itemsize for each in parts)
    tape = first.storage.tape
    if any(each.itemsize != itemsize for each in parts):
        parts = [tape.raised(each) for each in parts]
    axis %= len(first.shape)
    total = sum(each.shape[axis] for each in parts)
    shape = (*first.shape[:axis], total, *first.shape[axis + 1 :])
    return tape.record(shape, itemsize, parts, tuple(-each.elements * itemsize or PART for each in parts))


def split(x: Tensor, sizes: Sequence[int], axis: int = 1) -> list[Tensor]:
    """``split`` or ``chunk``: views; backward joins their gradients."""
    axis %= len(x.shape)
    shapes = [(*x.shape[:axis], size, *x.shape[axis + 1 :]) for size in sizes]
    return x.storage.tape.record_several(shapes, x)


def select(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A slice or one index: a view whose backward fills a whole gradient with zeros."""
    tape = x.storage.tape
    if x.node is None or not tape.graph:
        return Tensor(shape, x.itemsize, x.storage)
    return tape.record(shape, x.itemsize, (x,), (x.bytes,), inplace=x)


def gather(x: Tensor, shape: tuple[int, ...], index_bytes: int) -> Tensor:
    """Indexing with a tensor of ``index_bytes``: a new tensor, the index is kept, backward fills a whole gradient."""
    return x.storage.tape.record(shape, x.itemsize, (x,), (x.bytes,), extra_saved_bytes=index_bytes)


def mean(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A mean over some dimensions; backward allocates a whole gradient."""
    return x.storage.tape.record(shape, x.itemsize, (x,), (x.bytes,))


def total(x: Tensor, shape: tuple[int, ...] = ()) -> Tensor:
    """A sum over some dimensions, in fp32 under autocast; backward expands without copying."""
    tape = x.storage.tape
    if tape.half:
        x = tape.raised(x)
    return tape.record(shape, x.itemsize, (x,), (PART,))


# --- pooling and resizing --------------------------------------------------------------------------------------------


def pooled_size(size: int, kernel: int, stride: int, padding: int, *, ceil: bool = False, dilation: int = 1) -> int:
    """Output side of a pooling window (``pooling_output_shape``)."""
    reach = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil:
        return reach // stride + 1
    count = -(-reach // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def _pooled(x: Tensor, kernel: Pair, stride: Pair | None, padding: Pair, *, ceil: bool) -> tuple[int, ...]:
    sides = x.shape[2:]
    count = len(sides)
    kernels, paddings = pair(kernel, count), pair(padding, count)
    strides = kernels if stride is None else pair(stride, count)
    spatial = (pooled_size(n, k, s, p, ceil=ceil) for n, k, s, p in zip(sides, kernels, strides, paddings, strict=True))
    return (*x.shape[:2], *spatial)


def max_pool(x: Tensor, kernel: Pair, stride: Pair | None = None, padding: Pair = 0, *, ceil: bool = False) -> Tensor:
    """Keeps its input and the indices of the maxima, 8 bytes each."""
    shape = _pooled(x, kernel, stride, padding, ceil=ceil)
    return x.storage.tape.record(shape, x.itemsize, (x,), (x.bytes,), (x,), extra_saved_bytes=8 * prod(shape))


def avg_pool(x: Tensor, kernel: Pair, stride: Pair | None = None, padding: Pair = 0, *, ceil: bool = False) -> Tensor:
    """Keeps its input."""
    shape = _pooled(x, kernel, stride, padding, ceil=ceil)
    return x.storage.tape.record(shape, x.itemsize, (x,), (x.bytes,), (x,))


def adaptive_avg_pool(x: Tensor, output: Pair) -> Tensor:
    """Keeps its input, but for an output of one element a channel, which is a mean."""
    spatial = pair(output, len(x.shape) - 2)
    shape = (*x.shape[:2], *spatial)
    if all(side == 1 for side in spatial):
        return mean(x, shape)
    return x.storage.tape.record(shape, x.itemsize, (x,), (x.bytes,), (x,))


def adaptive_max_pool(x: Tensor, output: Pair) -> Tensor:
    """Keeps its input and 64-bit indices."""
    shape = (*x.shape[:2], *pair(output, len(x.shape) - 2))
    return x.storage.tape.record(shape, x.itemsize, (x,), (x.bytes,), (x,), extra_saved_bytes=8 * prod(shape))


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """``interpolate``, bilinear or nearest: keeps nothing; a new tensor even at the same size."""
    tape = x.storage.tape
    if tape.half and tape.stack.resize_in_fp32:
        x = tape.raised(x)
    return tape.record((*x.shape[:2], *size), x.itemsize, (x,), (x.bytes,))


def enlarged(x: Tensor, factor: int) -> Tensor:
    """``resize`` by a whole factor."""
    return resize(x, [side * factor for side in x.shape[2:]])


def pad(x: Tensor, *sides: int) -> Tensor:
    """Constant padding; ``sides`` from the last dimension on as (before, after). A copy even where there is nothing."""
    shape = list(x.shape)
    for index in range(0, len(sides), 2):
        shape[-1 - index // 2] += sides[index] + sides[index + 1]
    return x.storage.tape.record(tuple(shape), x.itemsize, (x,), (x.bytes,))


# --- regularisation --------------------------------------------------------------------------------------------------


def dropout(x: Tensor, rate: float) -> Tensor:
    """One fused kernel that keeps a mask of one byte an element."""
    if rate <= 0 or not x.storage.tape.training:
        return x
    return x.storage.tape.record(x.shape, x.itemsize, (x,), (x.bytes,), extra_saved_bytes=x.elements)


def dropout2d(x: Tensor, rate: float) -> Tensor:
    """Whole channels: keeps one number a channel."""
    if rate <= 0 or not x.storage.tape.training:
        return x
    noise = x.itemsize * x.shape[0] * x.shape[1]
    return x.storage.tape.record(x.shape, x.itemsize, (x,), (x.bytes,), extra_saved_bytes=noise)


def drop_path(x: Tensor, rate: float) -> Tensor:
    """Stochastic depth as mmcv and timm write it: a division, then a product with one number a sample."""
    if rate <= 0 or not x.storage.tape.training:
        return x
    return scaled(scaled(x))


# --- losses ----------------------------------------------------------------------------------------------------------


def cross_entropy(logits: Tensor, labels: Tensor, *, reduced: bool = False) -> Tensor:
    """``F.cross_entropy`` over channels: log_softmax, kept with ``labels``; backward allocates both gradients.

    Without ``reduced`` the result is one number a pixel (``reduction='none'``).
    """
    tape = logits.storage.tape
    found = log_softmax(logits)
    shape = () if reduced else (logits.shape[0], *logits.shape[2:])
    return tape.record(shape, found.itemsize, (found,), (found.bytes,), (found, labels))


def pointwise_loss(x: Tensor, *, kept: int = 1, steps: int = 1) -> Tensor:
    """A loss of one number an element (binary cross entropy, L1, smooth L1, MSE): keeps ``kept`` tensors of that size.

    ``steps``: further elementwise operations after it (weights, masks), each a new tensor with a new gradient.
    """
    tape = x.storage.tape
    if tape.half:
        x = tape.raised(x)
    found = tape.record(x.shape, x.itemsize, (x,), (x.bytes,), (x,), extra_saved_bytes=(kept - 1) * x.bytes)
    for _ in range(steps):
        found = scaled(found)
    return found


def total_loss(losses: Sequence[Tensor]) -> Tensor:
    """The sum of scalar losses."""
    result = losses[0]
    for each in losses[1:]:
        result = add(result, each)
    return result
