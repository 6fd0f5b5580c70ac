"""TF32 on a card without it.

Why: TF32 needs compute capability 8.0 (Ampere). Hugging Face's Trainer raises ValueError before the first step when it
is asked for on an older card.

Example: ``tf32: true`` on a T4.

Fix safety: safe. Without the card's support the run does not start; fp32 is what is left.

Sources: transformers 5.23.0 ``training_args.py`` ("--tf32 requires Ampere or a newer GPU arch, cuda>=11 and
torch>=1.7"); CUDA C++ Programming Guide, table of features by compute capability.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Safety, Severity, Verdict
from vramlint_rules._capability import capability, older_than
from vramlint_rules._cases import trainer
from vramlint_rules._repairs import write

RULE = RuleInfo(
    code="VL503",
    name="tf32-unsupported",
    summary="a card without TF32 is asked for it",
    severity=Severity.WARNING,
    confidence=Confidence.HIGH,
    fix=Safety.SAFE,
    sources=(
        "https://github.com/huggingface/transformers/blob/main/src/transformers/training_args.py",
        "https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#features-and-technical-specifications",
    ),
)

_REFUSING = ("hf_trainer", "trl", "llamafactory", "axolotl", "unsloth", "kubeflow")
"""Dialects whose trainer stops; elsewhere the setting does nothing on such a card."""
VALID = (
    Case("sft.yaml", trainer(tf32="true"), gpu="a100-40gb"),
    Case("sft.yaml", trainer(tf32="false"), gpu="t4"),
)
INVALID = (
    Case("sft.yaml", trainer(tf32="true"), gpu="t4", fixed=trainer(tf32="false")),
    Case("sft.yaml", trainer(tf32="True"), gpu="v100-16gb", fixed=trainer(tf32="False")),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the switch with the card."""
    gpu, tf32 = older_than(run, (8, 0)), run.plan.fact("tf32")
    if gpu is None or tf32.value is not True:
        return
    stops = run.plan.dialect in _REFUSING
    yield Verdict(
        "tf32",
        f"{capability(gpu)} has no TF32, which needs 8.0: {'the trainer refuses to start' if stops else 'no effect'}",
        label=f"no TF32 on {gpu.name}",
        help=f"Switch off {run.spelling('tf32')}",
        repairs=write(run, "tf32", to=False, safety=Safety.SAFE),
        severity=Severity.ERROR if stops else Severity.INFO,
    )
