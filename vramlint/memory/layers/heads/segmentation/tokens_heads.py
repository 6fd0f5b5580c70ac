"""Heads after plain transformers: SETR, DPT, Segmenter; and SegNeXt's.

Source: mmsegmentation 1.2.2 ``decode_heads/{setr_up,setr_mla,dpt,segmenter_mask,ham}_head.py``.
"""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.tokens import LN, Attention, FeedForward, rates
from vramlint.memory.layers.bricks import ConvModule, activation, norm
from vramlint.memory.layers.heads.segmentation.base import DecodeHead
from vramlint.memory.layers.necks.segmentation import normed_tokens
from vramlint.memory.layers.nn import Conv, Layer, Linear, chain
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import PART, Tape, Tensor


def _enlarging(factor: int) -> Layer:
    return lambda x: ops.enlarged(x, factor)


@head("SETRUPHead")
class SETRUPHead(DecodeHead):
    """A norm, then convolutions each followed by an enlargement."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.before = norm(self.tape, config.get("norm_layer") or LN, self.inside)
        kernel, factor = int(config.get("kernel_size", 3)), int(config.get("up_scale", 4))
        layers: list[Layer] = []
        inside = self.inside
        for _ in range(int(config.get("num_convs", 1))):
            layers += [self.module(inside, self.channels, kernel, padding=(kernel - 1) // 2), _enlarging(factor)]
            inside = self.channels
        self.layers = chain(*layers)

    def features(self, maps: Maps) -> Tensor:
        return self.layers(normed_tokens(self.picked(maps), self.before))


@head("SETRMLAHead")
class SETRMLAHead(DecodeHead):
    """Two convolutions and an enlargement for each map, joined."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        width, factor = int(config.get("mla_channels", 128)), int(config.get("up_scale", 4))
        self.ups = [
            chain(self.module(each, width, 3, padding=1), self.module(width, width, 3, padding=1), _enlarging(factor))
            for each in self.inside
        ]

    def features(self, maps: Maps) -> Tensor:
        outs = [up(x) for up, x in zip(self.ups, self.several(maps), strict=True)]
        return ops.concatenate(outs)


class _Residual:
    """PreActResidualConvUnit: activation, convolution, norm, twice, and a sum with a copy of the input."""

    def __init__(self, tape: Tape, channels: int, norms: Config, act: Config) -> None:
        self.units = []
        for _ in range(2):
            conv = Conv(tape, channels, channels, 3, 1, 1, bias=False)
            self.units.append((activation(act), conv, norm(tape, norms, channels)))

    def __call__(self, x: Tensor) -> Tensor:
        kept = ops.copy(x)
        for act, conv, normed in self.units:
            x = normed(conv(act(x)))
        return ops.add(x, kept)


