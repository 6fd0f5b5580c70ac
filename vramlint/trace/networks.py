"""Networks in plain torch: what the tracer and the probe train without any further package."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as functional
from torch import nn
from torch.utils.checkpoint import checkpoint

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Blocks a stage (He et al., arXiv:1512.03385, table 1)."""


class ResNet(nn.Module):
    """ResNet of ``depth`` 18, 34, 50 or 101. ``checkpointing`` recomputes each residual block in backward."""

    def __init__(self, depth: int = 50, classes: int = 1000, *, checkpointing: bool = False) -> None:
        super().__init__()
        block: Callable[..., nn.Module] = _Bottleneck if depth >= 50 else _BasicBlock
        expansion = 4 if depth >= 50 else 1
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        )
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.blocks = nn.ModuleList()
        channels = 64
        for stage, count in enumerate(_BLOCKS[depth]):
            width = 64 * 2**stage
            for index in range(count):
                self.blocks.append(block(channels, width, stride=2 if stage and not index else 1))
                channels = width * expansion
        self.fc = nn.Linear(channels, classes)
        self.checkpointing = checkpointing

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.stem(image))
        for block in self.blocks:
            x = _maybe_checkpoint(block, x, active=self.checkpointing and self.training)
        logits: torch.Tensor = self.fc(x.mean((2, 3)))
        return logits


def _maybe_checkpoint(module: nn.Module, x: torch.Tensor, *, active: bool) -> torch.Tensor:
    output: torch.Tensor = checkpoint(module, x, use_reentrant=False) if active else module(x)
    return output


def _shortcut(channels: int, out: int, stride: int) -> nn.Module:
    if channels == out and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))


class _BasicBlock(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(channels, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return functional.relu(y, inplace=True)


class _Bottleneck(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * 4)
        self.shortcut = _shortcut(channels, width * 4, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = functional.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        y += self.shortcut(x)
        return functional.relu(y, inplace=True)


class UNet(nn.Module):
    """U-Net with batch norm, 64 to 1024 channels and transposed convolutions (arXiv:1505.04597, padded convolutions).

    ``checkpointing`` recomputes each pair of convolutions in backward.
    """

    def __init__(self, classes: int = 1, base: int = 64, *, checkpointing: bool = False) -> None:
        super().__init__()
        widths = [base * 2**level for level in range(5)]
        self.down = nn.ModuleList(_pair(a, b) for a, b in zip([3, *widths], widths, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(w, w // 2, 2, stride=2) for w in widths[:0:-1])
        self.merge = nn.ModuleList(_pair(w, w // 2) for w in widths[:0:-1])
        self.out = nn.Conv2d(base, classes, 1)
        self.pool = nn.MaxPool2d(2)
        self.checkpointing = checkpointing

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        active = self.checkpointing and self.training
        x, skips = image, []
        for level, block in enumerate(self.down):
            x = _maybe_checkpoint(block, self.pool(x) if level else x, active=active)
            skips.append(x)
        skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = _maybe_checkpoint(merge, torch.cat([skips.pop(), up(x)], 1), active=active)
        logits: torch.Tensor = self.out(x)
        return logits


def _pair(channels: int, out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for source in (channels, out):
        layers += [nn.Conv2d(source, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class Decoder(nn.Module):
    """A small GPT-like decoder: learned positions, pre-norm blocks, tied head. ``checkpointing`` as in ``ResNet``."""

    def __init__(
        self,
        vocabulary: int = 32000,
        hidden: int = 512,
        layers: int = 8,
        heads: int = 8,
        context: int = 2048,
        *,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, hidden)
        self.positions = nn.Embedding(context, hidden)
        self.blocks = nn.ModuleList(_DecoderBlock(hidden, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        self.checkpointing = checkpointing

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = _maybe_checkpoint(block, x, active=self.checkpointing and self.training)
        logits: torch.Tensor = self.head(self.norm(x))
        return logits


class _DecoderBlock(nn.Module):
    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(hidden)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.proj = nn.Linear(hidden, hidden)
        self.norm2 = nn.LayerNorm(hidden)
        self.mlp = nn.Sequential(nn.Linear(hidden, 4 * hidden), nn.GELU(), nn.Linear(4 * hidden, hidden))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, hidden = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, hidden // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(batch, length, hidden))
        output: torch.Tensor = x + self.mlp(self.norm2(x))
        return output
