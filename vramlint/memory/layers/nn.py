"""Layers with weights. Each is made once (its parameters exist from then on) and called as often as the model uses it.

Parameters by torch's constructors; what is kept for backward as in ``functions``. Sources: torch 2.13 ``nn/modules``,
mmcv 2.1.0 ``ops`` for deformable kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import lru_cache
from math import prod
from typing import NamedTuple

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.functions import Pair, pair
from vramlint.memory.layers.tape import SAME, Parameter, Tape, Tensor

Layer = Callable[[Tensor], Tensor]


class Window(NamedTuple):
    """How a kernel lies on its input. ``reach``: what padding adds to a side and the kernel takes from it, and one."""

    kernel: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    reach: tuple[int, ...]


@lru_cache(maxsize=256)
def _window(
    kernel: int | tuple[int, ...], padding: int | tuple[int, ...] | None, dilation: int | tuple[int, ...], dims: int
) -> Window:
    """A model has hundreds of convolutions of a handful of windows."""
    kernels, dilations = pair(kernel, dims), pair(dilation, dims)
    if padding is None:
        padding = tuple(d * (k - 1) // 2 for d, k in zip(dilations, kernels, strict=True))
    paddings = pair(padding, dims)
    sides = zip(kernels, paddings, dilations, strict=True)
    return Window(kernels, paddings, dilations, tuple(2 * p - d * (k - 1) - 1 for k, p, d in sides))


class Conv:
    """A convolution over 1, 2 or 3 spatial dimensions, as many as its input has.

    ``padding`` None keeps the size of an odd kernel at stride 1. ``transposed`` with ``output_padding`` is
    ConvTranspose.
    """

    __slots__ = (
        "bias", "channels", "dilation", "dims", "groups", "kernel", "output_padding", "padding", "reach", "stride",
        "tape", "transposed", "weight",
    )  # fmt: skip

    def __init__(
        self,
        tape: Tape,
        inside: int,
        channels: int,
        kernel: Pair = 1,
        stride: Pair = 1,
        padding: Pair | None = 0,
        dilation: Pair = 1,
        groups: int = 1,
        *,
        bias: bool = True,
        dims: int = 2,
        transposed: bool = False,
        output_padding: Pair = 0,
    ) -> None:
        self.tape = tape
        self.channels = channels
        self.dims = dims
        given = [each if isinstance(each, int) or each is None else tuple(each) for each in (kernel, padding, dilation)]
        self.kernel, self.padding, self.dilation, self.reach = _window(*given, dims)
        self.stride = pair(stride, dims)
        self.groups = groups
        self.transposed = transposed
        self.output_padding = pair(output_padding, dims)
        self.weight = tape.parameter(inside * channels // groups * prod(self.kernel))
        self.bias = tape.parameter(channels) if bias else None

    def dilated(self, dilation: int) -> Conv:
        """The same weight under another dilation, padded so that a 3x3 kernel keeps the size."""
        other = copy(self)
        _, other.padding, other.dilation, other.reach = _window(self.kernel, dilation, dilation, self.dims)
        return other

    def __call__(self, x: Tensor) -> Tensor:
        tape = self.tape
        x = tape.lowered(x) if tape.half else x
        weight = self.used_weight()
        each = x.itemsize
        inputs: list[Tensor | Parameter] = [x, weight]
        grads = [x.bytes, each * self.weight.elements]
        if self.bias is not None:
            inputs.append(tape.weight(self.bias) if tape.half else self.bias)
            grads.append(each * self.channels)
        saved = (x, weight) if type(weight) is Tensor else (x,)
        shape = self._shape(x.shape)
        if not tape.stack.winograd_workspace:
            return tape.record(shape, each, inputs, grads, saved)
        scratch = self.workspace_bytes(x, shape)
        working = tape.new(scratch, itemsize=1) if scratch else None
        found = tape.record(shape, each, inputs, grads, saved, transient=scratch)
        del working
        return found

    def used_weight(self) -> Tensor | Parameter:
        """The weight as the kernel takes it."""
        return self.tape.weight(self.weight) if self.tape.half else self.weight

    def workspace_bytes(self, x: Tensor, shape: tuple[int, ...]) -> int:
        """What the kernel itself allocates, by the stack.

        Non-fused Winograd F(4x4, 3x3) transforms every tile of 4x4 numbers to 6x6, of the input and of the output, and
        every 3x3 filter to 6x6 (A. Lavin and S. Gray, arXiv 1509.09308); it takes stride 1 without dilation or groups.
        """
        plain = self.groups == 1 and self.kernel == (3, 3) and set(self.stride + self.dilation) == {1}
        if self.transposed or not plain or x.itemsize != 4:
            return 0
        return round(36 / 16 * (x.bytes + 4 * prod(shape))) + 4 * 4 * self.weight.elements

    def _shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The output's shape for an input's."""
        if self.dims != 2 or self.transposed:
            return (shape[0], self.channels, *self.sides(shape[2:]))
        batch, _, height, width = shape
        (above, beside), (down, across) = self.reach, self.stride
        return batch, self.channels, (height + above) // down + 1, (width + beside) // across + 1

    def sides(self, sides: tuple[int, ...]) -> list[int]:
        """The output's spatial sides for an input's."""
        if self.transposed:
            ends = zip(sides, self.stride, self.reach, self.output_padding, strict=True)
            return [(n - 1) * s - r + o for n, s, r, o in ends]
        return [(n + r) // s + 1 for n, r, s in zip(sides, self.reach, self.stride, strict=True)]


def standardised(tape: Tape, weight: Parameter) -> Tensor:
    """``(weight - mean) / std``, as mmcv's ConvWS and ConvAWS: the centred weight is kept, and so is the result."""
    size = 4 * weight.elements
    # The divisor's gradient is ``-grad * ((self / other) / other)`` (torch ``FunctionsManual.cpp``): at most four
    # temporaries. A trace of mmdet's ConvAWS rules out two and does not tell three from four.
    centred = tape.record((weight.elements,), 4, (weight,), (SAME,))
    return tape.record((weight.elements,), 4, (centred,), (size,), (centred,), transient=4 * size)


class StandardisedConv(Conv):
    """A convolution whose weight is standardised at every call (weight standardisation)."""

    __slots__ = ()

    def used_weight(self) -> Tensor | Parameter:
        return self.tape.lowered(standardised(self.tape, self.weight))


class DeformConv:
    """DCN v1 or v2 (``modulated``) with its own offset convolution, as mmcv's ``…Pack`` layers and detectron2's blocks.

    Transient: the unfolded columns, of one image in v2, of up to 32 in v1 (mmcv 2.1 ``ops/csrc``).
    """

    def __init__(
        self,
        tape: Tape,
        inside: int,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        padding: int = 1,
        dilation: int = 1,
        groups: int = 1,
        *,
        deform_groups: int = 1,
        modulated: bool = False,
        bias: bool = False,
        own_offsets: bool = True,
    ) -> None:
        self.tape, self.modulated, self.kernel = tape, modulated, kernel
        self.plain = Conv(tape, inside, channels, kernel, stride, padding, dilation, groups, bias=bias)
        count = deform_groups * (3 if modulated else 2) * kernel * kernel
        self.offset = Conv(tape, inside, count, kernel, stride, padding, dilation) if own_offsets else None

    def __call__(self, x: Tensor, offset: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        tape = self.tape
        if self.offset is not None:
            offset = self.offset(x)
            if self.modulated:
                third = offset.shape[1] // 3
                first, second, third_part = ops.split(offset, [third] * 3)
                offset, mask = ops.concatenate([first, second]), ops.sigmoid(third_part)
        assert offset is not None
        x = tape.lowered(x)
        conv = self.plain
        sides = conv.sides(x.shape[2:])
        images = 1 if self.modulated else min(32, x.shape[0])
        columns = images * x.shape[1] * self.kernel**2 * prod(sides) * x.itemsize
        weight = tape.weight(conv.weight)
        inputs: list[Tensor | Parameter] = [x, weight, offset]
        grads = [x.bytes, x.itemsize * conv.weight.elements, offset.bytes]
        saved = [x, offset, *([weight] if isinstance(weight, Tensor) else [])]
        for extra in (mask,) if mask is not None else ():
            inputs.append(extra)
            grads.append(extra.bytes)
            saved.append(extra)
        if conv.bias is not None:
            inputs.append(tape.weight(conv.bias))
            grads.append(x.itemsize * conv.channels)
        unfolded = tape.new(columns, itemsize=1)
        found = tape.record((x.shape[0], conv.channels, *sides), x.itemsize, inputs, grads, saved, transient=columns)
        del unfolded
        return found


class Linear:
    """``nn.Linear`` over the last dimension. The input is kept where the weight is trained."""

    __slots__ = ("bias", "channels", "inside", "tape", "weight")

    def __init__(self, tape: Tape, inside: int, channels: int, *, bias: bool = True) -> None:
        self.tape = tape
        self.inside = inside
        self.channels = channels
        self.weight = tape.parameter(inside * channels)
        self.bias = tape.parameter(channels) if bias else None

    def __call__(self, x: Tensor) -> Tensor:
        tape = self.tape
        x = tape.lowered(x) if tape.half else x
        weight = tape.weight(self.weight) if tape.half else self.weight
        inputs: list[Tensor | Parameter] = [x, weight]
        grads = [x.bytes, x.itemsize * self.weight.elements]
        if self.bias is not None:
            inputs.append(tape.weight(self.bias) if tape.half else self.bias)
            grads.append(x.itemsize * self.channels)
        saved = [x] if self.weight.trainable else []
        if isinstance(weight, Tensor) and x.node is not None:
            saved.append(weight)
        return tape.record((*x.shape[:-1], self.channels), x.itemsize, inputs, grads, saved)


class BatchNorm:
    """Batch norm over dimension 1, synchronised or not. Keeps its input and two statistics a channel.

    Made inside :meth:`Tape.frozen`, or with ``evaluation``, it runs with its running statistics (``norm_eval``): its
    input is still kept.
    """

    __slots__ = ("bias", "channels", "evaluation", "statistics", "tape", "weight")

    def __init__(self, tape: Tape, channels: int, *, affine: bool = True, evaluation: bool = False) -> None:
        self.tape = tape
        self.channels = channels
        self.evaluation = evaluation or not tape.trainable
        self.weight = tape.parameter(channels) if affine else None
        self.bias = tape.parameter(channels) if affine else None
        self.statistics = 2 * -(-4 * channels // 512) * 512
        tape.buffer_bytes += self.statistics + 512

    def __call__(self, x: Tensor) -> Tensor:
        tape = self.tape
        inputs: list[Tensor | Parameter] = [x]
        grads = [x.bytes]
        if self.weight is not None and self.bias is not None:
            inputs += [self.weight, self.bias]
            grads += [4 * self.channels] * 2
        statistics = 0 if self.evaluation or not tape.training else self.statistics
        if tape.stack.norms_in_fp32 and x.itemsize == 2:
            raised = tape.raised(x)
            inputs[0], grads[0] = raised, raised.bytes
            found = tape.record(x.shape, 4, inputs, grads, (raised,), extra_saved_bytes=statistics)
            return tape.cast(found, 2)
        return tape.record(x.shape, x.itemsize, inputs, grads, (x,), extra_saved_bytes=statistics)


class AffineNorm:
    """detectron2's FrozenBatchNorm2d while gradients flow: ``x * scale + bias``, which keeps nothing of ``x``."""

    __slots__ = ("tape",)

    def __init__(self, tape: Tape, channels: int) -> None:
        self.tape = tape
        tape.buffer_bytes += 4 * -(-4 * channels // 512) * 512

    def __call__(self, x: Tensor) -> Tensor:
        if x.node is None or not self.tape.graph:
            return ops.shifted(x)
        return ops.shifted(ops.scaled(x))


class _Normalised:
    """Layer and group norm: in fp32 under autocast; keeps its input and two statistics a group."""

    __slots__ = ("bias", "elements", "tape", "weight")

    def __init__(self, tape: Tape, channels: int, *, affine: bool = True) -> None:
        self.tape = tape
        self.elements = channels
        self.weight = tape.parameter(channels) if affine else None
        self.bias = tape.parameter(channels) if affine else None

    def _run(self, x: Tensor, groups: int) -> Tensor:
        tape = self.tape
        if tape.half:
            x = tape.raised(x)
        inputs: list[Tensor | Parameter] = [x]
        grads = [x.bytes]
        if self.weight is not None and self.bias is not None:
            inputs += [self.weight, self.bias]
            grads += [4 * self.elements] * 2
        return tape.record(
            x.shape, x.itemsize, inputs, grads, (x,), extra_saved_bytes=2 * -(-x.itemsize * groups // 512) * 512
        )


class LayerNorm(_Normalised):
    """Over the last dimension."""

    def __call__(self, x: Tensor) -> Tensor:
        return self._run(x, prod(x.shape[:-1]))


class GroupNorm(_Normalised):
    """``groups`` groups of dimension 1."""

    __slots__ = ("groups",)

    def __init__(self, tape: Tape, groups: int, channels: int, *, affine: bool = True) -> None:
        super().__init__(tape, channels, affine=affine)
        self.groups = groups

    def __call__(self, x: Tensor) -> Tensor:
        found = self._run(x, x.shape[0] * self.groups)
        if not self.tape.stack.composed_group_norm or self.weight is None or self.bias is None:
            return found
        # ``bias.addcmul(normalised, weight)``: the gradient of the weight needs what it multiplied.
        grads = (found.bytes, 4 * self.elements, 4 * self.elements)
        inputs = (found, self.weight, self.bias)
        return self.tape.record(found.shape, found.itemsize, inputs, grads, (found,), transient=found.bytes)


class MapLayerNorm:
    """Layer norm over the channels of a map (``LN2d``): permuted to the last dimension and back, as views."""

    def __init__(self, tape: Tape, channels: int) -> None:
        self.norm = LayerNorm(tape, channels)

    def __call__(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        found = self.norm(x.view(batch, height, width, channels))
        return found.view(batch, channels, height, width)


class ChannelNorm:
    """detectron2's own LayerNorm over the channels of a map, one operation after the other (``layers/batch_norm.py``).

    Two differences from the mean are made; the first is kept for its square (in fp32 under autocast), the second for
    the quotient, and the quotient for the weight.
    """

    def __init__(self, tape: Tape, channels: int) -> None:
        self.tape, self.channels = tape, channels
        self.weight, self.bias = tape.parameter(channels), tape.parameter(channels)

    def __call__(self, x: Tensor) -> Tensor:
        tape = self.tape
        single = (x.shape[0], 1, *x.shape[2:])
        average = ops.mean(x, single)
        difference = tape.record(x.shape, x.itemsize, (x, average), (SAME, average.bytes), transient=x.bytes)
        if tape.half:
            difference = tape.raised(difference)
        square = tape.record(x.shape, difference.itemsize, (difference,), (difference.bytes,), (difference,),
                             transient=difference.bytes)  # fmt: skip
        del difference
        root = ops.keeps_result(ops.shifted(ops.mean(square, single)))
        del square
        centred = tape.record(x.shape, x.itemsize, (x, average), (SAME, average.bytes), transient=x.bytes)
        del x, average
        size = 4 * centred.elements if root.itemsize == 4 else centred.bytes
        quotient = tape.record(centred.shape, root.itemsize, (centred, root), (centred.bytes, root.bytes),
                               (centred, root), transient=2 * size)  # fmt: skip
        del centred, root
        weight = (quotient, self.weight)
        found = tape.record(quotient.shape, 4, weight, (quotient.bytes, 4 * self.channels), (quotient,), transient=size)
        del quotient, weight
        return ops.add(found, self.bias)


class Embedding:
    """``nn.Embedding``: keeps the indices."""

    def __init__(self, tape: Tape, entries: int, channels: int) -> None:
        self.tape, self.channels = tape, channels
        self.weight = tape.parameter(entries * channels)

    def __call__(self, *shape: int) -> Tensor:
        indices = self.tape.new(*shape, itemsize=8)
        return self.tape.record((*shape, self.channels), 4, (self.weight,), (4 * self.weight.elements,), (indices,))


def chain(*layers: Layer) -> Layer:
    """Layers one after the other (``nn.Sequential``)."""

    def run(x: Tensor) -> Tensor:
        for layer in layers:
            x = layer(x)
        return x

    return run


def as_input(parameter: Parameter, shape: tuple[int, ...], tape: Tape) -> Tensor:
    """A parameter used as an activation (queries, class tokens, positions), without a copy."""
    empty = tape.new(0)
    node = parameter.node
    return Tensor(shape, 4, empty.storage, node)
