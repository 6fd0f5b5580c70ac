"""Layers with weights. Each is made once (its parameters exist from then on) and called as often as the model uses it.

Parameters by torch's constructors; what is kept for backward as in ``functions``. Sources: torch 2.13 ``nn/modules``,
mmcv 2.1.0 ``cnn/bricks`` (ConvModule, build_norm_layer, build_activation_layer) and ``ops`` for deformable kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.functions import Pair, pair
from vramlint.memory.layers.tape import Parameter, Tape, Tensor

Layer = Callable[[Tensor], Tensor]


class Conv:
    """A convolution over 1, 2 or 3 spatial dimensions, as many as its input has.

    ``padding`` None keeps the size of an odd kernel at stride 1. ``transposed`` with ``output_padding`` is
    ConvTranspose.
    """

    __slots__ = (
        "bias", "channels", "dilation", "dims", "groups", "kernel", "output_padding", "padding", "stride", "tape",
        "transposed", "weight",
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
        self.kernel = pair(kernel, dims)
        self.stride = pair(stride, dims)
        self.dilation = pair(dilation, dims)
        same = tuple(d * (k - 1) // 2 for d, k in zip(self.dilation, self.kernel, strict=True))
        self.padding = same if padding is None else pair(padding, dims)
        self.groups = groups
        self.transposed = transposed
        self.output_padding = pair(output_padding, dims)
        self.weight = tape.parameter(inside * channels // groups * prod(self.kernel))
        self.bias = tape.parameter(channels) if bias else None

    def __call__(self, x: Tensor) -> Tensor:
        tape = self.tape
        x = tape.lowered(x)
        weight = tape.weight(self.weight)
        each = x.itemsize
        inputs: list[Tensor | Parameter] = [x, weight]
        grads = [x.bytes, each * self.weight.elements]
        if self.bias is not None:
            inputs.append(tape.weight(self.bias))
            grads.append(each * self.channels)
        saved = (x,) if isinstance(weight, Parameter) else (x, weight)
        return tape.record((x.shape[0], self.channels, *self._sides(x.shape[2:])), each, inputs, grads, saved)

    def _sides(self, sides: tuple[int, ...]) -> list[int]:
        if self.transposed:
            return [
                (n - 1) * s - 2 * p + d * (k - 1) + o + 1
                for n, k, s, p, d, o in zip(
                    sides, self.kernel, self.stride, self.padding, self.dilation, self.output_padding, strict=True
                )
            ]
        return [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(sides, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        ]


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
        sides = conv._sides(x.shape[2:])
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
        x = tape.lowered(x)
        weight = tape.weight(self.weight)
        inputs: list[Tensor | Parameter] = [x, weight]
        grads = [x.bytes, x.itemsize * self.weight.elements]
        if self.bias is not None:
            inputs.append(tape.weight(self.bias))
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

    __slots__ = ("bias", "channels", "evaluation", "tape", "weight")

    def __init__(self, tape: Tape, channels: int, *, affine: bool = True, evaluation: bool = False) -> None:
        self.tape = tape
        self.channels = channels
        self.evaluation = evaluation or not tape.trainable
        self.weight = tape.parameter(channels) if affine else None
        self.bias = tape.parameter(channels) if affine else None
        tape.buffer_bytes += 2 * -(-4 * channels // 512) * 512 + 512

    def __call__(self, x: Tensor) -> Tensor:
        tape = self.tape
        inputs: list[Tensor | Parameter] = [x]
        grads = [x.bytes]
        if self.weight is not None and self.bias is not None:
            inputs += [self.weight, self.bias]
            grads += [4 * self.channels] * 2
        statistics = 0 if self.evaluation or not tape.training else 2 * -(-4 * self.channels // 512) * 512
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
        return self._run(x, x.shape[0] * self.groups)


class MapLayerNorm:
    """Layer norm over the channels of a map (``LN2d``): permuted to the last dimension and back, as views."""

    def __init__(self, tape: Tape, channels: int) -> None:
        self.norm = LayerNorm(tape, channels)

    def __call__(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        found = self.norm(x.view(batch, height, width, channels))
        return found.view(batch, channels, height, width)


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


# --- by configuration ------------------------------------------------------------------------------------------------

Config = Mapping[str, Any]

_BATCH_NORMS = (
    "BN",
    "SyncBN",
    "BN2d",
    "BN1d",
    "BN3d",
    "MMSyncBN",
    "SyncBatchNorm",
    "BatchNorm2d",
    "NaiveSyncBN",
    "MMBN",
)


def norm(tape: Tape, config: Config, channels: int, *, evaluation: bool = False) -> Layer:
    """``build_norm_layer``; ``requires_grad=False`` leaves its weights untrained. KeyError for an unknown kind."""
    kind = str(config["type"])
    with tape.frozen(active=not config.get("requires_grad", True)):
        if kind in _BATCH_NORMS:
            made = BatchNorm(tape, channels, affine=config.get("affine", True), evaluation=True)
            made.evaluation = evaluation
            return made
        if kind == "GN":
            return GroupNorm(tape, int(config["num_groups"]), channels)
        if kind in ("LN", "LayerNorm"):
            return LayerNorm(tape, channels)
        if kind == "LN2d":
            return MapLayerNorm(tape, channels)
        if kind in ("IN", "IN2d", "InstanceNorm2d"):
            return BatchNorm(tape, channels, affine=config.get("affine", False))
        if kind == "FrozenBN":
            return AffineNorm(tape, channels)
    raise KeyError(kind)


def activation(config: Config | None, *, inplace: bool = True) -> Layer:
    """``build_activation_layer``: a function of one tensor. Raises KeyError for an unknown kind."""
    if config is None:
        return _identity
    kind = str(config["type"])
    inside = bool(config.get("inplace", inplace))
    return _ACTIVATIONS[kind](inside)


def _identity(x: Tensor) -> Tensor:
    return x


_ACTIVATIONS: dict[str, Callable[[bool], Layer]] = {
    "ReLU": lambda inside: lambda x: ops.relu(x, inplace=inside),
    "LeakyReLU": lambda inside: lambda x: ops.leaky_relu(x, inplace=inside),
    "ReLU6": lambda inside: lambda x: ops.relu6(x, inplace=inside),
    "SiLU": lambda inside: lambda x: ops.keeps_input(x, inplace=inside),
    "Swish": lambda _: lambda x: ops.mul(x, ops.sigmoid(x)),
    "Mish": lambda inside: lambda x: ops.keeps_input(x, inplace=inside),
    "HSwish": lambda inside: lambda x: ops.keeps_input(x, inplace=inside),
    "Hardswish": lambda inside: lambda x: ops.keeps_input(x, inplace=inside),
    "HSigmoid": lambda _: lambda x: ops.keeps_input(ops.scaled(ops.shifted(x))),
    "ELU": lambda inside: lambda x: ops.relu(x, inplace=True) if inside else ops.keeps_input(x),
    "GELU": lambda _: ops.keeps_input,
    "Sigmoid": lambda _: ops.sigmoid,
    "Tanh": lambda _: ops.sigmoid,
    "Softmax": lambda _: ops.softmax,
    "PReLU": lambda _: ops.keeps_input,
    "Identity": lambda _: _identity,
}


class ConvModule:
    """mmcv's ConvModule: convolution, norm, activation in place. ``bias`` is there exactly where no norm is."""

    __slots__ = ("act", "conv", "norm", "order")

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
        norm_cfg: Config | None = None,
        act_cfg: Config | None = None,
        conv_cfg: Config | None = None,
        bias: bool | None = None,
        inplace: bool = True,
        act_first: bool = False,
        dims: int = 2,
    ) -> None:
        with_bias = norm_cfg is None if bias is None else bias
        self.conv: Callable[..., Tensor] = conv(
            tape, conv_cfg, inside, channels, kernel, stride, padding, dilation, groups, bias=with_bias, dims=dims
        )
        self.norm = None if norm_cfg is None else norm(tape, norm_cfg, inside if act_first else channels)
        self.act = None if act_cfg is None else activation(act_cfg, inplace=inplace)
        self.order = act_first

    def __call__(self, x: Tensor) -> Tensor:
        if self.order:
            x = self.norm(x) if self.norm else x
            x = self.act(x) if self.act else x
            return self.conv(x)
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.act is None else self.act(x)


