"""A lane segmenter of our own: a small encoder and decoder, a loss that weighs thin lines, sign momentum."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as functional
from torch import nn


class LaneNet(nn.Module):
    """Four stages down, four up, skips added; ``width`` channels in the first stage."""

    def __init__(self, width: int = 48, classes: int = 5) -> None:
        super().__init__()
        widths = [width * 2**stage for stage in range(4)]
        self.stem = _block(3, width, stride=1)
        self.down = nn.ModuleList(_block(a, b, stride=2) for a, b in zip(widths, widths[1:], strict=False))
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in zip(widths, widths[1:], strict=False))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        levels = [self.stem(image)]
        for stage in self.down:
            levels.append(stage(levels[-1]))
        x = levels.pop()
        for merge in reversed(self.up):
            skip = levels.pop()
            x = skip + functional.interpolate(merge(x), size=skip.shape[-2:], mode="bilinear", align_corners=False)
        return self.head(x)


def _block(channels: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out),
        nn.GELU(),
        nn.Conv2d(out, out, 3, padding=1, bias=False),
        nn.BatchNorm2d(out),
        nn.GELU(),
    )


def lane_loss(logits: torch.Tensor, lanes: torch.Tensor) -> torch.Tensor:
    """Cross-entropy in which pixels that the model is unsure of weigh more (a focal loss)."""
    surprise = functional.cross_entropy(logits, lanes, reduction="none")
    return ((1 - torch.exp(-surprise)) ** 2 * surprise).mean()


class SignMomentum(torch.optim.Optimizer):
    """Follows the sign of one momentum per parameter, and keeps a slow average of the weights beside it."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float = 1e-4, beta: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "beta": beta})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                    state["average"] = parameter.clone()
                state["momentum"].lerp_(parameter.grad, 1 - group["beta"])
                parameter.sub_(state["momentum"].sign(), alpha=group["lr"])
                state["average"].lerp_(parameter, 0.001)


def build(batch: int, height: int, width: int) -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor], object]:
    """What ``vramlint trace`` asks for: the model, a batch, and the loss of both."""
    images = torch.rand(batch, 3, height, width)
    lanes = torch.zeros(batch, height, width, dtype=torch.int64)
    return LaneNet(), (images, lanes), lambda model, batch: lane_loss(model(batch[0]), batch[1])
