"""Traces the losses of TRL's trainers on the logits alone: the bytes alive per logit at the worst moment.

Usage: python tools/check_losses.py

Needs torch. The functions are TRL 0.24's, shortened to what allocates (``selective_log_softmax``,
``concatenated_forward`` of each trainer, ``generalized_jsd_loss``), with the names that hold a tensor kept as long as
there. A head of 16 inputs makes the logits in bf16; ``fp32`` is what accelerate makes of a model's output under
``bf16: true`` (accelerate 1.15 ``utils/operations.py#convert_outputs_to_fp32``), ``bf16`` logits in 16 bits without it.
The figures stand in ``vramlint/memory/objectives.py``; the tests take the traces again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from vramlint.trace.events import Recording, Shape
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.tracer import Job, Options, record

IN_PLACE = True
BATCH, LENGTH, VOCABULARY, HIDDEN = 4, 256, 32_000, 16

Heads = tuple[Callable[[torch.Tensor], torch.Tensor], ...]


class Model(torch.nn.Module):
    """A policy's head and a frozen one, of the reference or the teacher."""

    def __init__(self, *, fp32: bool) -> None:
        super().__init__()
        self.policy = torch.nn.Linear(HIDDEN, VOCABULARY, bias=False, dtype=torch.bfloat16)
        self.frozen = torch.nn.Linear(HIDDEN, VOCABULARY, bias=False, dtype=torch.bfloat16)
        self.frozen.weight.requires_grad = False
        self.fp32 = fp32

    def forward(self, hidden: torch.Tensor, *, frozen: bool = False) -> torch.Tensor:
        logits: torch.Tensor = (self.frozen if frozen else self.policy)(hidden)
        return logits.float() if self.fp32 else logits


