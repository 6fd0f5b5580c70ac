"""The warm-up is as long as the run or longer.

Why: the learning rate climbs until the end and never reaches its value, or only at the last step. Some frameworks
assert against it (Megatron-LM), most train on in silence.

Example: ``warmup_steps: 500`` with ``max_steps: 100``.

Fix safety: none. How long the run should be only its author knows.

Sources: transformers 5.23.0 ``optimization.py`` (linear warm-up over ``num_warmup_steps``); Megatron-LM 2026-08
``core/optimizer_param_scheduler.py`` (``assert self.lr_warmup_steps < self.lr_decay_steps``).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._cases import megatron, trainer

RULE = RuleInfo(
    code="VL109",
    name="warmup-over-run",
    summary="the warm-up is as long as the run or longer",
    severity=Severity.WARNING,
    confidence=Confidence.HIGH,
    fix=None,
    sources=(
        "https://github.com/huggingface/transformers/blob/main/src/transformers/optimization.py",
        "https://github.com/NVIDIA/Megatron-LM/blob/main/megatron/core/optimizer_param_scheduler.py",
    ),
)

VALID = (
    Case("sft.yaml", trainer(warmup_steps=100, max_steps=1000)),
    Case("train.sh", megatron(**{"train-iters": 5000, "lr-warmup-iters": 200})),
    Case("sft.yaml", trainer(warmup_steps=500, max_steps=-1)),
)
INVALID = (
    Case("sft.yaml", trainer(warmup_steps=500, max_steps=100)),
    Case("train.sh", megatron(**{"train-iters": 200, "lr-warmup-iters": 200})),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare warm-up and run, in steps or in epochs."""
    plan = run.plan
    for warm, whole, unit in (("warmup_steps", "max_steps", "steps"), ("warmup_epochs", "epochs", "epochs")):
        warmup, length = plan.fact(warm), plan.fact(whole)
        if not (warmup.spelled and length.spelled) or not warmup.value or not length.value or length.value <= 0:
            continue
        if warmup.value >= length.value:
            yield Verdict(
                warm,
                f"{run.spelling(warm)} {warmup.value:g} of {length.value:g} {unit}: the learning rate never stays at "
                "its value",
                label=f"the run has {length.value:g} {unit}",
                help="Shorten the warm-up, or train longer",
            )
