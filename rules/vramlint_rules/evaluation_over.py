"""Evaluation needs more memory than the card has.

Why: an evaluation batch is chosen apart from the training batch, and its logits are as wide as the vocabulary: batch x
sequence x vocabulary, kept in the compute type, copied to fp32 and normalised for the loss. Weights and optimizer
states stay on the card meanwhile. The run dies hours in, at its first evaluation.

Example: Hugging Face's default evaluation batch of 8 beside a training batch of 1, at 4,096 tokens and 152,000 words:
45 GiB of logits.

Fix safety: safe. Evaluation has no gradient; its batch changes no result.

Sources: transformers 5.23.0 ``loss/loss_utils.py#ForCausalLMLoss`` (``logits.float()``) and ``training_args.py``
(``per_device_eval_batch_size`` 8); PyTorch 2.13 ``cross_entropy`` (log_softmax is materialised).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Safety, Severity, Stability, Verdict
from vramlint_rules._cases import trainer
from vramlint_rules._repairs import write
from vramlint_rules._words import size

RULE = RuleInfo(
    code="VL404",
    name="evaluation-over",
    summary="evaluation needs more memory than the card has",
    severity=Severity.WARNING,
    confidence=Confidence.MEDIUM,
    fix=Safety.SAFE,
    sources=("https://github.com/huggingface/transformers/blob/main/src/transformers/loss/loss_utils.py",),
    stability=Stability.PREVIEW,
    needs_gpu=True,
)

_LEAST_BYTES, _BYTES = 6, 10
"""Bytes a logit: 2 in bf16 and 4 in fp32 at least, 4 more for the log-probabilities."""
_SHORT = 4
"""Unpacked samples are seldom as long as the limit: a quarter of it has to be over as well."""


def _file(batch: int, strategy: str = "steps") -> str:
    return trainer(
        per_device_train_batch_size=1,
        per_device_eval_batch_size=batch,
        eval_strategy=strategy,
        max_length=4096,
        bf16="true",
        gradient_checkpointing="true",
    )


VALID = (
    Case("sft.yaml", _file(2), gpu="rtx4090"),
    Case("sft.yaml", _file(64, "'no'"), gpu="rtx4090"),
)
INVALID = (
    Case("sft.yaml", _file(64), gpu="rtx4090", fixed=_file(2)),
    Case("sft.yaml", _file(32), gpu="rtx4090", fixed=_file(2)),
)


def check(run: Run) -> Iterator[Verdict]:
    """The estimate's evaluation phase against the card."""
    plan, estimate = run.plan, run.estimate()
    batch, usable, needed = plan.fact("eval_batch").value, estimate.usable_bytes, estimate.evaluation
    vocabulary = None if run.shape is None else run.shape.vocabulary
    if not batch or not vocabulary or usable is None or needed is None or not plan.seq_len.value:
        return
    logits = batch * plan.seq_len.value * vocabulary
    resting = needed.low - logits * _LEAST_BYTES // _SHORT
    if resting > usable or needed.low <= usable:
        return
    name = run.spelling("eval_batch")
    fitting = int((usable * 0.9 - resting) // (plan.seq_len.value * vocabulary * _BYTES))
    yield Verdict(
        "eval_batch",
        f"{name} {batch}: {plan.seq_len.value} tokens each have {size(logits * _BYTES)} of logits beside "
        f"{size(resting)} of states, {size(usable)} usable: out of memory at the first evaluation",
        label=f"{size(logits * _BYTES)} of logits",
        help=f"Set {name} to {max(fitting, 1)}",
        repairs=write(run, "eval_batch", to=fitting, safety=Safety.SAFE) if 1 <= fitting < batch else (),
    )
