"""U-Nets that people call just "unet": another width, attention gates, recurrent residual blocks.

Written from the papers, 64 to 1024 channels unless said otherwise, up-sampling followed by a convolution.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

Block = Callable[[int, int], nn.Module]


def _convolution(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True))


def plain_block(channels: int, out: int) -> nn.Module:
    """Two convolutions with batch norm (arXiv:1505.04597)."""
    return nn.Sequential(_convolution(channels, out), _convolution(out, out))


class _Recurrent(nn.Module):
    """One convolution applied three times to its own output plus its input (arXiv:1802.06955, t = 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.step = _convolution(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state: torch.Tensor = self.step(x)
        for _ in range(2):
            state = self.step(x + state)
        return state


class RecurrentBlock(nn.Module):
    """Two recurrent convolutions around a residual connection (R2U-Net, arXiv:1802.06955)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, out, 1)
        self.units = nn.Sequential(_Recurrent(out), _Recurrent(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.project(x)
        result: torch.Tensor = x + self.units(x)
        return result


class _Gate(nn.Module):
    """Additive attention of a skip connection (Attention U-Net, arXiv:1804.03999)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.of_gate = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner))
        self.of_skip = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner))
        self.weight = nn.Sequential(nn.Conv2d(inner, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, gate: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        weight: torch.Tensor = self.weight(torch.relu(self.of_gate(gate) + self.of_skip(skip)))
        return skip * weight


class _NoGate(nn.Module):
    def forward(self, gate: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        del gate
        return skip


class VariantUNet(nn.Module):
    """A U-Net of five levels of any block, with or without attention gates; ``checkpointing`` recomputes blocks."""

    def __init__(self, block: Block, base: int = 64, *, gated: bool = False, checkpointing: bool = False) -> None:
        super().__init__()
        widths = [base * 2**level for level in range(5)]
        self.down = nn.ModuleList(block(a, b) for a, b in zip([3, *widths], widths, strict=False))
        self.up = nn.ModuleList(
            nn.Sequential(nn.Upsample(scale_factor=2), _convolution(w, w // 2)) for w in widths[:0:-1]
        )
        self.gates = nn.ModuleList(_Gate(w // 2) if gated else _NoGate() for w in widths[:0:-1])
        self.merge = nn.ModuleList(block(w, w // 2) for w in widths[:0:-1])
        self.out = nn.Conv2d(base, 1, 1)
        self.pool = nn.MaxPool2d(2)
        self.checkpointing = checkpointing

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x, skips = image, []
        for level, block in enumerate(self.down):
            x = self._run(block, self.pool(x) if level else x)
            skips.append(x)
        skips.pop()
        for up, gate, merge in zip(self.up, self.gates, self.merge, strict=True):
            raised = up(x)
            x = self._run(merge, torch.cat([gate(raised, skips.pop()), raised], 1))
        logits: torch.Tensor = self.out(x)
        return logits

    def _run(self, block: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if self.checkpointing and self.training:
            recomputed: torch.Tensor = checkpoint(block, x, use_reentrant=False)
            return recomputed
        direct: torch.Tensor = block(x)
        return direct
