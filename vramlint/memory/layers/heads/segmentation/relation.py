"""The block of queries, keys and values over pixels that many heads use, and the heads around it.

Source: mmsegmentation 1.2.2 ``models/utils/self_attention_block.py`` and ``decode_heads/{ocr,ann,isa,da}_head.py``.
"""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.heads.segmentation.base import DecodeHead
from vramlint.memory.layers.nn import Conv, Layer, chain
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Parameter, Tensor


class Relation:
    """SelfAttentionBlock. ``pooled`` shrinks keys and values; ``out`` projects the context back."""

    def __init__(
        self,
        owner: DecodeHead,
        key: int,
        query: int,
        channels: int,
        outside: int,
        *,
        shared: bool = False,
        depth: int = 1,
        norm: bool = True,
        value_norm: bool = False,
        scaled: bool = True,
        out: bool = True,
        pooled: Layer | None = None,
    ) -> None:
        self.owner, self.scaled, self.pooled = owner, scaled, pooled
        self.key = self._project(key, channels, depth, norm=norm)
        self.query = self.key if shared else self._project(query, channels, depth, norm=norm)
        self.value = self._project(key, channels if out else outside, 1, norm=value_norm)
        self.out = self._project(channels, outside, 1, norm=value_norm) if out else None

    def _project(self, inside: int, channels: int, depth: int, *, norm: bool) -> Layer:
        sources = [inside, *[channels] * (depth - 1)]
        if norm:
            return chain(*[self.owner.module(source, channels) for source in sources])
        return chain(*[Conv(self.owner.tape, source, channels) for source in sources])

    def __call__(self, queries: Tensor, keys: Tensor) -> Tensor:
        batch, (height, width) = queries.shape[0], queries.size
        query = self.query(queries)
        channels, pixels = query.shape[1], height * width
        query = ops.copy(query, (batch, pixels, channels))
        key, value = self.key(keys), self.value(keys)
        if self.pooled is not None:
            key, value = self.pooled(key), self.pooled(value)
        count = key.elements // (batch * channels)
        value = ops.copy(value, (batch, count, value.shape[1]))
        scores = ops.matmul(query, key.view(batch, channels, count), (batch, pixels, count))
        if self.scaled:
            scores = ops.scaled(scores)
        scores = ops.softmax(scores)
        context = ops.matmul(scores, value, (batch, pixels, value.shape[2]))
        context = ops.copy(context, (batch, value.shape[2], height, width))
        return context if self.out is None else self.out(context)


class CascadeHead(DecodeHead):
    """A head that also takes the logits of the one before it."""

    def forward_after(self, maps: Maps, previous: Tensor) -> Tensor:
        """Logits from features and the previous head's logits."""
        raise NotImplementedError

    def loss_after(self, maps: Maps, previous: Tensor, labels: Tensor) -> list[Tensor]:
        """Losses against ``labels``."""
        return self.losses_of(self.forward_after(maps, previous), labels)


@head("OCRHead")
class OCRHead(CascadeHead):
    """Object-contextual representations: class centres by the coarse logits, and pixels related to them."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        width = self.channels
        if config.get("scale", 1) != 1:
            raise KeyError("scale")
        self.relation = Relation(self, width, width, int(config["ocr_channels"]), width, depth=2, value_norm=True)
        self.join = self.module(2 * width, width)
        self.bottleneck = self.module(self.inside, width, 3, padding=1)

    def forward_after(self, maps: Maps, previous: Tensor) -> Tensor:
        feats = self.bottleneck(self.picked(maps))
        centres = _centres(feats, previous)
        context = self.relation(feats, centres)
        return self.classify(self.join(ops.concatenate([context, feats])))


def _centres(feats: Tensor, logits: Tensor) -> Tensor:
    """SpatialGatherModule: (batch, channels, classes, 1)."""
    batch, classes = logits.shape[:2]
    weights = ops.softmax(ops.scaled(logits.view(batch, classes, logits.size[0] * logits.size[1])))
    found = ops.matmul(weights, feats, (batch, classes, feats.shape[1]))
    return ops.copy(found, (batch, feats.shape[1], classes, 1))


@head("ANNHead")
class ANNHead(DecodeHead):
    """Asymmetric non-local: two maps fused, then one map with itself, keys and values pooled."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        low, high = self.inside
        middle = int(config["project_channels"])
        if list(config.get("query_scales", (1,))) != [1]:
            raise KeyError("query_scales")
        scales = [int(each) for each in config.get("key_pool_scales", (1, 3, 6, 8))]

        def pooled(x: Tensor) -> Tensor:
            parts = [ops.adaptive_avg_pool(x, scale).view(*x.shape[:2], scale * scale) for scale in scales]
            return ops.concatenate(parts, axis=2)

        self.fusion = Relation(self, low, high, middle, high, pooled=pooled)
        self.fused = self.module(2 * high, high, act_cfg=None)
        self.bottleneck = self.module(high, self.channels, 3, padding=1)
        self.context = Relation(self, self.channels, self.channels, middle, self.channels, shared=True, pooled=pooled)
        self.joined = self.module(2 * self.channels, self.channels)

    def features(self, maps: Maps) -> Tensor:
        low, high = self.several(maps)
        out = self._with_context(self.fusion(high, low), high, self.fused)
        out = self.bottleneck(ops.dropout2d(out, self.rate))
        return self._with_context(self.context(out, out), out, self.joined)

    @staticmethod
    def _with_context(prior: Tensor, x: Tensor, join: Layer) -> Tensor:
        context = ops.copy(ops.copy(prior))  # stacked with the other scales, then summed: there is only one
        return join(ops.concatenate([context, x]))


