"""What an evaluation of a language model needs between training steps: weights and states, and a batch of logits.

No graph is kept, but logits are as wide as the vocabulary: in 16 bits, in fp32, and normalised for the loss
(transformers 5.24 ``loss/loss_utils.py#ForCausalLMLoss``, torch 2.13 ``cross_entropy``); afterwards accelerate's fp32
copy takes the place of the last two (1.15 ``utils/operations.py#convert_outputs_to_fp32``). The Trainer keeps logits
only where metrics are computed (``trainer.py#evaluate``: the loss alone where ``compute_metrics`` is None), and
then on the card until ``eval_accumulation_steps`` have passed, by default all of them.
"""

from __future__ import annotations

from vramlint.memory.decoder import Decoder
from vramlint.memory.model import Estimate, Interval
from vramlint.memory.setting import Setting
from vramlint.plan import TrainingPlan

LEAST_BYTES, BYTES = 6, 10
"""Bytes a logit: 2 in bf16 and 4 in fp32 at least, 4 more for the log-probabilities."""

SHORT = 4
"""Unpacked samples are seldom as long as the limit: the lower bound is for a quarter of it."""

MOVING = (
    *("activations", "gradients", "gathered weights", "reduction buffers", "optimizer step"),
    *("allocator slack", "rollout engine"),
)
"""Components that are not there between two steps."""

_KEPT_BYTES = 4
"""A kept logit is fp32; the batches so far and the joined ones are there together (``nested_concat``)."""


def evaluation_peak(plan: TrainingPlan, found: Estimate, setting: Setting) -> Interval | None:
    """Bytes that the card must hold during evaluation; None where the run has none or its step is not known."""
    batch, model = plan.fact("eval_batch").value, setting.knowledge
    length = plan.seq_len.value
    if not isinstance(model, Decoder) or not evaluates(plan) or not isinstance(batch, int) or not length:
        return None
    if found.required is None or model.sequences > 1 or model.scores or model.implementation.fused_loss:
        return None
    resting = sum(part.bytes for part in found.components if part.name not in MOVING)
    logits, hidden = batch * length * model.config.shape.vocabulary, _hidden_bytes(model) * batch * length
    slack = found.required.value / max(1, found.allocated.value) if found.allocated else 1.0
    value = round((resting + BYTES * logits + hidden) * max(1.0, slack))
    return Interval(resting + LEAST_BYTES * logits // SHORT, value, round(1.1 * value))


def evaluates(plan: TrainingPlan) -> bool:
    """Whether the run evaluates between steps, with logits made whole."""
    strategy = plan.fact("eval_strategy").value
    return strategy in ("steps", "epoch") and not plan.fact("fused_loss").value


def kept_logits(plan: TrainingPlan, setting: Setting) -> str:
    """What is said where logits of all samples stay on the card: how much a batch adds depends on nothing else."""
    batch, model = plan.fact("eval_batch").value, setting.knowledge
    if not plan.fact("keeps_eval_logits").value or not isinstance(model, Decoder) or not isinstance(batch, int):
        return ""
    if plan.fact("eval_accumulation").value or plan.fact("prediction_loss_only").value:
        return ""
    each = _KEPT_BYTES * batch * (plan.seq_len.value or 0) * model.config.shape.vocabulary / 2**30
    return (
        f"evaluation keeps the logits of all samples on the card for compute_metrics, up to {each:.1f} GiB a batch; "
        "how many there are is not known: eval_accumulation_steps or preprocess_logits_for_metrics prevents it"
    )


def _hidden_bytes(model: Decoder) -> int:
    """Bytes per token inside a block without a graph: the residual stream and its norm, gate, up and their product."""
    return 2 * (4 * model.config.shape.hidden + 3 * model.config.shape.ffn)