def selective_log_softmax(logits: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """TRL 0.24 ``trainer/utils.py``."""
    if logits.dtype == torch.float32:
        selected = torch.gather(logits, dim=-1, index=index.unsqueeze(-1)).squeeze(-1)
        values = torch.stack([torch.logsumexp(row, dim=-1) for row in logits])
        return selected - values
    found = []
    for row, labels in zip(logits, index, strict=True):
        logps = log_softmax(row, dim=-1)
        found.append(logps.gather(dim=-1, index=labels.unsqueeze(-1)).squeeze(-1))
    return torch.stack(found)


def dpo(model: Model, hidden: torch.Tensor) -> torch.Tensor:
    """``DPOTrainer.get_batch_loss_metrics``: pairs, then the reference under ``no_grad``."""

    def logps(*, frozen: bool) -> torch.Tensor:
        logits = model(hidden, frozen=frozen)
        per_token = selective_log_softmax(logits, _labels(hidden))
        return per_token[:, 1:].sum(-1)

    policy = logps(frozen=False)
    with torch.no_grad():
        reference = logps(frozen=True)
    return (policy - reference).mean()


def kto(model: Model, hidden: torch.Tensor) -> torch.Tensor:
    """``KTOTrainer``: indexed logits of the chosen and the rejected are kept for their means."""

    def forward(*, frozen: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        logits = model(hidden, frozen=frozen)
        logps = selective_log_softmax(logits[:, :-1, :], _labels(hidden)[:, 1:]).sum(-1)
        half = list(range(BATCH // 2))
        rest = list(range(BATCH // 2, BATCH))
        return logps, logits[half, ...], logits[rest, ...]

    policy, chosen, rejected = forward(frozen=False)
    with torch.no_grad():
        reference, _, _ = forward(frozen=True)
    loss = (policy - reference).mean()
    with torch.no_grad():
        _ = chosen.sum(), rejected.sum()
    return loss


def orpo(model: Model, hidden: torch.Tensor) -> torch.Tensor:
    """``ORPOTrainer.concatenated_forward``, CPO's is alike: a cross entropy of the chosen beside the pairs."""
    logits = model(hidden)
    chosen = logits[: BATCH // 2, :-1, :].contiguous().view(-1, VOCABULARY)
    nll = cross_entropy(chosen, _labels(hidden)[: BATCH // 2, 1:].reshape(-1))
    del chosen
    logps = selective_log_softmax(logits[:, :-1, :], _labels(hidden)[:, 1:]).mean(-1)
    return nll - logps.mean()


def grpo(model: Model, hidden: torch.Tensor) -> torch.Tensor:
    """``GRPOTrainer._get_per_token_logps_and_entropies``, of TRL 0.18 to 1.14: divided by the temperature."""
    logits = model(hidden)
    logits = logits[:, :-1, :]
    logits = logits / 0.9
    logps = selective_log_softmax(logits, _labels(hidden)[:, 1:])
    with torch.no_grad():
        _ = torch.cat([_entropy(rows) for rows in logits.reshape(-1, VOCABULARY).split(128)])
    return torch.exp(logps - logps.detach()).mean()


def _entropy(rows: torch.Tensor) -> torch.Tensor:
    logps = log_softmax(rows, dim=-1)
    return -(torch.exp(logps) * logps).sum(-1)


def gkd(model: Model, hidden: torch.Tensor) -> torch.Tensor:
    """``GKDTrainer.compute_loss`` and ``generalized_jsd_loss`` with beta 0.5."""
    student = model(hidden)
    with torch.no_grad():
        teacher = model(hidden, frozen=True)
    return _jsd(student[:, :-1, :], teacher[:, :-1, :])


def _jsd(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    student = student / 0.9
    teacher = teacher / 0.9
    own = log_softmax(student, dim=-1)
    other = log_softmax(teacher, dim=-1)
    beta = torch.full((), 0.5, dtype=own.dtype)
    mixture = torch.logsumexp(torch.stack([own + torch.log(1 - beta), other + torch.log(beta)]), dim=0)
    kl_teacher = kl_div(mixture, other, reduction="none", log_target=True)
    kl_student = kl_div(mixture, own, reduction="none", log_target=True)
    jsd = beta * kl_teacher + (1 - beta) * kl_student
    return jsd.sum()


class _InPlace(torch.autograd.Function):
    """What flash-attn's Triton cross entropy keeps: the logits, whose gradient takes their place or is apart.

    ``div_`` on a view of the logits costs two more copies of their gradient (autograd's ``CopySlices``).
    """

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, in_place: bool) -> torch.Tensor:
        ctx.save_for_backward(logits)
        ctx.in_place = in_place
        return logits.new_zeros(logits.shape[:-1], dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        (logits,) = ctx.saved_tensors
        found = logits if ctx.in_place else torch.empty_like(logits)
        return found.mul_(gradients[0].unsqueeze(-1).to(logits.dtype)), None


def verl(model: Model, hidden: torch.Tensor) -> torch.Tensor:
    """verl 0.7.0 ``workers/actor/dp_actor.py#_forward_micro_batch`` without entropy, flash-attn at hand."""
    logits = model(hidden).squeeze(0)
    logits.div_(0.9)
    logps: torch.Tensor = _InPlace.apply(logits, IN_PLACE)
    return logps.mean()


def verl_entropy(model: Model, hidden: torch.Tensor) -> torch.Tensor:
    """The same with ``entropy_coeff``: ``utils/torch_functional.py#entropy_from_logits``, fp32 under autocast."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(hidden).squeeze(0)
        logits.div_(0.9)
        logps: torch.Tensor = _InPlace.apply(logits, not IN_PLACE)
        shares = torch.nn.functional.softmax(logits, dim=-1, dtype=torch.float32)
        entropy = torch.logsumexp(logits, dim=-1) - torch.sum(shares * logits, dim=-1)
    return logps.mean() - 0.001 * entropy.mean()


def factory_dpo(model: Model, hidden: torch.Tensor) -> torch.Tensor:
    """LLaMA-Factory 0.9.5 ``train/dpo/trainer.py``: fp32 logits are returned beside the log-probabilities."""

    def forward(*, frozen: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        logits = model(hidden, frozen=frozen).to(torch.float32)
        chosen, rejected = logits.split(BATCH // 2, dim=0)
        return _gathered(logits, hidden), chosen, rejected

    policy, chosen, rejected = forward(frozen=False)
    with torch.no_grad():
        reference, _, _ = forward(frozen=True)
    loss = (policy - reference).mean()
    _ = chosen.detach().mean(), rejected.detach().mean()
    return loss


def factory_orpo(model: Model, hidden: torch.Tensor) -> torch.Tensor:
    """The same with ``pref_loss: orpo`` or ``simpo``, which compare with no reference."""
    logits = model(hidden).to(torch.float32)
    loss = _gathered(logits, hidden).mean()
    _ = logits.detach().mean()
    return loss


def factory_kto(model: Model, hidden: torch.Tensor) -> torch.Tensor:
    """LLaMA-Factory 0.9.5 ``train/kto/trainer.py``: a second pass under ``no_grad``, logits picked out."""

    def forward(*, frozen: bool) -> tuple[torch.Tensor, torch.Tensor]:
        logits = model(hidden, frozen=frozen).to(torch.float32)
        return logits, _gathered(logits, hidden)

    def concatenated(*, frozen: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        logits, logps = forward(frozen=frozen)
        with torch.no_grad():
            _ = forward(frozen=frozen)
        return logps, logits[: BATCH // 2].clone(), logits[BATCH // 2 :].clone()

    policy, chosen, rejected = concatenated(frozen=False)
    with torch.no_grad():
        reference, _, _ = concatenated(frozen=True)
    loss = (policy - reference).mean()
    _ = chosen.detach().mean(), rejected.detach().mean()
    return loss


def _gathered(logits: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """LLaMA-Factory 0.9.5 ``train/trainer_utils.py#get_batch_logps``."""
    labels = _labels(hidden)[:, 1:]
    per_token = torch.gather(logits[:, :-1, :].log_softmax(-1), dim=2, index=labels.unsqueeze(2)).squeeze(2)
    return per_token.sum(-1)


def _labels(hidden: torch.Tensor) -> torch.Tensor:
    return torch.zeros(hidden.shape[:2], dtype=torch.long)


LOSSES: dict[str, Callable[[Model, Any], torch.Tensor]] = {
    "dpo": dpo,
    "kto": kto,
    "orpo": orpo,
    "grpo": grpo,
    "gkd": gkd,
    "verl": verl,
    "verl with entropy": verl_entropy,
    "llamafactory dpo": factory_dpo,
    "llamafactory orpo": factory_orpo,
    "llamafactory kto": factory_kto,
}


def bytes_per_logit(name: str, *, fp32: bool) -> float:
    """Bytes alive at the worst moment of forward and backward, over batch x length x vocabulary."""

    def job() -> Job:
        return Job(
            Model(fp32=fp32),
            lambda: torch.zeros(BATCH, LENGTH, HIDDEN, dtype=torch.bfloat16, requires_grad=True),
            lambda model, hidden: LOSSES[name](model, hidden),  # type: ignore[arg-type]
        )

    options = Options(dtype=None, evaluation=False, second_step=False)
    return _peak(record(job, Shape(BATCH, seq_len=LENGTH), options)) / (BATCH * LENGTH * VOCABULARY)


def _peak(recording: Recording) -> int:
    """The first step's: a Python function in the graph keeps it in a cycle, which only a later collection breaks."""
    level = best = 0
    for event in recording.events:
        if event == "fresh:end":
            return best
        if isinstance(event, int):
            level += recording.sizes[event] if event > 0 else -recording.sizes[-event]
            best = max(best, level)
    return best


def main() -> int:
    torchvision_schemas()
    for name in LOSSES:
        print(
            f"{name:<18} fp32 {bytes_per_logit(name, fp32=True):6.2f}   bf16 {bytes_per_logit(name, fp32=False):6.2f}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
