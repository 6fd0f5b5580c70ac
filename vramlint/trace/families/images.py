"""Batches and losses that several families share. Images are fp32 on the card, as loaders deliver them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from torch import nn

from vramlint.trace.events import Shape

Batch = tuple[torch.Tensor, torch.Tensor]


def images(shape: Shape) -> torch.Tensor:
    """A batch of RGB images, fp32."""
    return torch.empty(shape.batch, 3, shape.height, shape.width)


def labelled(shape: Shape) -> Batch:
    """Images with one class label each."""
    return images(shape), torch.zeros(shape.batch, dtype=torch.int64)


def classification_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Cross-entropy of one label an image."""
    loss: torch.Tensor = functional.cross_entropy(model(batch[0]), batch[1])
    return loss


def with_masks(shape: Shape) -> Batch:
    """Images with one binary fp32 mask each, at full resolution."""
    return images(shape), torch.empty(shape.batch, 1, shape.height, shape.width)


def mask_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Binary cross-entropy on logits plus soft Dice, the usual pair for one foreground class."""
    logits, target = model(batch[0]), batch[1]
    probability = logits.sigmoid()
    overlap = (probability * target).sum()
    dice = 1 - (2 * overlap + 1) / (probability.sum() + target.sum() + 1)
    loss: torch.Tensor = functional.binary_cross_entropy_with_logits(logits, target) + dice
    return loss


def forward(model: nn.Module, batch: tuple[Any, ...]) -> Any:
    """The model on the images alone, as evaluation runs it."""
    return model(batch[0])
