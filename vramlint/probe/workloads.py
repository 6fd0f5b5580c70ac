"""What the sweep trains: networks in plain torch (``vramlint.trace.networks``), and every target that can be traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as functional
from torch import nn

from vramlint.probe.backend import Setting
from vramlint.trace.events import Shape
from vramlint.trace.networks import Decoder, ResNet, UNet
from vramlint.trace.targets import find_target
from vramlint.trace.tracer import Job


class Workload(NamedTuple):
    """A network, a maker of batches on a device, and the loss of both."""

    build: Callable[[bool], nn.Module]
    batch: Callable[[int, int, torch.device], tuple[torch.Tensor, torch.Tensor]]
    loss: Callable[[nn.Module, tuple[torch.Tensor, torch.Tensor]], torch.Tensor]


def _labelled(batch: int, size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(batch, 3, size, size, device=device), torch.zeros(batch, dtype=torch.int64, device=device)


def _masked(batch: int, size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(batch, 3, size, size, device=device), torch.ones(batch, 1, size, size, device=device)


def _tokens(batch: int, size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(0, 32000, (batch, size), device=device)
    return ids, ids


def _cross_entropy(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    output: Any = model(batch[0])
    loss: torch.Tensor = functional.cross_entropy(output.flatten(0, -2), batch[1].flatten())
    return loss


def _mask_loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    logits, target = model(batch[0]), batch[1]
    probability = logits.sigmoid()
    dice = 1 - (2 * (probability * target).sum() + 1) / (probability.sum() + target.sum() + 1)
    loss: torch.Tensor = functional.binary_cross_entropy_with_logits(logits, target) + dice
    return loss


WORKLOADS: dict[str, Workload] = {
    "resnet18": Workload(lambda flag: ResNet(18, checkpointing=flag), _labelled, _cross_entropy),
    "resnet50": Workload(lambda flag: ResNet(50, checkpointing=flag), _labelled, _cross_entropy),
    "unet": Workload(lambda flag: UNet(checkpointing=flag), _masked, _mask_loss),
    "decoder": Workload(lambda flag: Decoder(checkpointing=flag), _tokens, _cross_entropy),
}
"""By the names that ``vramlint.probe.sweep.Plan`` uses; the flag switches activation checkpointing."""


def job_of(setting: Setting, device: torch.device) -> Job:
    """The model of a setting on the device, its batches and its loss. Raises TraceError for a model nobody has here."""
    workload = WORKLOADS.get(setting.model)
    if workload is not None:
        model = workload.build(setting.checkpointing).to(device)
        return Job(model, lambda: workload.batch(setting.batch, setting.size, device), workload.loss)
    target = find_target(setting.model)
    if "S" in "".join(target.terms):
        shape = Shape(setting.batch, seq_len=setting.size)
    else:
        shape = Shape(setting.batch, setting.size, setting.size)
    with device:
        job = target.make(shape, setting.checkpointing)
    return job._replace(batch=lambda: _on(device, job.batch))


def _on(device: torch.device, batch: Callable[[], Any]) -> Any:
    with device:
        return batch()


def train(job: Job, setting: Setting, device: torch.device, steps: int) -> None:
    """A few steps as people write them: autocast, scaler for fp16, gradients set to None."""
    model = job.model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer: torch.optim.Optimizer
    if setting.optimizer == "sgd":
        optimizer = torch.optim.SGD(trained, lr=0.01, momentum=0.9)
    else:
        optimizer = torch.optim.AdamW(trained, lr=1e-4)
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(setting.precision)
    scaler = torch.amp.GradScaler(device.type, enabled=setting.precision == "fp16" and device.type == "cuda")
    for _ in range(steps):
        batch = job.batch()
        with torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            loss = job.loss(model, batch)
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
