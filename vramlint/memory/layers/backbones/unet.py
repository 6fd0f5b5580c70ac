"""U-Net. Source: mmsegmentation 1.2.2 ``backbones/unet.py``, ``utils/up_conv_block.py``."""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.mobilenet import maybe_checkpoint
from vramlint.memory.layers.backbones.resnet import BN
from vramlint.memory.layers.bricks import RELU, ConvModule, activation, norm
from vramlint.memory.layers.nn import Conv, Layer, chain
from vramlint.memory.layers.registry import Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tape, Tensor


class _Parts:
    def __init__(self, tape: Tape, config: Config) -> None:
        self.tape = tape
        self.norm: Config = config.get("norm_cfg") or BN
        self.act: Config = config.get("act_cfg") or RELU
        self.conv: Config | None = config.get("conv_cfg")
        self.checkpointing = bool(config.get("with_cp", False))

    def wrapped(self, layer: Layer) -> Layer:
        return lambda x: maybe_checkpoint(layer, x, active=self.checkpointing)

    def block(self, inside: int, channels: int, count: int, stride: int, dilation: int) -> Layer:
        layers = []
        for index in range(count):
            spread = dilation if index else 1
            options: Any = {"norm_cfg": self.norm, "act_cfg": self.act, "conv_cfg": self.conv}
            layers.append(
                ConvModule(
                    self.tape, channels if index else inside, channels, 3, 1 if index else stride, spread, spread,
                    **options,
                )
            )  # fmt: skip
        return self.wrapped(chain(*layers))

    def upsample(self, config: Config | None, inside: int, channels: int) -> Layer:
        options: Any = {"norm_cfg": self.norm, "act_cfg": self.act}
        if config is None:
            return ConvModule(self.tape, inside, channels, **options)
        kind = config.get("type")
        if kind == "DeconvModule":
            kernel, factor = int(config.get("kernel_size", 4)), int(config.get("scale_factor", 2))
            conv = Conv(self.tape, inside, channels, kernel, factor, (kernel - factor) // 2, transposed=True)
            return self.wrapped(chain(conv, norm(self.tape, self.norm, channels), activation(self.act, inplace=False)))
        if kind != "InterpConv":
            raise KeyError(str(kind))
        made = ConvModule(
            self.tape, inside, channels, int(config.get("kernel_size", 1)), 1, int(config.get("padding", 0)), **options
        )
        factor = int((config.get("upsample_cfg") or {}).get("scale_factor", 2))

        def grow(x: Tensor) -> Tensor:
            return ops.enlarged(x, factor)

        return self.wrapped(chain(made, grow) if config.get("conv_first") else chain(grow, made))


@backbone("UNet")
class UNet:
    """Encoder, decoder, and every decoder level as an output."""

    def __init__(self, build: Build, config: Config) -> None:
        parts = _Parts(build.tape, config)
        count, base = int(config.get("num_stages", 5)), int(config.get("base_channels", 64))
        strides, downs = config.get("strides", (1,) * 5), config.get("downsamples", (True,) * 4)
        depths, ups = config.get("enc_num_convs", (2,) * 5), config.get("dec_num_convs", (2,) * 4)
        spread, unspread = config.get("enc_dilations", (1,) * 5), config.get("dec_dilations", (1,) * 4)
        upsample = config.get("upsample_cfg", {"type": "InterpConv"})
        inside = int(config.get("in_channels", 3))
        self.encoder: list[Layer] = []
        self.decoder: list[tuple[Layer, Layer]] = []
        for index in range(count):
            width = base * 2**index
            pooled = index and int(strides[index]) == 1 and downs[index - 1]
            if index:
                grows = int(strides[index]) != 1 or bool(downs[index - 1])
                skip = base * 2 ** (index - 1)
                self.decoder.append(
                    (
                        parts.block(2 * skip, skip, int(ups[index - 1]), 1, int(unspread[index - 1])),
                        parts.upsample(upsample if grows else None, width, skip),
                    )
                )
            block = parts.block(inside, width, int(depths[index]), int(strides[index]), int(spread[index]))
            self.encoder.append(chain(lambda x: ops.max_pool(x, 2), block) if pooled else block)
            inside = width

    def __call__(self, x: Tensor) -> Maps:
        skips: Maps = []
        for encoder in self.encoder:
            x = encoder(x)
            skips.append(x)
        outs = [x]
        for index in reversed(range(len(self.decoder))):
            block, upsample = self.decoder[index]
            x = block(ops.concatenate([skips[index], upsample(x)]))
            outs.append(x)
        return outs
