"""K-Net, and the heads of DDRNet and PIDNet. Source: mmsegmentation 1.2.2 ``decode_heads/{knet,ddr,pid}_head.py``."""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.attention import MultiheadAttention
from vramlint.memory.layers.backbones.tokens import LN, FeedForward
from vramlint.memory.layers.bricks import RELU, ConvModule, activation, norm
from vramlint.memory.layers.heads.segmentation.base import DecodeHead, accuracy
from vramlint.memory.layers.nn import Conv, Layer, Linear, chain
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tape, Tensor


class _Updator:
    """Kernels updated by the features that their masks gather."""

    def __init__(self, tape: Tape, config: Config) -> None:
        inside, self.width = int(config.get("in_channels", 256)), int(config.get("feat_channels", 64))
        norms: Config = config.get("norm_cfg") or LN
        self.inside = inside
        self.dynamic, self.given = (Linear(tape, inside, 2 * self.width) for _ in range(2))
        self.gates = [Linear(tape, inside, self.width) for _ in range(2)]
        self.gate_norms = [norm(tape, norms, self.width) for _ in range(2)]
        self.out_norms = [norm(tape, norms, self.width) for _ in range(2)]
        self.gate_act = norm(tape, norms, self.width) if config.get("gate_norm_act") else None
        out = int(config.get("out_channels") or inside)
        self.last, self.last_norm = Linear(tape, self.width, out), norm(tape, norms, out)
        self.act = activation(config.get("act_cfg") or {"type": "ReLU", "inplace": True})

    def __call__(self, update: Tensor, given: Tensor) -> Tensor:
        batch, count, _ = update.shape
        shape = (batch, count, self.width)
        made, fed = self.dynamic(update), self.given(given)
        gated = ops.mul(ops.select(fed, shape), ops.select(made, shape))
        gates = [ops.sigmoid(normed(gate(gated))) for gate, normed in zip(self.gates, self.gate_norms, strict=True)]
        outs = [normed(ops.select(each, shape)) for normed, each in zip(self.out_norms, (made, fed), strict=True)]
        joined = ops.add(ops.mul(gates[0], outs[0]), ops.mul(gates[1], outs[1]))
        return self.act(self.last_norm(self.last(joined)))


