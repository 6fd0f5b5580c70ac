"""Layers as transformers and peft run them on the tape: linear with adapters, norms, embeddings, attention, losses.

Sources: torch 2.13 ``derivatives.yaml`` (what is saved), ``aten/src/ATen/native/transformers/cuda/sdp_utils.cpp``
(which attention kernel runs), peft 0.21 ``tuners/lora/layer.py#Linear.forward``, transformers 5.24
``integrations/sdpa_attention.py``.
"""

from __future__ import annotations

from math import prod

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.tape import Parameter, Tensor
from vramlint.memory.networks.stepping import Lora, Run

FLASH_HEAD_LIMIT = 256
"""Largest head of the flash kernels."""


class Linear:
    """``nn.Linear`` called ``name``, with a low-rank adapter where the name is one of the targets."""

    __slots__ = ("adapter", "bias", "inside", "outside", "run", "weight")

    def __init__(
        self, run: Run, name: str, inside: int, outside: int, *, bias: bool = True, head: bool = False
    ) -> None:
        self.run, self.inside, self.outside = run, inside, outside
        self.weight = run.weight(inside * outside, linear=not head)
        self.bias = run.weight(outside) if bias else None
        lora = run.way.lora
        chosen = lora is not None and not head and lora.takes(name)
        self.adapter = _Adapter(run, lora, inside, outside) if chosen and lora is not None else None

    def __call__(self, x: Tensor) -> Tensor:
        found = _product(self.run, x, self.weight, self.bias, self.outside)
        return found if self.adapter is None else self.adapter(x, found)

    def pending_bytes(self, result: Tensor) -> int:
        """Gradients that stand before the first kept tensor where ``result`` is a block's last operation but a sum."""
        if self.adapter is None:
            return 0
        way = self.run.way
        each = way.weight_bytes if not way.half else 2
        wide = max(self.adapter.weight_bytes, each) if not way.half else 2
        return result.elements * (wide + (each if wide > each else 0))


class _Adapter:
    """``result + B(A(dropout(x))) * scaling``."""

    __slots__ = ("down", "dropout", "outside", "rank", "run", "up", "weight_bytes")

    def __init__(self, run: Run, lora: Lora, inside: int, outside: int) -> None:
        self.run, self.rank, self.outside, self.dropout = run, lora.rank, outside, lora.dropout
        self.weight_bytes = lora.weight_bytes
        self.down = run.weight(inside * lora.rank, adapter=True)
        self.up = run.weight(lora.rank * outside, adapter=True)

    def __call__(self, x: Tensor, result: Tensor) -> Tensor:
        itemsize = result.itemsize
        x = self.run.tape.cast(x, self.weight_bytes)
        x = ops.dropout(x, self.dropout)
        low = _product(self.run, x, self.down, None, self.rank)
        del x
        found = ops.add(result, ops.scaled(_product(self.run, low, self.up, None, self.outside)))
        del low, result
        return self.run.tape.cast(found, itemsize)


def _product(run: Run, x: Tensor, weight: Parameter, bias: Parameter | None, outside: int) -> Tensor:
    tape = run.tape
    x = tape.lowered(x)
    used = tape.weight(weight)
    inputs: list[Tensor | Parameter] = [x, used]
    grads = [x.bytes, x.itemsize * weight.elements]
    if bias is not None:
        inputs.append(tape.weight(bias))
        grads.append(x.itemsize * outside)
    saved = [x] if weight.trainable else []
    if isinstance(used, Tensor) and x.node is not None:
        saved.append(used)
    unpacked = 2 * weight.elements if run.way.quantised and not weight.trainable else 0
    if unpacked:
        tape.new(unpacked, itemsize=1)  # while the product runs
    return tape.record((*x.shape[:-1], outside), x.itemsize, inputs, grads, saved, transient=unpacked)


def tied(run: Run, x: Tensor, weight: Parameter, outside: int, bias: Parameter | None = None) -> Tensor:
    """A head that shares the embedding's weight."""
    return _product(run, x, weight, bias, outside)


class LayerNorm:
    """``nn.LayerNorm``: in fp32 under autocast; keeps its input, a mean and a deviation a row."""

    __slots__ = ("bias", "run", "weight", "width")

    def __init__(self, run: Run, width: int, *, bias: bool = True) -> None:
        self.run, self.width = run, width
        self.weight = run.weight(width)
        self.bias = run.weight(width) if bias else None

    def __call__(self, x: Tensor) -> Tensor:
        tape = self.run.tape
        if tape.half:
            x = tape.raised(x)
        inputs: list[Tensor | Parameter] = [x, self.weight]
        grads = [x.bytes, x.itemsize * self.width]
        if self.bias is not None:
            inputs.append(self.bias)
            grads.append(x.itemsize * self.width)
        rows = prod(x.shape[:-1])
        return tape.record(x.shape, x.itemsize, inputs, grads, (x,), extra_saved_bytes=2 * _blocks(4 * rows))


