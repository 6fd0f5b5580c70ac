"""An evaluation that comes after the end of the run.

Why: ``eval_steps`` beyond ``max_steps`` means that nothing is ever evaluated, and the best checkpoint is never chosen.

Example: ``eval_strategy: steps``, ``eval_steps: 500``, ``max_steps: 200``.

Fix safety: none. How often to evaluate only the author knows.

Sources: transformers 5.23.0 ``trainer_callback.py#DefaultFlowCallback.on_step_end`` (evaluates where the step is a
multiple of ``eval_steps``); detectron2 ``engine/hooks.py#EvalHook`` evaluates after the last step anyway and is left
out.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._cases import trainer

RULE = RuleInfo(
    code="VL111",
    name="evaluation-never-runs",
    summary="an evaluation that comes after the end of the run",
    severity=Severity.WARNING,
    confidence=Confidence.HIGH,
    fix=None,
    sources=("https://github.com/huggingface/transformers/blob/main/src/transformers/trainer_callback.py",),
)

_BY_STEPS = ("hf_trainer", "trl", "unsloth", "llamafactory", "kubeflow")
VALID = (
    Case("sft.yaml", trainer(eval_strategy="steps", eval_steps=100, max_steps=200)),
    Case("sft.yaml", trainer(eval_strategy="'no'", eval_steps=500, max_steps=200)),
)
INVALID = (
    Case("sft.yaml", trainer(eval_strategy="steps", eval_steps=500, max_steps=200)),
    Case("sft.yaml", trainer(evaluation_strategy="steps", eval_steps=1000, max_steps=60)),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the interval with the length of the run."""
    plan = run.plan
    every, steps = plan.fact("eval_steps"), plan.fact("max_steps").value
    if plan.dialect not in _BY_STEPS or plan.fact("eval_strategy").value != "steps":
        return
    if every.value and steps and 0 < steps < every.value:
        yield Verdict(
            "eval_steps",
            f"{run.spelling('eval_steps')} {every.value} of {steps} steps: the run ends before its first evaluation",
            label=f"the run has {steps} steps",
            help=f"Evaluate at least every {steps} steps",
        )