class _Update:
    """KernelUpdateHead: masks gather features, kernels attend to each other, new masks are convolutions with them."""

    def __init__(self, tape: Tape, config: Config) -> None:
        if int(config.get("conv_kernel_size", 1)) != 1 or config.get("mask_transform_stride", 1) != 1:
            raise KeyError("conv_kernel_size")
        width = self.width = int(config.get("in_channels", 256))
        self.attention = MultiheadAttention(tape, width, int(config.get("num_heads", 8)))
        self.attention_norm = norm(tape, LN, width)
        updator: Config = config["kernel_updator_cfg"]
        self.update = _Updator(tape, updator)
        transform = config.get("feat_transform_cfg")
        self.transform: Layer | None = None
        if transform is not None:
            options: Any = {key: transform.get(key) for key in ("norm_cfg", "act_cfg", "conv_cfg") if key in transform}
            kernel, stride = int(transform.get("kernel_size", 1)), int(config.get("feat_gather_stride", 1))
            self.transform = ConvModule(tape, width, width, kernel, stride, stride // 2, **options)
        feed = int(config.get("feedforward_channels", 2048))
        self.ffn = FeedForward(tape, width, feed, act=config.get("ffn_act_cfg") or RELU)
        self.ffn_norm = norm(tape, LN, width)
        layers: list[Layer] = []
        for _ in range(int(config.get("num_mask_fcs", 3))):
            layers += [
                Linear(tape, width, width, bias=False),
                norm(tape, LN, width),
                activation(config.get("act_cfg") or RELU),
            ]
        self.mask = chain(*layers, Linear(tape, width, int(config.get("out_channels", 256))))

    def __call__(self, x: Tensor, kernels: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        if self.transform is not None:
            x = self.transform(x)
        batch, count, width = kernels.shape
        gathering = ops.resize(masks, x.size) if masks.size != x.size else masks
        weights = ops.softmax(gathering)
        found = self.update(ops.matmul(weights, x, (batch, count, width)), kernels)
        found = self.attention_norm(ops.add(found, self.attention(found)))
        found = self.ffn_norm(self.ffn(found, found))
        feats = self.mask(found)
        new = ops.matmul(feats, x, (batch, count, *x.size))
        return ops.copy(new), found


@head("IterativeDecodeHead")
class IterativeDecodeHead:
    """K-Net: any head's kernels refined in stages, each stage with losses."""

    def __init__(self, build: Build, config: Config) -> None:
        self.tape = build.tape
        self.first: DecodeHead = build.make("head", config["kernel_generate_head"])
        self.stages = [_Update(build.tape, each) for each in config["kernel_update_head"]]

    def loss(self, maps: Maps, labels: Tensor) -> list[Tensor]:
        feats = self.first.features(maps)
        masks = self.first.classify(feats)
        classes, width = self.first.outputs, self.first.channels
        weight = self.first.last.weight
        kernels = self.tape.record((feats.shape[0], classes, width), 4, (weight,), (4 * weight.elements,))
        every = [masks]
        for stage in self.stages:
            masks, kernels = stage(feats, kernels, masks)
            every.append(masks)
        losses: list[Tensor] = []
        for each in every:
            losses += self.first.losses_of(each, labels)
        return losses


@head("DDRHead")
class DDRHead(DecodeHead):
    """One head on the joined map and one on the spatial branch."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.main, self.aux = self._made(self.inside), self._made(self.inside // 2)
        self.aux_last = Conv(self.tape, self.channels, self.outputs)

    def _made(self, inside: int) -> Layer:
        return chain(
            self.module(inside, self.channels, 3, padding=1, act_first=True),
            norm(self.tape, self.norm or {"type": "BN"}, self.channels),
            activation(self.act),
        )

    def loss(self, maps: Maps, labels: Tensor) -> list[Tensor]:
        context = self.classify(self.main(maps[1]))
        spatial = self.aux_last(self.aux(maps[0]))
        stacked = self.tape.new(*labels.shape, itemsize=8)
        context, spatial = ops.resize(context, labels.shape[1:]), ops.resize(spatial, labels.shape[1:])
        found = [self.losses[0](context, stacked), self.losses[1](spatial, stacked)]
        accuracy(context)
        return found


@head("PIDHead")
class PIDHead(DecodeHead):
    """A head a branch: detail, all, boundaries; four losses."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        half, quarter = self.inside // 2, self.inside // 4
        self.all = self._made(self.inside, self.channels)
        self.detail = self._made(half, self.channels)
        self.edges = self._made(half, quarter)
        self.detail_last = Conv(self.tape, self.channels, self.outputs)
        self.edges_last = Conv(self.tape, quarter, 1)

    def _made(self, inside: int, channels: int) -> Layer:
        return chain(
            self.module(inside, channels, 3, padding=1, act_first=True),
            norm(self.tape, self.norm or {"type": "BN"}, channels),
            activation(self.act),
        )

    def loss(self, maps: Maps, labels: Tensor) -> list[Tensor]:
        detail = self.detail_last(self.detail(maps[0]))
        every = self.last(self.all(maps[1]))
        edges = self.edges_last(self.edges(maps[2]))
        stacked, edge_labels = self.tape.new(*labels.shape, itemsize=8), self.tape.new(*labels.shape, itemsize=8)
        detail, every, edges = (ops.resize(each, labels.shape[1:]) for each in (detail, every, edges))
        found = [self.losses[0](detail, stacked), self.losses[1](every, stacked), self.losses[2](edges, edge_labels)]
        chosen = self.tape.new(*labels.shape, itemsize=8)
        found.append(self.losses[3](every, chosen))
        accuracy(every)
        return found