class RMSNorm:
    """T5's norm: ``weight * (x * rsqrt(mean(x**2)))`` spelled out, its statistics in fp32."""

    __slots__ = ("run", "weight", "width")

    def __init__(self, run: Run, width: int) -> None:
        self.run, self.width = run, width
        self.weight = run.weight(width)

    def __call__(self, x: Tensor) -> Tensor:
        tape, shape = self.run.tape, (*x.shape[:-1], 1)
        wide = tape.cast(x, 4)
        squares = tape.record(wide.shape, 4, (wide,), (wide.bytes,), (wide,))
        del wide
        inverse = ops.keeps_result(ops.shifted(ops.mean(squares, shape)))
        del squares
        x = ops.mul(x, inverse)
        x = tape.cast(x, self.run.way.weight_bytes) if self.run.way.weight_bytes == 2 else x
        return scaled_by(x, self.weight, self.run.way.weight_bytes)


def scaled_by(x: Tensor, weight: Parameter, weight_bytes: int) -> Tensor:
    """``weight * x`` over the last dimension: ``x`` is kept for the weight, whose gradient is summed from a product."""
    saved = (x,) if weight.trainable else ()
    size = max(x.itemsize, weight_bytes)
    transient = size * x.elements if weight.trainable else 0
    grads = (x.bytes, weight_bytes * weight.elements)
    return x.storage.tape.record(x.shape, size, (x, weight), grads, saved, transient=transient)


def gelu_new(x: Tensor) -> Tensor:
    """``NewGELUActivation``, spelled out: ``0.5 * x * (1 + tanh(c * (x + 0.044715 * x**3)))``."""
    tape = x.storage.tape
    half = ops.scaled(x)
    raised = tape.raised(x) if tape.half else x
    cube = tape.record(raised.shape, raised.itemsize, (raised,), (raised.bytes,), (raised,))
    del raised
    total = ops.add(x, ops.scaled(cube))
    del cube
    bent = ops.keeps_result(ops.scaled(total))
    del total
    wide = ops.shifted(bent)
    # The gradient of the narrower factor is made as wide as the product, then cast.
    transient = wide.bytes if half.itemsize < wide.itemsize else 0
    grads = (half.bytes, wide.bytes)
    return tape.record(wide.shape, wide.itemsize, (half, wide), grads, (half, wide), transient=transient)


class Embedding:
    """``nn.Embedding`` of ``entries``; its gradient is dense."""

    __slots__ = ("channels", "run", "weight")

    def __init__(self, run: Run, entries: int, channels: int, *, weight: Parameter | None = None) -> None:
        self.run, self.channels = run, channels
        self.weight = run.weight(entries * channels) if weight is None else weight

    def __call__(self, ids: Tensor) -> Tensor:
        size = self.run.way.weight_bytes
        return self.run.tape.record(
            (*ids.shape, self.channels), size, (self.weight,), (size * self.weight.elements,), (ids,)
        )


