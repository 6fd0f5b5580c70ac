"""Small networks for the tests, in plain torch."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import nn

from vramlint.trace.events import Shape
from vramlint.trace.networks import Decoder, ResNet, UNet
from vramlint.trace.tracer import Job


class TinyCnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.head = nn.Linear(32, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(image).mean((2, 3)))


class TinyTransformer(nn.Module):
    """Attention by plain matrix products, so that CPU and trace run the same kernels."""

    def __init__(self, width: int = 32, layers: int = 2) -> None:
        super().__init__()
        self.tokens = nn.Embedding(100, width)
        self.layers = nn.ModuleList(_Layer(width) for _ in range(layers))
        self.head = nn.Linear(width, 100, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class _Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        x = x + torch.softmax(q @ k.transpose(1, 2) / 8, -1) @ v
        return x + self.mlp(x)


def images(shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(shape.batch, 3, shape.height, shape.width), torch.zeros(shape.batch, dtype=torch.int64)


def tokens(shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.ones(shape.batch, shape.seq_len, dtype=torch.int64)
    return ids, ids


def cross_entropy(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    output = model(batch[0])
    return functional.cross_entropy(output.flatten(0, -2), batch[1].flatten())


def forward(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return model(batch[0])


def sgd(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, foreach=True)


def adamw(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-3, foreach=True)


def cnn_job(shape: Shape) -> Job:
    return Job(TinyCnn(), lambda: images(shape), cross_entropy, forward)


def transformer_job(shape: Shape) -> Job:
    return Job(TinyTransformer(), lambda: tokens(shape), cross_entropy, forward)


def resnet18_job(shape: Shape, *, checkpointing: bool = False) -> Job:
    return Job(ResNet(18, checkpointing=checkpointing), lambda: images(shape), cross_entropy, forward)


def decoder_job(shape: Shape, *, checkpointing: bool = False) -> Job:
    model = Decoder(vocabulary=100, hidden=64, layers=2, heads=2, context=512, checkpointing=checkpointing)
    return Job(model, lambda: tokens(shape), cross_entropy, forward)


def unet_job(shape: Shape) -> Job:
    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        return torch.ones(shape.batch, 3, shape.height, shape.width), torch.ones(
            shape.batch, 1, shape.height, shape.width
        )

    def loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(model(batch[0]), batch[1])

    return Job(UNet(base=8), batch, loss, forward)
