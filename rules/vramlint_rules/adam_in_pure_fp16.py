"""Adam on weights that are held in fp16.

Why: Adam's epsilon of 1e-8 is zero in fp16, so a weight without a gradient divides zero by zero and becomes NaN
(measured with torch 2.13). Autocast over fp32 weights keeps the states in fp32; the fused implementation computes so.

Example: ``precision: 16-true`` with AdamW.

Fix safety: none. fp16 autocast needs more memory; bf16 needs another card or epsilon.

Sources: PyTorch 2.13 ``torch/optim/adamw.py`` (states have the weights' dtype, ``eps`` 1e-8); IEEE 754 half precision
(smallest subnormal 5.96e-8).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, Precision, RuleInfo, Run, Severity, Verdict

RULE = RuleInfo(
    code="VL508",
    name="adam-in-pure-fp16",
    summary="a run of Adam on weights that are held in fp16",
    severity=Severity.WARNING,
    confidence=Confidence.HIGH,
    fix=None,
    sources=(
        "https://github.com/pytorch/pytorch/blob/main/torch/optim/adamw.py",
        "https://lightning.ai/docs/pytorch/stable/common/precision_intermediate.html",
    ),
)

_FIT = (
    "trainer:\n  devices: 2\n  accumulate_grad_batches: 2\n  precision: {}\nmodel:\n  class_path: acme.Model\n"
    "optimizer:\n  class_path: torch.optim.{}\n  init_args:\n    lr: 1.0e-4\ndata:\n  class_path: acme.Data\n"
)
VALID = (
    Case("fit.yaml", _FIT.format("16-mixed", "AdamW")),
    Case("fit.yaml", _FIT.format("16-true", "SGD")),
)
INVALID = (
    Case("fit.yaml", _FIT.format("16-true", "AdamW")),
    Case("fit.yaml", _FIT.format('"16-true"', "Adam")),
)


def check(run: Run) -> Iterator[Verdict]:
    """Look for Adam over pure fp16 weights that are trained themselves."""
    plan = run.plan
    optimizer = (plan.optimizer.value or "").lower()
    if plan.precision.value is not Precision.PURE_FP16 or "adam" not in optimizer or not plan.optimizer.spelled:
        return
    if plan.adapter.value in ("lora", "qlora") or plan.fact("low_precision_weights").value:
        return
    if any(run.setting(f"optimizer.init_args.{name}").value is not None for name in ("eps", "fused")):
        return
    yield Verdict(
        "precision",
        f"weights are held in fp16 under {plan.optimizer.value}: its epsilon 1e-8 is zero there, and "
        "weights without a gradient become NaN",
        label="epsilon is zero",
        help="Use autocast over fp32 weights (16-mixed), or bf16",
    )