class Convolution:
    """A convolution whose kernel is its stride (patches) or moves over one dimension (frames); keeps its input."""

    __slots__ = ("bias", "channels", "inside", "kernel", "padding", "run", "stride", "weight")

    def __init__(
        self, run: Run, inside: int, channels: int, kernel: int, stride: int, *, padding: int = 1, bias: bool = True,
        dims: int = 1, groups: int = 1,
    ) -> None:  # fmt: skip
        self.run, self.inside, self.channels, self.kernel, self.stride = run, inside, channels, kernel, stride
        self.padding = padding
        self.weight = run.weight(inside // groups * channels * kernel**dims)
        self.bias = run.weight(channels) if bias else None

    def __call__(self, x: Tensor) -> Tensor:
        tape = self.run.tape
        x = tape.lowered(x)
        used = tape.weight(self.weight)
        inputs: list[Tensor | Parameter] = [x, used]
        grads = [x.bytes, x.itemsize * self.weight.elements]
        if self.bias is not None:
            inputs.append(tape.weight(self.bias))
            grads.append(x.itemsize * self.channels)
        sides = [(side + 2 * self.padding - self.kernel) // self.stride + 1 for side in x.shape[2:]]
        saved = [x] if self.weight.trainable or x.node is not None else []
        if isinstance(used, Tensor):
            saved.append(used)
        return tape.record((x.shape[0], self.channels, *sides), x.itemsize, inputs, grads, saved)


def _blocks(size: int) -> int:
    return -(-size // 512) * 512


class Attending:
    """One call of attention: how many heads, how much dropout, and what is added to the scores.

    ``mask`` is boolean, (batch, 1, queries or 1, keys); ``bias`` is added to the scores of every head, and copied first
    where it lies ``permuted``, heads last.
    """

    __slots__ = ("bias", "causal", "dropout", "heads", "mask", "permuted", "weights")

    def __init__(
        self, heads: int, dropout: float = 0.0, *, mask: Tensor | None = None, bias: Tensor | None = None,
        causal: bool = False, permuted: bool = False,
    ) -> None:  # fmt: skip
        self.heads, self.dropout, self.mask, self.bias, self.causal = heads, dropout, mask, bias, causal
        self.permuted = permuted
        self.weights: Tensor | None = None
        """What an eager call hands back beside its output, alive for as long as the caller keeps it."""


def attend(run: Run, query: Tensor, key: Tensor, value: Tensor, how: Attending, *, by_head: bool = False) -> Tensor:
    """The heads' outputs joined: (batch, queries, width). ``by_head``: q, k and v lie head by head, and so does the
    flash kernel's output, which is then copied into tokens' order."""
    kernel = run.way.kernel
    if kernel == "eager":
        return _eager(query, key, value, how)
    query, key, value = (run.tape.lowered(each) for each in (query, key, value))
    head = query.shape[-1] // how.heads
    plain = how.mask is None and how.bias is None
    if query.itemsize == 2 and head <= FLASH_HEAD_LIMIT and (plain or kernel == "flash"):
        found = _kernel(run, query, key, value, how, None, query.shape[1])
        return ops.copy(found) if by_head else found
    return _kernel(run, query, key, value, how, _bias(run, query, key, how), -(-query.shape[1] // 32) * 32)


def _kernel(
    run: Run, query: Tensor, key: Tensor, value: Tensor, how: Attending, bias: Tensor | None, rows: int
) -> Tensor:
    """A fused kernel: keeps its inputs, its output and one number a row and head; a bias and its gradient whole."""
    batch, queries = query.shape[:2]
    inputs: list[Tensor | Parameter] = [query, key, value]
    grads = [query.bytes, key.bytes, value.bytes]
    saved = [query, key, value]
    whole = 0
    if bias is not None:
        saved.append(bias)
        inputs.append(bias)
        grads.append(bias.bytes)
        made = query.itemsize * batch * how.heads * queries * key.shape[1]
        whole = made if bias.node is not None and made != bias.bytes else 0
    statistics = 4 * batch * how.heads * rows
    return run.tape.record(
        (batch, queries, value.shape[-1]), query.itemsize, inputs, grads, saved, save_output=True,
        extra_saved_bytes=statistics, transient=whole,
    )  # fmt: skip


def _bias(run: Run, query: Tensor, key: Tensor, how: Attending) -> Tensor | None:
    """What is added to the scores, in the queries' type: made of mask and bias anew in each call."""
    tape, size = run.tape, query.itemsize
    batch, queries, keys = query.shape[0], query.shape[1], key.shape[1]
    if how.bias is not None:
        return tape.cast(_where(run, how.bias, how, (batch, how.heads, queries, keys)), size)
    if how.mask is None:
        return None
    opposite = tape.new(*how.mask.shape, itemsize=1)
    made = tape.new(*how.mask.shape, itemsize=size)
    del opposite
    return made


def _where(run: Run, bias: Tensor, how: Attending, whole: tuple[int, int, int, int]) -> Tensor:
    """``torch.where(mask, bias, lowest).contiguous()``: one for each sample where the mask is of padded samples."""
    if how.mask is None and not how.causal:
        return ops.copy(bias) if how.permuted else bias
    shape = whole if how.mask is not None else (1, *whole[1:])
    condition = how.mask if how.mask is not None else run.tape.new(*whole[2:], itemsize=1)
    full = prod(shape) * bias.itemsize
    return run.tape.record(shape, bias.itemsize, (bias,), (bias.bytes,), (condition,), transient=full)


def _eager(query: Tensor, key: Tensor, value: Tensor, how: Attending) -> Tensor:
    """Scores that exist: product, scale, mask, softmax, dropout, product with the values."""
    batch, queries, keys = query.shape[0], query.shape[1], key.shape[1]
    shape = (batch, how.heads, queries, keys)
    scores = ops.scaled(ops.matmul(query, key, shape))
    if how.bias is not None:
        scores = ops.add(scores, how.bias)
    if how.mask is not None or how.causal:
        scores = ops.shifted(scores)
    scores = ops.softmax(scores)
    how.weights = scores = ops.dropout(scores, how.dropout)
    return ops.copy(ops.matmul(scores, value, (batch, queries, value.shape[-1])))


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Over the last dimension, the mean: in fp32 under autocast; log_softmax and the labels are kept."""
    return ops.cross_entropy(logits, labels, reduced=True)


__all__ = [
    "Attending", "Convolution", "Embedding", "LayerNorm", "Linear", "RMSNorm", "attend", "cross_entropy", "scaled_by",
    "tied",
]  # fmt: skip
