"""MONAI's segmentation networks, in two and three dimensions: UNet, BasicUNet, SegResNet, DynUNet.

Source: MONAI 1.6.1 ``networks/nets`` (unet, basic_unet, segresnet, dynunet), ``networks/blocks`` (convolutions,
acti_norm, segresnet_block, dynunet_block, upsample), ``networks/layers/convutils.py``. They take a volume (batch,
channels, depth, height, width) or an image, and give one map of logits; DynUNet under deep supervision gives
(batch, heads, classes, …).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.nn import BatchNorm, Conv, GroupNorm, Layer
from vramlint.memory.layers.registry import Build, Config, Maps, UnknownType, backbone
from vramlint.memory.layers.tape import Tape, Tensor


def named(value: Any) -> tuple[str, Mapping[str, Any]]:
    """A layer as MONAI spells it: ``"batch"``, or ``["group", {"num_groups": 8}]``."""
    if isinstance(value, str):
        return value.lower(), {}
    name, options = value
    return str(name).lower(), dict(options)


def norm_of(tape: Tape, spelled: Any, channels: int) -> Layer | None:
    """``get_norm_layer``. Raises UnknownType."""
    if spelled is None:
        return None
    name, options = named(spelled)
    if name == "group":
        return GroupNorm(tape, int(options["num_groups"]), channels, affine=bool(options.get("affine", True)))
    if name in ("batch", "syncbatch"):
        return BatchNorm(tape, channels)
    if name in ("instance", "instance_nvfuser"):  # every channel is a group; torch's default has no weights
        return GroupNorm(tape, channels, channels, affine=bool(options.get("affine", False)))
    raise UnknownType(f"norm {name!r} of MONAI")


def activation_of(tape: Tape, spelled: Any, *, after: Any = None) -> Layer | None:
    """``get_act_layer``, right behind the norm ``after``. Raises UnknownType."""
    if spelled is None:
        return None
    name, options = named(spelled)
    inplace = bool(options.get("inplace", False))
    if inplace and after is not None and named(after)[0] == "instance":
        return lambda x: on_view(tape, x)
    if name == "prelu":
        weight = tape.parameter(int(options.get("num_parameters", 1)))
        # The gradient of the weight exists at full size before it is summed (torch ``prelu_kernel_backward``).
        return lambda x: tape.record(
            x.shape, x.itemsize, (x, weight), (x.bytes, 4 * weight.elements), (x,), transient=x.bytes
        )
    made: dict[str, Callable[[Tensor], Tensor]] = {
        "relu": lambda x: ops.relu(x, inplace=inplace),
        "leakyrelu": lambda x: ops.leaky_relu(x, inplace=inplace),
        "gelu": ops.keeps_input,
        "swish": ops.keeps_input,
        "mish": ops.keeps_input,
        "elu": ops.keeps_result,
    }
    if name not in made:
        raise UnknownType(f"activation {name!r} of MONAI")
    return made[name]


def on_view(tape: Tape, x: Tensor) -> Tensor:
    """An activation in place on an instance norm's result, which is a view of a batch norm's.

    Backward goes through ``CopySlices`` (torch ``csrc/autograd/functions/tensor.cpp``): the gradient is copied, and
    its slice cloned, before the activation's own is worked out.
    """
    return tape.record(x.shape, x.itemsize, (x,), (x.bytes,), inplace=x, save_output=True, transient=2 * x.bytes)


def rate_of(spelled: Any) -> float:
    """Dropout: a rate, or a kind with ``p``."""
    if spelled is None or isinstance(spelled, (int, float)):
        return float(spelled or 0.0)
    return float(named(spelled)[1].get("p", 0.5))


class Convolution:
    """Convolution, then norm, dropout and activation in the order of ``adn_ordering`` (NDA)."""

    def __init__(
        self, tape: Tape, dims: int, inside: int, channels: int, *, stride: Any = 1, kernel: Any = 3, act: Any = None,
        norm: Any = None, dropout: Any = None, bias: bool = True, up: bool = False, order: str = "NDA",
        padding: Any = None,
    ) -> None:  # fmt: skip
        sides, steps = _sides(kernel, dims), _sides(stride, dims)
        same = tuple((side - 1) // 2 for side in sides) if padding is None else _sides(padding, dims)
        rest = tuple(2 * p + s - k for k, s, p in zip(sides, steps, same, strict=True)) if up else 0
        self.conv = Conv(
            tape, inside, channels, sides, steps, same, bias=bias, dims=dims, transposed=up, output_padding=rest
        )  # fmt: skip
        rate = rate_of(dropout)
        layers: dict[str, Layer | None] = {"N": norm_of(tape, norm, channels)}
        layers["D"] = (lambda x: ops.dropout(x, rate)) if rate else None
        layers["A"] = activation_of(tape, act, after=norm if not rate and order.upper() == "NDA" else None)
        self.after = [layer for letter in order.upper() if (layer := layers[letter]) is not None]

    def __call__(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        for layer in self.after:
            x = layer(x)
        return x


def _sides(value: Any, dims: int) -> tuple[int, ...]:
    if isinstance(value, Sequence):
        return tuple(int(each) for each in value)
    return (int(value),) * dims


class _Options:
    """What UNet and BasicUNet pass to every convolution."""

    def __init__(self, tape: Tape, config: Config, *, act: Any, norm: Any) -> None:
        self.tape, self.dims = tape, int(config.get("spatial_dims", config.get("dimensions", 3)))
        self.kept = {
            "act": config.get("act", act), "norm": config.get("norm", norm), "dropout": config.get("dropout"),
            "bias": bool(config.get("bias", True)), "order": str(config.get("adn_ordering", "NDA")),
        }  # fmt: skip

    def conv(self, inside: int, channels: int, **changed: Any) -> Convolution:
        alone = {"act": None, "norm": None, "dropout": None} if changed.pop("alone", False) else {}
        return Convolution(self.tape, self.dims, inside, channels, **{**self.kept, **alone, **changed})


class _Residual:
    """ResidualUnit: ``units`` convolutions beside one that fits channels and stride, where they change."""

    def __init__(self, options: _Options, inside: int, channels: int, stride: Any, kernel: Any, units: int,
                 *, last_alone: bool = False) -> None:  # fmt: skip
        steps = _sides(stride, options.dims)
        self.units = [
            options.conv(
                inside if i == 0 else channels, channels, stride=stride if i == 0 else 1, kernel=kernel,
                alone=last_alone and i == units - 1,
            )
            for i in range(max(1, units))
        ]  # fmt: skip
        strided = set(steps) != {1}
        self.beside = (
            options.conv(inside, channels, stride=stride, kernel=kernel if strided else 1, alone=True)
            if strided or inside != channels
            else None
        )

    def __call__(self, x: Tensor) -> Tensor:
        beside = x if self.beside is None else self.beside(x)
        for unit in self.units:
            x = unit(x)
        return ops.add(x, beside)


@backbone("monai.UNet", "monai.Unet", "monai.unet")
class UNet:
    """Strided convolutions down, transposed ones up, residual units where ``num_res_units`` asks for them."""

    def __init__(self, build: Build, config: Config) -> None:
        self.options = _Options(build.tape, config, act="prelu", norm="instance")
        self.units = int(config.get("num_res_units", 0))
        self.kernel, self.up_kernel = config.get("kernel_size", 3), config.get("up_kernel_size", 3)
        channels, strides = [int(each) for each in config["channels"]], list(config["strides"])
        self.run = self._level(int(config["in_channels"]), int(config["out_channels"]), channels, strides, top=True)

    def _down(self, inside: int, channels: int, stride: Any) -> Layer:
        if self.units > 0:
            return _Residual(self.options, inside, channels, stride, self.kernel, self.units)
        return self.options.conv(inside, channels, stride=stride, kernel=self.kernel)

    def _level(self, inside: int, outside: int, channels: list[int], strides: list[Any], *, top: bool) -> Layer:
        first = channels[0]
        if len(channels) > 2:
            below, width = self._level(first, first, channels[1:], strides[1:], top=False), 2 * first
        else:
            below, width = self._down(first, channels[1], 1), first + channels[1]
        down = self._down(inside, first, strides[0])
        alone = top and self.units == 0
        up = self.options.conv(width, outside, stride=strides[0], kernel=self.up_kernel, up=True, alone=alone)
        unit = _Residual(self.options, outside, outside, 1, self.kernel, 1, last_alone=top) if self.units > 0 else None

        def run(x: Tensor) -> Tensor:
            x = down(x)
            x = up(ops.concatenate([x, below(x)]))
            return x if unit is None else unit(x)

        return run

    def __call__(self, x: Tensor) -> Maps:
        return [self.run(x)]


@backbone("monai.BasicUNet", "monai.BasicUnet", "monai.Basicunet")
class BasicUNet:
    """Two convolutions a level, max pooling between, transposed convolutions up."""

    def __init__(self, build: Build, config: Config) -> None:
        act = ["LeakyReLU", {"negative_slope": 0.1, "inplace": True}]
        options = _Options(build.tape, config, act=act, norm=["instance", {"affine": True}])
        if str(config.get("upsample", "deconv")) != "deconv":
            raise UnknownType("upsample other than deconv")
        widths = [int(each) for each in config.get("features", (32, 32, 64, 128, 256, 32))]
        inside = [int(config.get("in_channels", 1)), *widths[:4]]
        self.down = [_pair(options, a, b) for a, b in zip(inside, widths[:5], strict=True)]
        self.up: list[tuple[Convolution, list[Convolution]]] = []
        source = widths[4]
        for beside, out, halves in zip(widths[3::-1], [*widths[3:0:-1], widths[5]], [2, 2, 2, 1], strict=True):
            width = source // halves
            up = options.conv(source, width, stride=2, kernel=2, padding=0, up=True, alone=True, bias=True)
            self.up.append((up, _pair(options, beside + width, out)))
            source = out
        self.last = Conv(build.tape, source, int(config.get("out_channels", 2)), dims=options.dims)

    def __call__(self, x: Tensor) -> Maps:
        kept: list[Tensor] = []
        for index, pair in enumerate(self.down):
            x = _pooled(x) if index else x
            for conv in pair:
                x = conv(x)
            kept.append(x)
        kept.pop()
        for (up, pair), beside in zip(self.up, reversed(kept), strict=True):
            risen = _padded(up(x))  # alive to the end of UpCat's forward
            x = ops.concatenate([beside, risen])
            for conv in pair:
                x = conv(x)
            del risen
        return [self.last(x)]


def _pair(options: _Options, inside: int, channels: int) -> list[Convolution]:
    return [options.conv(inside, channels), options.conv(channels, channels)]


def _padded(x: Tensor) -> Tensor:
    """``pad(…, "replicate")``, a copy even where nothing is missing; keeps its input."""
    return x.storage.tape.record(x.shape, x.itemsize, (x,), (x.bytes,), (x,))


def _pooled(x: Tensor) -> Tensor:
    """Max pooling by two: the places of the maxima are kept as 64-bit integers."""
    shape = (*x.shape[:2], *(side // 2 for side in x.shape[2:]))
    places = 8 * x.elements // 2 ** len(shape[2:])
    return x.storage.tape.record(shape, x.itemsize, (x,), (x.bytes,), (x,), extra_saved_bytes=places)


class _SegResBlock:
    """Norm, ReLU, convolution, twice; the sum in place."""

    def __init__(self, tape: Tape, dims: int, channels: int, norm: Any, act: Any) -> None:
        self.layers: list[Layer] = []
        for _ in range(2):
            made = norm_of(tape, norm, channels), activation_of(tape, act)
            self.layers += [layer for layer in made if layer is not None]
            self.layers.append(Convolution(tape, dims, channels, channels, bias=False))

    def __call__(self, x: Tensor) -> Tensor:
        before = x
        for layer in self.layers:
            x = layer(x)
        return ops.add(x, before, inplace=True)


@backbone("monai.SegResNet")
class SegResNet:
    """Residual blocks with group norm; strided convolutions down, 1x1 convolutions and trilinear resizing up."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        dims, width = int(config.get("spatial_dims", 3)), int(config.get("init_filters", 8))
        if str(config.get("upsample_mode", "nontrainable")) != "nontrainable":
            raise UnknownType("upsample_mode other than nontrainable")
        act = config.get("act", ["RELU", {"inplace": True}])
        norm = config.get("norm", ["GROUP", {"num_groups": 8}])
        self.rate = float(config.get("dropout_prob") or 0.0)
        self.first = Convolution(tape, dims, int(config.get("in_channels", 1)), width, bias=False)
        self.down: list[list[Layer]] = []
        for level, count in enumerate(config.get("blocks_down", (1, 2, 2, 4))):
            here = width * 2**level
            before: list[Layer] = [Convolution(tape, dims, here // 2, here, stride=2, bias=False)] if level else []
            self.down.append([*before, *(_SegResBlock(tape, dims, here, norm, act) for _ in range(int(count)))])
        counts = [int(each) for each in config.get("blocks_up", (1, 1, 1))]
        self.up: list[tuple[Layer, list[Layer]]] = []
        for index, count in enumerate(counts):
            here = width * 2 ** (len(counts) - index)
            narrow = Convolution(tape, dims, here, here // 2, kernel=1, bias=False)
            self.up.append((narrow, [_SegResBlock(tape, dims, here // 2, norm, act) for _ in range(count)]))
        made = norm_of(tape, norm, width), activation_of(tape, act)
        last = Convolution(tape, dims, width, int(config.get("out_channels", 2)), kernel=1)
        self.last: list[Layer] = [*(layer for layer in made if layer is not None), last]

    def __call__(self, x: Tensor) -> Maps:
        x = ops.dropout(self.first(x), self.rate)
        kept: list[Tensor] = []
        for stage in self.down:
            for layer in stage:
                x = layer(x)
            kept.append(x)
        for (narrow, blocks), beside in zip(self.up, kept[-2::-1], strict=False):
            x = ops.add(ops.enlarged(narrow(x), 2), beside)
            for block in blocks:
                x = block(x)
        for layer in self.last:
            x = layer(x)
        return [x]


class _DynBlock:
    """UnetBasicBlock or UnetResBlock: two convolutions with norms; the block's sum is in place."""

    def __init__(self, net: DynUNet, inside: int, channels: int, kernel: Any, stride: Any, *, residual: bool) -> None:
        self.first, self.norm_first = net.conv(inside, channels, kernel, stride), net.norm(channels)
        self.second, self.norm_second = net.conv(channels, channels, kernel, 1), net.norm(channels)
        changes = inside != channels or set(_sides(stride, net.dims)) != {1}
        self.beside = (net.conv(inside, channels, 1, stride), net.norm(channels)) if residual and changes else None
        self.residual, self.act = residual, net.act()

    def __call__(self, x: Tensor) -> Tensor:
        found = self.act(self.norm_first(self.first(x)))
        found = self.norm_second(self.second(found))
        if self.residual:
            beside = x if self.beside is None else self.beside[1](self.beside[0](x))
            found = ops.add(found, beside, inplace=True)
        return self.act(found)


@backbone("monai.DynUNet", "monai.DynUnet", "monai.Dynunet")
class DynUNet:
    """nnU-Net's network: kernels and strides of every level from the configuration."""

    def __init__(self, build: Build, config: Config) -> None:
        self.tape, self.config = build.tape, config
        self.dims = int(config["spatial_dims"])
        self.rate = config.get("dropout")
        kernels, strides = list(config["kernel_size"]), list(config["strides"])
        ups = list(config["upsample_kernel_size"])
        most = 320 if self.dims == 3 else 512
        given = config.get("filters")
        widths = [int(each) for each in given] if given else [min(2 ** (5 + i), most) for i in range(len(strides))]
        widths = widths[: len(strides)]
        residual = bool(config.get("res_block", False))
        inside = [int(config["in_channels"]), *widths[:-1]]
        self.down = [
            _DynBlock(self, a, b, kernel, stride, residual=residual)
            for a, b, kernel, stride in zip(inside, widths, kernels, strides, strict=True)
        ]
        bias = bool(config.get("trans_bias", False))
        self.up: list[tuple[Layer, _DynBlock]] = []
        for index in range(len(widths) - 1, 0, -1):
            width = widths[index - 1]
            rise = self.conv(widths[index], width, ups[index - 1], ups[index - 1], up=True, bias=bias)
            self.up.append((rise, _DynBlock(self, 2 * width, width, kernels[index], 1, residual=False)))
        heads = int(config.get("deep_supr_num", 1)) if config.get("deep_supervision") else 0
        classes = int(config["out_channels"])
        self.heads = [self.conv(widths[i], classes, 1, 1, bias=True) for i in range(heads + 1)]

    def conv(
        self, inside: int, channels: int, kernel: Any, stride: Any, *, up: bool = False, bias: bool = False
    ) -> Layer:
        """``get_conv_layer`` of ``dynunet_block``: padded by (kernel - stride + 1) / 2, no bias unless asked for."""
        sides, steps = _sides(kernel, self.dims), _sides(stride, self.dims)
        padding = tuple(int((k - s + 1) / 2) for k, s in zip(sides, steps, strict=True))
        return Convolution(
            self.tape, self.dims, inside, channels, kernel=sides, stride=steps, padding=padding, up=up, bias=bias,
            dropout=self.rate,
        )  # fmt: skip

    def norm(self, channels: int) -> Layer:
        """The norm by ``norm_name``."""
        found = norm_of(self.tape, self.config.get("norm_name", ["INSTANCE", {"affine": True}]), channels)
        assert found is not None
        return found

    def act(self) -> Layer:
        """The activation by ``act_name``."""
        after = self.config.get("norm_name", ["INSTANCE", {"affine": True}])
        found = activation_of(self.tape, self.config.get("act_name", ["leakyrelu", {"inplace": True}]), after=after)
        assert found is not None
        return found

    def __call__(self, x: Tensor) -> Maps:
        kept: list[Tensor] = []
        for block in self.down:
            x = block(x)
            kept.append(x)
        kept.pop()
        extra: list[Tensor] = []
        for level, (rise, block) in zip(range(len(self.up) - 1, -1, -1), self.up, strict=True):
            x = block(ops.concatenate([rise(x), kept.pop()]))
            if 1 <= level < len(self.heads):
                extra.append(self.heads[level](x))
        out = self.heads[0](x)
        if not extra:
            return [out]
        every = [out, *(ops.resize(each, out.shape[2:]) for each in reversed(extra))]
        return [ops.concatenate([each.view(each.shape[0], 1, *each.shape[1:]) for each in every])]
