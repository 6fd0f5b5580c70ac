"""Models in plain torch: a U-Net, and ResNet-50 in the two forms of momentum contrast."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import nn

from vramlint.trace.events import Shape
from vramlint.trace.families.images import forward, images, mask_loss, with_masks
from vramlint.trace.networks import ResNet, UNet
from vramlint.trace.targets import Target, UnknownModel
from vramlint.trace.tracer import Job

QUEUE = 65536
"""Keys in the queue of the MoCo profiles: 4 bytes x dimensions each, and a logit a key and query."""

_PER_BLOCK = "checkpointing recomputes every residual block"


def find(name: str) -> Target:
    """``unet``, ``moco_v2_resnet50`` or ``moco_v3_resnet50``. Raises UnknownModel for any other."""
    match name:
        case "unet":
            return Target(
                name,
                _unet,
                ("torch",),
                (
                    "64 to 1024 channels, batch norm, one class, binary cross-entropy plus Dice",
                    "checkpointing recomputes every pair of convolutions",
                ),
                has_checkpointing=True,
                size_multiple=16,
            )
        case "moco_v2_resnet50":
            return Target(
                name,
                _moco_v2,
                ("torch",),
                (f"one query and one key view, queue of {QUEUE} keys of 128 dimensions, as buffer", _PER_BLOCK),
                has_checkpointing=True,
            )
        case "moco_v3_resnet50":
            return Target(
                name,
                _moco_v3,
                ("torch",),
                (
                    "two views through both encoders, symmetric loss, predictor; "
                    f"queue of {QUEUE} keys of 256 dimensions, as buffer",
                    _PER_BLOCK,
                ),
                has_checkpointing=True,
                confirm=(Shape(5, 320, 256), Shape(8, 448, 448)),  # batch norm on vectors needs a batch of 2
            )
    raise UnknownModel(f"no plain model {name!r}")


def _unet(shape: Shape, checkpointing: bool) -> Job:
    return Job(UNet(checkpointing=checkpointing), lambda: with_masks(shape), mask_loss, forward)


class MomentumContrast(nn.Module):
    """Two encoders, a queue of keys, and InfoNCE of queries against one positive and the queue (arXiv:1911.05722)."""

    queue: torch.Tensor

    def __init__(self, base: nn.Module, momentum: nn.Module, predictor: nn.Module, dimensions: int) -> None:
        super().__init__()
        self.base, self.momentum, self.predictor = base, momentum, predictor
        for parameter in momentum.parameters():
            parameter.requires_grad_(False)  # noqa: FBT003 - torch's own signature
        self.register_buffer("queue", torch.empty(dimensions, QUEUE))

    def contrast(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """The loss of one view's queries against the other view's keys."""
        positive = (query * key).sum(1, keepdim=True)
        negative = query @ self.queue.clone().detach()
        logits = torch.cat([positive, negative], 1) / 0.2
        return functional.cross_entropy(logits, torch.zeros(logits.shape[0], dtype=torch.int64))

    def queries(self, image: torch.Tensor) -> torch.Tensor:
        """Normalised projections of the trained encoder."""
        return functional.normalize(self.predictor(self.base(image)), dim=1)

    def keys(self, image: torch.Tensor) -> torch.Tensor:
        """Normalised projections of the momentum encoder, without graph."""
        with torch.no_grad():
            return functional.normalize(self.momentum(image), dim=1)


def _moco_v2(shape: Shape, checkpointing: bool) -> Job:
    def encoder() -> nn.Module:
        net = ResNet(50, checkpointing=checkpointing)
        net.fc = nn.Sequential(nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 128))  # type: ignore[assignment]
        return net

    def loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        assert isinstance(model, MomentumContrast)
        queries = model.queries(batch[0])
        return model.contrast(queries, model.keys(batch[1]))

    model = MomentumContrast(encoder(), encoder(), nn.Identity(), 128)
    return Job(model, lambda: (images(shape), images(shape)), loss, _keys)


def _moco_v3(shape: Shape, checkpointing: bool) -> Job:
    def encoder() -> nn.Module:
        net = ResNet(50, checkpointing=checkpointing)
        net.fc = _mlp(2048, 4096, 256)  # type: ignore[assignment]
        return net

    def loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        assert isinstance(model, MomentumContrast)
        first, second = model.queries(batch[0]), model.queries(batch[1])
        key_of_first, key_of_second = model.keys(batch[0]), model.keys(batch[1])
        return model.contrast(first, key_of_second) + model.contrast(second, key_of_first)

    model = MomentumContrast(encoder(), encoder(), _mlp(256, 4096, 256), 256)
    return Job(model, lambda: (images(shape), images(shape)), loss, _keys)


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two layers with batch norm, as the projector and predictor of MoCo v3 (arXiv:2104.02057, section 4)."""
    return nn.Sequential(
        nn.Linear(inputs, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, outputs, bias=False),
        nn.BatchNorm1d(outputs, affine=False),
    )


def _keys(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    assert isinstance(model, MomentumContrast)
    return model.keys(batch[0])
