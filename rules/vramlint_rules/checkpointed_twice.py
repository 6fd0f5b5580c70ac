"""Activation checkpointing asked for by FSDP and by the trainer.

Why: both would wrap the same layers. Hugging Face's Trainer raises ValueError when it prepares the model; FSDP's own
form avoids a gather of the weights in backward and is the one to keep.

Example: ``gradient_checkpointing: true`` beside ``fsdp_config: {activation_checkpointing: true}``.

Fix safety: safe. FSDP's checkpointing does the same.

Sources: transformers 5.23.0 ``trainer.py#create_accelerator_and_postprocess`` ("The activation_checkpointing in FSDP
config and the gradient_checkpointing in training arg can't be set to True simultaneously").
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Safety, Severity, Verdict
from vramlint_rules._cases import trainer
from vramlint_rules._repairs import write

RULE = RuleInfo(
    code="VL605",
    name="checkpointed-twice",
    summary="activation checkpointing asked for by FSDP and by the trainer",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=Safety.SAFE,
    sources=("https://github.com/huggingface/transformers/blob/main/src/transformers/trainer.py",),
)


def _file(trainers: str, fsdps: str) -> str:
    return trainer(fsdp="full_shard", gradient_checkpointing=trainers) + (
        f"fsdp_config:\n  activation_checkpointing: {fsdps}\n"
    )


VALID = (
    Case("sft.yaml", _file("false", "true")),
    Case("sft.yaml", _file("true", "false")),
)
INVALID = (
    Case("sft.yaml", _file("true", "true"), fixed=_file("false", "true")),
    Case("sft.yaml", _file("True  # save memory", "true"), fixed=_file("False  # save memory", "true")),
)


def check(run: Run) -> Iterator[Verdict]:
    """Look for both switches."""
    plan = run.plan
    own, sharded = plan.grad_checkpointing, plan.fact("fsdp_checkpointing")
    if not own.spelled or own.value is not True or sharded.value is not True:
        return
    name = run.spelling("grad_checkpointing")
    yield Verdict(
        "grad_checkpointing",
        f"{name} beside FSDP's activation_checkpointing: the trainer refuses both",
        label="FSDP does it already",
        help=f"Switch off {name}",
        repairs=write(run, "grad_checkpointing", to=False, safety=Safety.SAFE),
    )
