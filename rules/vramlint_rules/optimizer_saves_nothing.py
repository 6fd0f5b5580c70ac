"""A memory-saving optimizer over a few trained parameters.

Why: 8-bit and paged optimizers shrink the optimizer's states. With LoRA those belong to the adapter alone and are tiny;
what the quantised form costs (accuracy of the states, paging) buys nothing. The frozen base has no states.

Example: ``optim: paged_adamw_8bit`` with a LoRA rank of 16 on a 0.5B model saves 40 MiB.

Fix safety: none. The numerics change.

Sources: Dettmers et al., 8-bit Optimizers via Block-wise Quantization, arXiv 2110.02861; bitsandbytes 0.45
``optim/optimizer.py``.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict, revise
from vramlint_rules._cases import trainer
from vramlint_rules._words import size

RULE = RuleInfo(
    code="VL412",
    name="optimizer-saves-nothing",
    summary="a memory-saving optimizer over a few trained parameters",
    severity=Severity.INFO,
    confidence=Confidence.HIGH,
    fix=None,
    sources=("https://arxiv.org/abs/2110.02861",),
    pedantic=True,
    needs_gpu=True,
)

_LITTLE = 0.02
_SAVING = ("8bit", "paged", "4bit")


def _file(optimizer: str, **more: object) -> str:
    return trainer(max_length=512, bf16="true", torch_dtype="bfloat16", optim=optimizer, **more)


VALID = (
    Case("sft.yaml", _file("paged_adamw_8bit"), gpu="rtx4090"),
    Case("sft.yaml", _file("adamw_torch", use_peft="true", lora_r=16), gpu="rtx4090"),
)
INVALID = (
    Case("sft.yaml", _file("paged_adamw_8bit", use_peft="true", lora_r=16), gpu="rtx4090"),
    Case("sft.yaml", _file("adamw_8bit", use_peft="true", lora_r=8), gpu="a100-40gb"),
)


def check(run: Run) -> Iterator[Verdict]:
    """Estimate the run with plain AdamW."""
    plan, estimate = run.plan, run.estimate()
    name = (plan.optimizer.value or "").lower()
    if plan.adapter.value not in ("lora", "qlora") or not plan.optimizer.spelled or "adam" not in name:
        return
    if not any(word in name.replace("_", "") for word in _SAVING):
        return
    after = run.estimate(revise(plan, {"optimizer": "adamw_torch_fused"}))
    if estimate.required is None or after.required is None or estimate.usable_bytes is None:
        return
    saved = max(after.required.value - estimate.required.value, 0)
    if saved < _LITTLE * estimate.usable_bytes:
        yield Verdict(
            "optimizer",
            f"{plan.optimizer.value} saves {size(saved)} here: only the adapter has optimizer states",
            label=f"saves {size(saved)}",
            help="Use plain AdamW (adamw_torch_fused)",
        )