RELU: Config = {"type": "ReLU"}


def conv(
    tape: Tape,
    config: Config | None,
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
) -> Callable[..., Tensor]:
    """``build_conv_layer``: plain, deformable, 1-D to 3-D. Raises KeyError for an unknown kind."""
    kind = "Conv2d" if config is None else str(config["type"])
    if kind in ("DCN", "DCNv2"):
        assert config is not None
        assert isinstance(kernel, int)
        assert isinstance(stride, int)
        assert isinstance(dilation, int)
        side = dilation * (kernel - 1) // 2 if padding is None else padding
        assert isinstance(side, int)
        return DeformConv(
            tape, inside, channels, kernel, stride, side, dilation, groups, modulated=kind == "DCNv2", bias=bias,
            deform_groups=int(config.get("deform_groups", config.get("deformable_groups", 1))),
        )  # fmt: skip
    if kind not in _CONVS:
        raise KeyError(kind)
    dims = _CONVS[kind] or dims
    return Conv(tape, inside, channels, kernel, stride, padding, dilation, groups, bias=bias, dims=dims)


_CONVS = {"Conv2d": 0, "Conv": 0, "Conv1d": 1, "Conv3d": 3, "ConvWS": 0, "ConvAWS": 0}


class SeparableConv:
    """mmcv's DepthwiseSeparableConvModule: a depthwise module and a pointwise one."""

    def __init__(
        self,
        tape: Tape,
        inside: int,
        channels: int,
        kernel: int,
        stride: int = 1,
        padding: int | None = 0,
        dilation: int = 1,
        *,
        norm_cfg: Config | None = None,
        act_cfg: Config | None = None,
        dw_act_cfg: Config | None | str = "default",
        dw_norm_cfg: Config | None | str = "default",
    ) -> None:
        first_act = act_cfg if isinstance(dw_act_cfg, str) else dw_act_cfg
        first_norm = norm_cfg if isinstance(dw_norm_cfg, str) else dw_norm_cfg
        self.depthwise = ConvModule(
            tape, inside, inside, kernel, stride, padding, dilation, groups=inside, norm_cfg=first_norm,
            act_cfg=first_act,
        )  # fmt: skip
        self.pointwise = ConvModule(tape, inside, channels, 1, norm_cfg=norm_cfg, act_cfg=act_cfg)

    def __call__(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


# --- attention -------------------------------------------------------------------------------------------------------


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
