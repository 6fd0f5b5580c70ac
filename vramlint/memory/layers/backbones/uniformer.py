"""UniFormerV2: an image transformer over frames, with extractors that gather tokens over time.

Source: mmaction2 1.2.0 ``models/backbones/uniformerv2.py``; torch 2.13 ``nn/functional.py``
``multi_head_attention_forward`` without weights (one fused kernel). Tokens: (length, frames of the batch, channels).
"""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.attention import attention
from vramlint.memory.layers.backbones.tokens import rates
from vramlint.memory.layers.nn import BatchNorm, Conv, Layer, LayerNorm, Linear, as_input, chain
from vramlint.memory.layers.registry import Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Parameter, Tape, Tensor


def _quick(x: Tensor) -> Tensor:
    """QuickGELU: ``x * sigmoid(1.702 x)``."""
    return ops.mul(x, ops.sigmoid(ops.scaled(x)))


class _Local:
    """Local relations over time: a norm and three convolutions of a clip, the middle one depthwise."""

    def __init__(self, tape: Tape, channels: int, reduction: float) -> None:
        inner = int(channels // reduction)
        self.run: Layer = chain(
            BatchNorm(tape, channels), Conv(tape, channels, inner, dims=3),
            Conv(tape, inner, inner, (3, 1, 1), 1, (1, 0, 0), groups=inner, dims=3),
            Conv(tape, inner, channels, dims=3),
        )  # fmt: skip

    def __call__(self, x: Tensor, frames: int, path: float) -> Tensor:
        length, count, channels = x.shape
        side = round((length - 1) ** 0.5)
        rest = ops.select(x, (length - 1, count, channels))
        clip = ops.copy(rest, (count // frames, channels, frames, side, side))
        clip = ops.add(clip, ops.drop_path(self.run(clip), path))
        back = ops.copy(clip, (length - 1, count, channels))
        return ops.concatenate([ops.select(x, (1, count, channels)), back], axis=0)


class _Block:
    """Local relations where asked for, attention, feed-forward."""

    def __init__(self, tape: Tape, channels: int, heads: int, path: float, config: Config) -> None:
        self.tape, self.heads, self.path = tape, heads, path
        local, reduction = not config.get("no_lmhra", True), float(config.get("dw_reduction", 1.5))
        twice = local and bool(config.get("double_lmhra", False))
        self.local = [_Local(tape, channels, reduction) for _ in range(2 if twice else int(local))]
        self.joint, self.out = Linear(tape, channels, 3 * channels), Linear(tape, channels, channels)
        self.first, self.second = LayerNorm(tape, channels), LayerNorm(tape, channels)
        self.wide, self.narrow = Linear(tape, channels, 4 * channels), Linear(tape, 4 * channels, channels)

    def _attend(self, x: Tensor) -> Tensor:
        length, count, channels = x.shape
        joined = ops.copy(self.joint(x), (count, length, 3 * channels))
        query, key, value = ops.split(joined, [channels] * 3, axis=-1)
        del joined
        found = attention(query, key, value, self.heads, fused=self.tape.stack.fused_attention, copies=False)
        return self.out(ops.copy(found, (length, count, channels)))

    def __call__(self, x: Tensor, frames: int) -> Tensor:
        if self.local:
            x = self.local[0](x, frames, self.path)
        x = ops.add(x, ops.drop_path(self._attend(self.first(x)), self.path))
        if len(self.local) > 1:
            x = self.local[1](x, frames, self.path)
        return ops.add(x, ops.drop_path(self.narrow(_quick(self.wide(self.second(x)))), self.path))


class _Extractor:
    """One class token attends to the tokens of all frames."""

    def __init__(self, tape: Tape, channels: int, heads: int, ratio: float, drop: float, path: float) -> None:
        self.tape, self.heads, self.drop, self.path, self.channels = tape, heads, drop, path, channels
        self.weight, self.bias = tape.parameter(3 * channels * channels), tape.parameter(3 * channels)
        self.out = Linear(tape, channels, channels)
        self.first, self.second, self.third = (LayerNorm(tape, channels) for _ in range(3))
        width = round(ratio * channels)
        self.wide, self.narrow = Linear(tape, channels, width), Linear(tape, width, channels)

    def _projected(self, x: Tensor, weight: Tensor | Parameter) -> Tensor:
        """``x`` times a slice of the joint weight, plus a slice of its bias; a slice's gradient is as wide as all."""
        tape, (length, count, _) = self.tape, x.shape
        x = tape.lowered(x)
        whole = weight.bytes if isinstance(weight, Tensor) else 4 * weight.elements
        saved = (x,) if isinstance(weight, Parameter) else (x, weight)
        product = tape.record((length, count, self.channels), x.itemsize, (x, weight), (x.bytes, whole), saved)
        return ops.add(product, as_input(self.bias, (1, 1, self.channels), tape))

    def __call__(self, token: Tensor, memory: Tensor) -> Tensor:
        tape = self.tape
        rows, count, channels = token.shape
        normed = self.first(token)
        other = self.third(memory)
        query = self._projected(normed, tape.weight(self.weight))
        key, value = (self._projected(other, tape.weight(self.weight)) for _ in range(2))
        scores = ops.scaled(ops.matmul(query, ops.copy(key), (count, self.heads, rows, memory.shape[0])))
        del query, key
        found = ops.matmul(ops.softmax(scores), ops.copy(value), (rows, count, channels))
        del scores, value
        token = ops.add(token, ops.drop_path(self.out(ops.copy(found)), self.path))
        inside = ops.dropout(_quick(self.wide(self.second(token))), self.drop)
        return ops.add(token, ops.drop_path(self.narrow(inside), self.path))


@backbone("UniFormerV2")
class UniFormerV2:
    """Patches, image blocks, extractors over the last of them; the classifier gets one row a clip."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        channels, depth = int(config.get("width", 768)), int(config.get("layers", 12))
        patch, size = int(config.get("patch_size", 16)), int(config.get("input_resolution", 224))
        kernel, halves = int(config.get("kernel_size", 3)), bool(config.get("temporal_downsample", False))
        self.channels = channels
        self.embed = Conv(
            tape, 3, channels, (kernel if halves else 1, patch, patch), (2 if halves else 1, patch, patch),
            ((kernel - 1) // 2 if halves else 0, 0, 0), bias=False, dims=3,
        )  # fmt: skip
        self.token = tape.parameter(channels)
        self.positions = tape.parameter(((size // patch) ** 2 + 1) * channels)
        self.before = LayerNorm(tape, channels)
        path = rates(float(config.get("backbone_drop_path_rate", 0.0)), depth)
        heads = int(config.get("heads", 12))
        self.blocks = [_Block(tape, channels, heads, each, config) for each in path]
        self.taken = [int(each) for each in config.get("return_list", (8, 9, 10, 11))]
        width, count = int(config.get("n_dim", 768)), int(config.get("n_layers", 4))
        self.clip_token = tape.parameter(width)
        self.places = [Conv(tape, width, width, 3, 1, 1, groups=width, dims=3) for _ in range(count)]
        drops = config.get("mlp_dropout", (0.5,) * count)
        ratio, further = float(config.get("mlp_factor", 4.0)), rates(float(config.get("drop_path_rate", 0.0)), count)
        self.extractors = [
            _Extractor(tape, width, int(config.get("n_head", 12)), ratio, float(drops[index]), further[index])
            for index in range(count)
        ]
        self.norm, self.balance = LayerNorm(tape, width), tape.parameter(width)

    def __call__(self, clips: Tensor) -> Maps:
        x = self.embed(clips)
        samples, channels, frames, height, width = x.shape
        count, length = samples * frames, height * width
        x = ops.copy(x, (count, length, channels))
        token = self.tape.record((count, 1, channels), 4, (self.token,), (4 * channels,))
        x = ops.concatenate([token, x], axis=1)
        x = ops.add(x, as_input(self.positions, (1, length + 1, channels), self.tape))
        x = self.before(x).view(length + 1, count, channels)
        gathered = self.tape.record((1, samples, channels), 4, (self.clip_token,), (4 * channels,))
        for index, block in enumerate(self.blocks):
            x = block(x, frames)
            if index in self.taken:
                order = self.taken.index(index)
                memory = self._placed(x, self.places[order], (samples, frames, height, width))
                gathered = self.extractors[order](gathered, memory)
                del memory
        rest = ops.mean(ops.select(x, (samples, frames, channels)), (samples, channels))
        return [self.norm(ops.add(gathered.view(samples, channels), rest))]

    def _placed(self, x: Tensor, conv: Conv, sizes: tuple[int, int, int, int]) -> Tensor:
        """A copy of the tokens whose places are told by a depthwise convolution, by clip."""
        samples, frames, height, width = sizes
        length, count, channels = x.shape
        cloned = ops.copy(x)
        feature = ops.copy(ops.copy(cloned, (samples, channels, frames, height, width)))
        moved = ops.copy(conv(feature), (length - 1, count, channels))
        del feature
        told = ops.add(ops.select(cloned, (length - 1, count, channels)), moved)
        del moved
        written = self.tape.record(x.shape, x.itemsize, (cloned, told), (cloned.bytes, told.bytes), inplace=cloned)
        return ops.copy(written, (frames * length, samples, channels))