@head("ISAHead")
class ISAHead(DecodeHead):
    """Interlaced attention: among pixels far apart, then among neighbours."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        self.factor = [int(each) for each in config.get("down_factor", (8, 8))]
        middle, width = int(config["isa_channels"]), self.channels
        self.first = self.module(self.inside, width, 3, padding=1)
        self.relations = []
        for _ in range(2):
            relation = Relation(self, width, width, middle, width, depth=2, out=False)
            self.relations.append((relation, self.module(width, width)))
        self.join = self.module(2 * width, width)

    def features(self, maps: Maps) -> Tensor:
        x = self.first(self.picked(maps))
        residual = x
        batch, channels, height, width = x.shape
        (near_h, near_w) = self.factor
        far_h, far_w = -(-height // near_h), -(-width // near_w)
        pad_h, pad_w = far_h * near_h - height, far_w * near_w - width
        if pad_h or pad_w:
            x = ops.pad(x, pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2)
        x = ops.copy(x, (batch * near_h * near_w, channels, far_h, far_w))
        x = self._related(x, 0)
        x = ops.copy(x, (batch * far_h * far_w, channels, near_h, near_w))
        x = self._related(x, 1)
        x = ops.copy(x, (batch, channels, far_h * near_h, far_w * near_w))
        if pad_h or pad_w:
            x = ops.select(x, residual.shape)
        return self.join(ops.concatenate([x, residual]))

    def _related(self, x: Tensor, index: int) -> Tensor:
        relation, project = self.relations[index]
        return project(relation(x, x))


@head("DAHead")
class DAHead(DecodeHead):
    """Dual attention over positions and channels, each with logits of its own."""

    def __init__(self, build: Build, config: Config) -> None:
        super().__init__(build, config)
        width, middle = self.channels, int(config["pam_channels"])
        three: Any = {"padding": 1}
        self.position = self.module(self.inside, width, 3, **three)
        self.relation = Relation(self, width, width, middle, width, norm=False, scaled=False, out=False)
        self.position_scale = self.tape.parameter(1)
        self.position_out = self.module(width, width, 3, **three)
        self.position_last = Conv(self.tape, width, self.outputs)
        self.channel = self.module(self.inside, width, 3, **three)
        self.channel_scale = self.tape.parameter(1)
        self.channel_out = self.module(width, width, 3, **three)
        self.channel_last = Conv(self.tape, width, self.outputs)

    def loss(self, maps: Maps, labels: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        for logits in self._three(maps):
            found += self.losses_of(logits, labels)
        return found

    def _three(self, maps: Maps) -> tuple[Tensor, Tensor, Tensor]:
        x = self.picked(maps)
        first = self.position(x)
        first = ops.add(weighted(self.relation(first, first), self.position_scale), first)
        first = self.position_out(first)
        first_out = self.position_last(ops.dropout2d(first, self.rate))
        second = self.channel(x)
        second = self.channel_out(self._channels(second))
        second_out = self.channel_last(ops.dropout2d(second, self.rate))
        return self.classify(ops.add(first, second)), first_out, second_out

    def _channels(self, x: Tensor) -> Tensor:
        """CAM: every channel related to every other one."""
        batch, channels = x.shape[:2]
        square = (batch, channels, channels)
        energy = ops.matmul(x, x, square)
        largest = ops.gather(energy, (batch, channels, 1), 8 * batch * channels)
        scores = ops.softmax(ops.add(energy, largest))
        out = ops.matmul(scores, x, x.shape)
        return ops.add(weighted(out, self.channel_scale), x)


def weighted(x: Tensor, scale: Parameter) -> Tensor:
    """``x`` times one trained number (mmcv's Scale): the input is kept for the number's gradient."""
    tape = x.storage.tape
    return tape.record(x.shape, x.itemsize, (x, scale), (x.bytes, 4), (x,), transient=x.bytes)
