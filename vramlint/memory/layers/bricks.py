"""Layers by configuration, as mmcv 2.1.0 ``cnn/bricks`` builds them: norms, activations, convolutions, ConvModule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.functions import Pair
from vramlint.memory.layers.nn import (
    AffineNorm,
    BatchNorm,
    Conv,
    DeformConv,
    GroupNorm,
    Layer,
    LayerNorm,
    MapLayerNorm,
    StandardisedConv,
)
from vramlint.memory.layers.switchable import SwitchableConv
from vramlint.memory.layers.tape import Tape, Tensor

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
    "naiveSyncBN1d",
    "naiveSyncBN2d",
    "MMBN",
)


def norm(tape: Tape, config: Config, channels: int, *, evaluation: bool = False) -> Layer:
    """``build_norm_layer``; ``requires_grad=False`` leaves its weights untrained. KeyError for an unknown kind."""
    if config.get("requires_grad", True):
        return _norm(tape, config, channels, evaluation=evaluation)
    with tape.frozen():
        return _norm(tape, config, channels, evaluation=evaluation)


def _norm(tape: Tape, config: Config, channels: int, *, evaluation: bool) -> Layer:
    kind = str(config["type"])
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
    kind = str(config["type"]).rpartition(".")[2]
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
    if kind == "SAC":
        assert config is not None
        assert isinstance(kernel, int)
        assert isinstance(stride, int)
        assert isinstance(padding, int)
        assert isinstance(dilation, int)
        deformable = bool(config.get("use_deform", False))
        return SwitchableConv(tape, inside, channels, kernel, stride, padding, dilation, deformable=deformable)
    if kind not in _CONVS:
        raise KeyError(kind)
    dims = _CONVS[kind] or dims
    made = StandardisedConv if kind in ("ConvWS", "ConvAWS") else Conv
    return made(tape, inside, channels, kernel, stride, padding, dilation, groups, bias=bias, dims=dims)


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