class _Fusion:
    def __init__(self, owner: DecodeHead, norms: Config, act: Config, *, first: bool) -> None:
        width = owner.channels
        self.project = owner.module(width, width, act_cfg=None, bias=True)
        residuals = [_Residual(owner.tape, width, norms, act) for _ in range(1 if first else 2)]
        self.first, self.second = (None if first else residuals[0]), residuals[-1]

    def __call__(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        if other is not None and self.first is not None:
            other = ops.resize(other, x.size) if other.shape != x.shape else other
            x = ops.add(x, self.first(other))
        return self.project(ops.enlarged(self.second(x), 2))


@head("DPTHead")
class DPTHead(DecodeHead):
    """Dense prediction transformer: tokens of four blocks reassembled at four sizes and fused."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        tape, width = self.tape, int(config.get("embed_dims", 768))
        outs = [int(each) for each in config.get("post_process_channels", (96, 192, 384, 768))]
        norms, act = config.get("norm_cfg") or {"type": "BN"}, config.get("act_cfg") or {"type": "ReLU"}
        self.norm = None
        self.readout = str(config.get("readout_type", "ignore"))
        self.projects = [ConvModule(tape, width, each) for each in outs]
        self.resizes: list[Layer] = [
            Conv(tape, outs[0], outs[0], 4, 4, transposed=True),
            Conv(tape, outs[1], outs[1], 2, 2, transposed=True),
            lambda x: x,
            Conv(tape, outs[3], outs[3], 3, 2, 1),
        ]
        self.readouts = [Linear(tape, 2 * width, width) for _ in outs] if self.readout == "project" else []
        if config.get("expand_channels"):
            outs = [each * 2**index for index, each in enumerate(outs)]
        self.convs = [self.module(each, self.channels, 3, padding=1, act_cfg=None, bias=False) for each in outs]
        self.fusions = [_Fusion(self, norms, act, first=index == 0) for index in range(len(outs))]
        self.last = Conv(tape, self.channels, self.outputs)
        self.project = self.module(self.channels, self.channels, 3, padding=1, norm_cfg=norms)

    classifier = False

    def features(self, maps: Maps) -> Tensor:
        found = [self._reassembled(index, *maps[2 * index : 2 * index + 2]) for index in range(len(self.projects))]
        found = [conv(x) for conv, x in zip(self.convs, found, strict=True)]
        out = self.fusions[0](found[-1])
        for index in range(1, len(self.fusions)):
            out = self.fusions[index](out, found[-(index + 1)])
        return self.project(out)

    def _reassembled(self, index: int, x: Tensor, token: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        if self.readout == "project":
            count = height * width
            joined = x.storage.tape.record((batch, count, 2 * channels), x.itemsize, (x, token), (PART, token.bytes))
            read = ops.keeps_input(self.readouts[index](joined))
            x = ops.copy(read, x.shape)
        elif self.readout == "add":
            x = ops.add(x, token.view(batch, channels, 1, 1))
        return self.resizes[index](self.projects[index](x))


class _Layer:
    """A plain transformer layer."""

    def __init__(self, tape: Tape, channels: int, heads: int, config: Config, path: float) -> None:
        norms: Config = config.get("norm_cfg") or LN
        drop = float(config.get("drop_rate", 0.0))
        self.norms = [norm(tape, norms, channels) for _ in range(2)]
        self.attention = Attention(
            tape, channels, heads, bias=bool(config.get("qkv_bias", True)),
            drop=float(config.get("attn_drop_rate", 0.0)), out_drop=drop,
        )  # fmt: skip
        self.ffn = FeedForward(tape, channels, int(config.get("mlp_ratio", 4)) * channels, drop=drop, path=path)

    def __call__(self, x: Tensor) -> Tensor:
        x = self.attention(self.norms[0](x), identity=x)
        return self.ffn(self.norms[1](x), x)


@head("SegmenterMaskTransformerHead")
class SegmenterMaskHead(DecodeHead):
    """Class tokens beside the patches; masks are their products."""

    classifier = False

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        tape, width = self.tape, int(config["embed_dims"])
        path = rates(float(config.get("drop_path_rate", 0.1)), int(config["num_layers"]))
        self.width, self.classes = width, int(config["num_classes"])
        self.layers = [_Layer(tape, width, int(config["num_heads"]), config, each) for each in path]
        self.project = Linear(tape, self.inside, width)
        self.tokens = tape.parameter(self.classes * width)
        self.patches, self.classwise = (Linear(tape, width, width, bias=False) for _ in range(2))
        norms: Config = config.get("norm_cfg") or LN
        self.after, self.masks = norm(tape, norms, width), norm(tape, norms, self.classes)

    def forward(self, maps: Maps) -> Tensor:
        tape, width, classes = self.tape, self.width, self.classes
        x = self.picked(maps)
        batch, channels, (rows, columns) = x.shape[0], x.shape[1], x.size
        count = rows * columns
        x = self.project(ops.copy(x, (batch, count, channels)))
        x = tape.raised(x)
        x = tape.record((batch, count + classes, width), 4, (x, self.tokens), (PART, 4 * classes * width))
        for layer in self.layers:
            x = layer(x)
        x = self.after(x)
        patches = self.patches(_contiguous(ops.select(x, (batch, count, width))))
        classwise = self.classwise(_contiguous(ops.select(x, (batch, classes, width))))
        patches, classwise = _normalised(patches), _normalised(classwise)
        masks = self.masks(ops.matmul(patches, classwise, (batch, count, classes)))
        return ops.copy(masks, (batch, classes, rows, columns))


def _contiguous(x: Tensor) -> Tensor:
    return ops.copy(x) if x.shape[0] > 1 else x


def _normalised(x: Tensor) -> Tensor:
    """``F.normalize``: a norm, clamped, expanded, and a division that keeps both."""
    tape = x.storage.tape
    if tape.half:
        norms = tape.raised(x)
        del norms
    lengths = x.elements // x.shape[-1] * 4
    return tape.record(x.shape, x.itemsize, (x,), (x.bytes,), (x,), transient=2 * x.bytes, extra_saved_bytes=lengths)


@head("LightHamHead")
class LightHamHead(DecodeHead):
    """Maps joined, then a matrix factorisation of a few steps with a graph through all of them."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        width = int(config.get("ham_channels", 512))
        options: Any = config.get("ham_kwargs") or {}
        self.rank, self.steps = int(options.get("MD_R", 64)), int(options.get("train_steps", 6))
        self.parts = int(options.get("MD_S", 1))
        self.squeeze = self.module(sum(self.inside), width)
        self.first = ConvModule(self.tape, width, width)
        self.out = ConvModule(self.tape, width, width, norm_cfg=self.norm)
        self.align = self.module(width, self.channels)

    def features(self, maps: Maps) -> Tensor:
        inputs = self.several(maps)
        inputs = [ops.resize(x, inputs[0].size) for x in inputs]
        x = self.squeeze(ops.concatenate(inputs))
        found = ops.relu(self.first(x), inplace=True)
        found = self.out(self._factored(found))
        x = ops.relu(ops.add(x, found), inplace=True)
        return self.align(x)

    def _factored(self, x: Tensor) -> Tensor:
        tape, rank = self.tape, self.rank
        batch, depth, count = x.shape[0] * self.parts, x.shape[1] // self.parts, x.size[0] * x.size[1]
        bases = tape.new(batch, depth, rank)
        coef = ops.softmax(ops.scaled(ops.matmul(x, bases, (batch, count, rank))))
        for _ in range(self.steps):
            coef = self._coefficients(x, bases, coef, count)
            above = ops.matmul(x, coef, (batch, depth, rank))
            below = ops.matmul(bases, ops.matmul(coef, coef, (batch, rank, rank)), (batch, depth, rank))
            bases = _updated(bases, above, below)
        coef = self._coefficients(x, bases, coef, count)
        return ops.matmul(bases, coef, x.shape)

    def _coefficients(self, x: Tensor, bases: Tensor, coef: Tensor, count: int) -> Tensor:
        batch, rank = coef.shape[0], self.rank
        above = ops.matmul(x, bases, (batch, count, rank))
        below = ops.matmul(coef, ops.matmul(bases, bases, (batch, rank, rank)), (batch, count, rank))
        return _updated(coef, above, below)


def _updated(x: Tensor, above: Tensor, below: Tensor) -> Tensor:
    """``x * above / (below + eps)``."""
    below = ops.shifted(below)
    product = ops.mul(x, above)
    tape = x.storage.tape
    return tape.record(
        product.shape, product.itemsize, (product, below), (product.bytes, below.bytes), (product, below)
    )
