"""The non-local family around two convolutions.

Source: mmsegmentation 1.2.2 ``decode_heads/{nl,gc,cc,dnl,ema,psa,enc}_head.py``, mmcv 2.1.0 ``cnn/bricks``:
``non_local.py``, ``context_block.py`` and ``ops/cc_attention.py``, ``psa_mask.py``.
"""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import ConvModule, norm
from vramlint.memory.layers.heads.segmentation.base import DecodeHead
from vramlint.memory.layers.heads.segmentation.fcn import FCNHead
from vramlint.memory.layers.heads.segmentation.relation import weighted
from vramlint.memory.layers.nn import Conv, Layer, LayerNorm, Linear, chain
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tape, Tensor


class NonLocal:
    """mmcv's NonLocal2d, embedded Gaussian or dot product. ``disentangled``: whitened, with a unary term."""

    def __init__(self, tape: Tape, channels: int, config: Config, norms: Config | None, *, disentangled: bool) -> None:
        self.tape, self.disentangled = tape, disentangled
        self.middle = max(channels // int(config.get("reduction", 2)), 1)
        self.scaled = bool(config.get("use_scale", True))
        if config.get("mode", "embedded_gaussian") not in ("embedded_gaussian", "dot_product"):
            raise KeyError("mode")
        self.soft = config.get("mode", "embedded_gaussian") == "embedded_gaussian"
        self.value = ConvModule(tape, channels, self.middle)
        self.out = ConvModule(tape, self.middle, channels, norm_cfg=norms)
        self.query, self.key = ConvModule(tape, channels, self.middle), ConvModule(tape, channels, self.middle)
        self.unary = Conv(tape, channels, 1) if disentangled else None

    def __call__(self, x: Tensor) -> Tensor:
        batch, pixels = x.shape[0], x.size[0] * x.size[1]
        value = self.value(x)
        query, key = self.query(x), self.key(x)
        if self.disentangled:
            for each in (query, key):
                mean = ops.mean(each, (batch, self.middle, 1))
                ops.add(each, mean, inplace=True)
        scores = ops.matmul(query, key, (batch, pixels, pixels))
        if self.scaled or not self.soft:
            scores = ops.scaled(scores, inplace=True)
        if self.disentangled:
            scores = ops.scaled(scores, inplace=True)
        if self.soft:
            scores = ops.softmax(scores)
        found = ops.matmul(scores, value, (batch, pixels, self.middle))
        found = ops.copy(found, (batch, self.middle, *x.size))
        if self.unary is None:
            return ops.add(x, self.out(found))
        weights = ops.softmax(self.unary(x).view(batch, 1, pixels))
        whole = ops.copy(ops.matmul(weights, value, (batch, 1, self.middle)), (batch, self.middle, 1, 1))
        return ops.add(x, self.out(ops.add(found, whole)))


class ContextBlock:
    """GCNet's block: attention pooling to one vector, which is transformed and added."""

    def __init__(self, tape: Tape, channels: int, config: Config) -> None:
        planes = int(channels * float(config.get("ratio", 0.25)))
        self.attended = config.get("pooling_type", "att") == "att"
        fusions = tuple(config.get("fusion_types", ("channel_add",)))
        self.mask = Conv(tape, channels, 1) if self.attended else None
        self.add = self._transform(tape, channels, planes) if "channel_add" in fusions else None
        self.mul = self._transform(tape, channels, planes) if "channel_mul" in fusions else None

    @staticmethod
    def _transform(tape: Tape, channels: int, planes: int) -> Layer:
        first, normed, last = Conv(tape, channels, planes), LayerNorm(tape, planes), Conv(tape, planes, channels)

        def run(x: Tensor) -> Tensor:
            x = first(x)
            x = normed(x.view(x.shape[0], planes)).view(x.shape[0], planes, 1, 1)
            return last(ops.relu(x, inplace=True))

        return run

    def __call__(self, x: Tensor) -> Tensor:
        batch, channels = x.shape[:2]
        if self.mask is not None:
            weights = ops.softmax(self.mask(x).view(batch, 1, x.size[0] * x.size[1]))
            context = ops.matmul(x, weights, (batch, channels, 1, 1))
        else:
            context = ops.adaptive_avg_pool(x, 1)
        out = x
        if self.mul is not None:
            out = ops.mul(out, ops.sigmoid(self.mul(context)))
        return out if self.add is None else ops.add(out, self.add(context))


class CrissCross:
    """Attention along the row and the column of each pixel."""

    def __init__(self, tape: Tape, channels: int) -> None:
        self.query, self.key = Conv(tape, channels, channels // 8), Conv(tape, channels, channels // 8)
        self.value = Conv(tape, channels, channels)
        self.scale = tape.parameter(1)

    def __call__(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        query, key, value = self.query(x), self.key(x), self.value(x)
        rows = _einsum(query, key, (batch, width, height, height))
        rows = ops.shifted(rows)
        columns = _einsum(query, key, (batch, height, width, width))
        scores = ops.softmax(ops.concatenate([rows.view(batch, height, width, height), columns], axis=-1))
        first = ops.select(scores, (batch, height, width, height))
        out = _einsum(value, first, x.shape)
        second = ops.select(scores, (batch, height, width, width))
        out = ops.add(out, _einsum(value, second, x.shape), inplace=True)
        return ops.copy(ops.add(weighted(out, self.scale), x))


def _einsum(x: Tensor, y: Tensor, shape: tuple[int, ...]) -> Tensor:
    """An einsum whose operands are first permuted into new tensors."""
    return ops.matmul(ops.copy(x), ops.copy(y), shape)


class _AroundBlock(FCNHead):
    """Two convolutions with ``block`` between them."""

    block: Layer

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, {**config, "num_convs": 2})

    def features(self, maps: Maps) -> Tensor:
        x = self.picked(maps)
        out = self.convs[0](x)
        out = self.block(out)
        out = self.convs[1](out)
        return self.join(ops.concatenate([x, out])) if self.joined else out


@head("NLHead")
class NLHead(_AroundBlock):
    """Non-local networks."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.block = NonLocal(self.tape, self.channels, config, self.norm, disentangled=False)


@head("DNLHead")
class DNLHead(_AroundBlock):
    """Disentangled non-local networks."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.block = NonLocal(self.tape, self.channels, config, self.norm, disentangled=True)


@head("GCHead")
class GCHead(_AroundBlock):
    """Global context networks."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.block = ContextBlock(self.tape, self.channels, config)


@head("CCHead")
class CCHead(_AroundBlock):
    """Criss-cross attention, the same block several times."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.block = chain(*[CrissCross(self.tape, self.channels)] * int(config.get("recurrence", 2)))


@head("EMAHead")
class EMAHead(DecodeHead):
    """Expectation-maximisation attention: bases found without a graph."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        width = int(config["ema_channels"])
        self.bases, self.stages = int(config["num_bases"]), int(config["num_stages"])
        self.first = self.module(self.inside, width, 3, padding=1)
        with self.tape.frozen():
            self.middle = self.module(width, width, norm_cfg=None, act_cfg=None)
        self.out = self.module(width, width, act_cfg=None)
        self.bottleneck = self.module(width, self.channels, 3, padding=1)
        joined = config.get("concat_input", True)
        self.join = self.module(self.inside + self.channels, self.channels, 3, padding=1) if joined else None
        self.tape.buffer_bytes += 4 * width * self.bases

    def features(self, maps: Maps) -> Tensor:
        x = self.picked(maps)
        feats = self.first(x)
        identity = feats
        out = self._reconstructed(self.middle(feats))
        out = self.out(ops.relu(out, inplace=True))
        out = self.bottleneck(ops.relu(ops.add(identity, out), inplace=True))
        return out if self.join is None else self.join(ops.concatenate([x, out]))

    def _reconstructed(self, feats: Tensor) -> Tensor:
        tape = self.tape
        batch, pixels = feats.shape[0], feats.size[0] * feats.size[1]
        with tape.no_grad():
            bases = tape.new(batch, feats.shape[1], self.bases)
            for _ in range(self.stages):
                attention = ops.softmax(_einsum(feats, bases, (batch, pixels, self.bases)))
                bases = ops.matmul(feats, ops.scaled(attention), (batch, feats.shape[1], self.bases))
        return ops.matmul(bases, attention, feats.shape)


@head("PSAHead")
class PSAHead(DecodeHead):
    """Point-wise spatial attention, collecting and distributing."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        if config.get("psa_type", "bi-direction") != "bi-direction":
            raise KeyError("psa_type")
        rows, columns = config["mask_size"]
        self.compact, self.shrink = bool(config.get("compact", False)), int(config.get("shrink_factor", 2))
        self.soft = bool(config.get("psa_softmax", True))
        self.branches = [
            (
                self.module(self.inside, self.channels),
                chain(
                    self.module(self.channels, self.channels),
                    Conv(self.tape, self.channels, rows * columns, bias=False),
                ),
            )
            for _ in range(2)
        ]
        self.project = self.module(2 * self.channels, self.inside, padding=1)
        self.join = self.module(2 * self.inside, self.channels, 3, padding=1)

    def features(self, maps: Maps) -> Tensor:
        x = self.picked(maps)
        size = self._shrunk(x.size)
        reduced = [reduce(x) for reduce, _ in self.branches]
        if self.shrink != 1:
            reduced = [ops.resize(each, size) for each in reduced]
        weights = [attend(each) for (_, attend), each in zip(self.branches, reduced, strict=True)]
        weights = [self._masked(each, size) for each in weights]
        if self.soft:
            weights = [ops.softmax(each) for each in weights]
        outs = [ops.scaled(ops.matmul(each, weight, each.shape)) for each, weight in zip(reduced, weights, strict=True)]
        out = self.project(ops.concatenate(outs))
        out = ops.resize(out, x.size)
        return self.join(ops.concatenate([x, out]))

    def _shrunk(self, size: tuple[int, int]) -> tuple[int, int]:
        height, width = size
        if height % self.shrink and width % self.shrink:
            return (height - 1) // self.shrink + 1, (width - 1) // self.shrink + 1
        return height // self.shrink, width // self.shrink

    def _masked(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        pixels = size[0] * size[1]
        if self.compact:
            return x
        tape = self.tape
        return tape.record((x.shape[0], pixels, *size), x.itemsize, (x,), (x.bytes,), (x,))


@head("EncHead")
class EncHead(DecodeHead):
    """Context encoding: residuals to a codebook, a gate over channels, and a loss on the classes present."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        tape, width = self.tape, self.channels
        self.codes = int(config.get("num_codes", 32))
        self.bottleneck = self.module(self.inside[-1], width, 3, padding=1)
        lateral = bool(config.get("add_lateral", False))
        self.laterals = [self.module(each, width) for each in self.inside[:-1]] if lateral else []
        self.fusion = self.module(len(self.inside) * width, width, 3, padding=1) if lateral else None
        self.project = self.module(width, width)
        self.codewords, self.scale = tape.parameter(self.codes * width), tape.parameter(self.codes)
        self.code_norm = norm(tape, self.norm or {"type": "BN"}, self.codes)
        self.gate = Linear(tape, width, width)
        self.present = Linear(tape, width, int(config["num_classes"])) if config.get("use_se_loss", True) else None

    def loss(self, maps: Maps, labels: Tensor) -> list[Tensor]:
        logits, codes = self._both(maps)
        found = self.losses_of(logits, labels)
        if self.present is not None:
            found.append(ops.mean(ops.pointwise_loss(self.present(codes)), ()))
        return found

    def _both(self, maps: Maps) -> tuple[Tensor, Tensor]:
        inputs = self.several(maps)
        feat = self.bottleneck(inputs[-1])
        if self.fusion is not None:
            laterals = [ops.resize(conv(x), feat.size) for conv, x in zip(self.laterals, inputs, strict=False)]
            feat = self.fusion(ops.concatenate([feat, *laterals]))
        codes = self._encoded(self.project(feat))
        gate = ops.sigmoid(self.gate(codes)).view(*feat.shape[:2], 1, 1)
        out = ops.relu(ops.add(feat, ops.mul(feat, gate)), inplace=True)
        return self.classify(out), codes

    def _encoded(self, x: Tensor) -> Tensor:
        """Every pixel's difference to every codeword: (batch, pixels, codes, channels), twice."""
        tape = self.tape
        batch, channels, pixels = x.shape[0], x.shape[1], x.size[0] * x.size[1]
        x = ops.copy(x, (batch, pixels, channels))
        distance = ops.total(_squared(self._differences(x)), (batch, pixels, self.codes))
        scaled = tape.record(
            distance.shape, 4, (self.scale, distance), (4 * self.codes, distance.bytes), (distance,),
            transient=distance.bytes,
        )  # fmt: skip
        weights = ops.softmax(scaled)
        found = ops.total(
            ops.mul(weights.view(batch, pixels, self.codes, 1), self._differences(x)), (batch, self.codes, channels)
        )
        return ops.mean(ops.relu(self.code_norm(found), inplace=True), (batch, channels))

    def _differences(self, x: Tensor) -> Tensor:
        batch, pixels, channels = x.shape
        return self.tape.record(
            (batch, pixels, self.codes, channels), 4, (x, self.codewords), (x.bytes, 4 * self.codewords.elements)
        )


def _squared(x: Tensor) -> Tensor:
    """``pow(2)`` keeps its input; backward makes the scaled input and the product."""
    return x.storage.tape.record(x.shape, x.itemsize, (x,), (x.bytes,), (x,), transient=x.bytes)
