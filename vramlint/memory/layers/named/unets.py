"""U-Nets in plain torch: the original with transposed convolutions, and what people call just "unet".

Sources: arXiv 1505.04597 (U-Net), 1804.03999 (Attention U-Net), 1802.06955 (R2U-Net), 1711.10684 (ResUNet),
1809.10486 (nnU-Net). ``vramlint.trace`` has the same networks in torch (``trace/networks.py``, ``trace/unets.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.named.encoders import halved, relu, unit
from vramlint.memory.layers.named.pixels import pixel_loss
from vramlint.memory.layers.nn import BatchNorm, Conv, Layer, chain
from vramlint.memory.layers.registry import Build, Config, model
from vramlint.memory.layers.tape import Tape, Tensor

Block = Callable[[Tape, int, int], Layer]


def _biased(tape: Tape, inside: int, channels: int) -> Layer:
    return chain(Conv(tape, inside, channels, 3, 1, 1), BatchNorm(tape, channels), relu)


def _pair(tape: Tape, inside: int, channels: int) -> Layer:
    """Two convolutions without bias."""
    return chain(unit(tape, inside, channels, 3), unit(tape, channels, channels, 3))


def _biased_pair(tape: Tape, inside: int, channels: int) -> Layer:
    return chain(_biased(tape, inside, channels), _biased(tape, channels, channels))


class _Recurrent:
    """Two recurrent convolutions around a residual connection; each step keeps its own maps."""

    def __init__(self, tape: Tape, inside: int, channels: int) -> None:
        self.project = Conv(tape, inside, channels)
        self.steps = [_biased(tape, channels, channels) for _ in range(2)]

    def __call__(self, x: Tensor) -> Tensor:
        x = self.project(x)
        out = x
        for step in self.steps:
            state = step(out)
            for _ in range(2):
                state = step(ops.add(out, state))
            out = state
            del state
        return ops.add(x, out)


class _Residual:
    """Two convolutions beside a 1x1 one (ResUNet)."""

    def __init__(self, tape: Tape, inside: int, channels: int) -> None:
        self.main = chain(unit(tape, inside, channels, 3), unit(tape, channels, channels, 3, act=False))
        self.side = unit(tape, inside, channels, 1, act=False)

    def __call__(self, x: Tensor) -> Tensor:
        return relu(ops.add(self.main(x), self.side(x), inplace=True))


class _Gate:
    """Additive attention of a skip connection."""

    def __init__(self, tape: Tape, channels: int) -> None:
        inner = channels // 2
        self.of_gate = chain(Conv(tape, channels, inner), BatchNorm(tape, inner))
        self.of_skip = chain(Conv(tape, channels, inner), BatchNorm(tape, inner))
        self.weight = chain(Conv(tape, inner, 1), BatchNorm(tape, 1), ops.sigmoid)

    def __call__(self, gate: Tensor, skip: Tensor) -> Tensor:
        return ops.mul(skip, self.weight(ops.relu(ops.add(self.of_gate(gate), self.of_skip(skip)))))


class Kind(NamedTuple):
    """One network: block, width of the first level, levels, gates, and transposed convolutions with the skip first."""

    block: Block
    base: int = 64
    levels: int = 5
    gated: bool = False
    transposed: bool = False
    most: int = 10**6
    """Widest level."""


KINDS: Mapping[str, Kind] = {
    "unet": Kind(_pair, transposed=True),
    "unet_base32": Kind(_biased_pair, 32),
    "attention_unet": Kind(_biased_pair, gated=True),
    "r2unet": Kind(_Recurrent),
    "resunet": Kind(_Residual, transposed=True),
    "nnunet": Kind(_biased_pair, 32, 8, transposed=True, most=512),
}
"""``nnunet``: the plans of a 2-D network of 512 x 512 pixels, without its deep supervision."""


@model("unets.UNet")
class UNet:
    """One class with binary cross-entropy and Dice, several with cross-entropy; ``with_cp`` recomputes blocks."""

    def __init__(self, build: Build, config: Config) -> None:
        self.tape = tape = build.tape
        self.kind = kind = KINDS[str(config["kind"])]
        self.checkpointing = bool(config.get("with_cp", False))
        widths = [min(kind.base * 2**level, kind.most) for level in range(kind.levels)]
        insides = [int(config.get("in_channels", 3)), *widths[:-1]]
        self.down = [kind.block(tape, a, b) for a, b in zip(insides, widths, strict=True)]
        pairs = [*zip(widths[:0:-1], widths[-2::-1], strict=True)]
        self.up = [self._raise(tape, wide, narrow) for wide, narrow in pairs]
        self.gates = [_Gate(tape, narrow) for _, narrow in pairs] if kind.gated else []
        self.merge = [kind.block(tape, 2 * narrow, narrow) for _, narrow in pairs]
        self.classes = int(config.get("classes", 1))
        self.out = Conv(tape, widths[0], self.classes)

    def _raise(self, tape: Tape, wide: int, narrow: int) -> Layer:
        if self.kind.transposed:
            return Conv(tape, wide, narrow, 2, 2, transposed=True)
        return chain(lambda x: ops.enlarged(x, 2), _biased(tape, wide, narrow))

    def _run(self, block: Layer, x: Tensor) -> Tensor:
        return self.tape.recompute(block, x) if self.checkpointing else block(x)

    def _logits(self, x: Tensor) -> Tensor:
        skips: list[Any] = []
        for level, block in enumerate(self.down):
            x = self._run(block, halved(x) if level else x)
            skips.append(x)
        skips.pop()
        for level, (up, merge) in enumerate(zip(self.up, self.merge, strict=True)):
            if self.kind.transposed:
                x = self._run(merge, ops.concatenate([skips.pop(), up(x)]))
                continue
            raised = up(x)
            skip = self.gates[level](raised, skips.pop()) if self.gates else skips.pop()
            x = self._run(merge, ops.concatenate([skip, raised]))
        return self.out(x)

    def loss(self, images: Tensor) -> Tensor:
        return pixel_loss(self._logits, images, self.classes)
