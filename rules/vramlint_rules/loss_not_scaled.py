"""fp16 with a loss scale that does not scale.

Why: gradients below 6e-8 are zero in fp16. Loss scaling lifts them; a fixed scale of 1 switches it off, and the model
learns slowly or not at all without an error. bf16 has the range of fp32 and needs no scaling.

Example: ``"fp16": {"enabled": true, "loss_scale": 1}`` in a DeepSpeed file.

Fix safety: unsafe. The numerics change, which is the point.

Sources: Micikevicius et al., arXiv 1710.03740, section 3.2; DeepSpeed 0.18 ``runtime/config.py`` (``loss_scale`` 0 is
dynamic); Megatron-LM 2026-08 ``training/arguments.py`` (``--loss-scale``: static).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, Precision, RuleInfo, Run, Severity, Verdict

RULE = RuleInfo(
    code="VL507",
    name="loss-not-scaled",
    summary="fp16 with a loss scale that does not scale",
    severity=Severity.WARNING,
    confidence=Confidence.HIGH,
    fix=None,
    sources=("https://arxiv.org/abs/1710.03740", "https://www.deepspeed.ai/docs/config-json/#fp16-training-options"),
)

_DEEPSPEED = '{{"train_micro_batch_size_per_gpu": 4, "fp16": {{"enabled": {}, "loss_scale": {}}}}}\n'
VALID = (
    Case("ds_config.json", _DEEPSPEED.format("true", 0)),
    Case("ds_config.json", _DEEPSPEED.format("true", 128)),
)
INVALID = (
    Case("ds_config.json", _DEEPSPEED.format("true", 1)),
    Case("ds_config.json", _DEEPSPEED.format("true", 1.0)),
)


def check(run: Run) -> Iterator[Verdict]:
    """Look for a fixed scale of 1 in an fp16 run."""
    scale = run.plan.fact("loss_scale")
    if scale.value != 1 or run.plan.precision.value not in (Precision.FP16, Precision.PURE_FP16):
        return
    yield Verdict(
        "loss_scale",
        "a fixed loss scale of 1 in fp16: gradients below 6e-8 become zero",
        label="scales nothing",
        help="Use a dynamic loss scale, or bf16 where the card has it",
    )
