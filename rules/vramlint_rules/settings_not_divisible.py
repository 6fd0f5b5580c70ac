"""A setting that has to be a multiple of others, or exactly their product, and is not.

Why: frameworks assert such arithmetic when they start, after the job has waited for its machine.

Example: ``train_batch_size: 100`` beside a micro batch of 4 and 3 accumulation steps: no number of GPUs makes 100.

Fix safety: none. Which of the numbers is meant only its author knows.

Sources: each fact carries its own, with version: ``rules/vramlint_rules/framework_rows``.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._rows import verdicts

RULE = RuleInfo(
    code="VL705",
    name="settings-not-divisible",
    summary="a setting that is not the multiple of others that it has to be",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=None,
    sources=(
        "https://github.com/deepspeedai/DeepSpeed/blob/master/deepspeed/runtime/config.py",
        "https://github.com/huggingface/accelerate/blob/main/src/accelerate/parallelism_config.py",
    ),
)

_DEEPSPEED = (
    '{{"train_batch_size": {}, "train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": {}, '
    '"zero_optimization": {{"stage": 2}}}}\n'
)
VALID = (
    Case("ds_config.json", _DEEPSPEED.format(96, 3)),
    Case("ds_config.json", _DEEPSPEED.format(32, 2), gpus=4),
)
INVALID = (
    Case("ds_config.json", _DEEPSPEED.format(100, 3)),
    Case("ds_config.json", _DEEPSPEED.format(32, 1), gpus=4),
)


def check(run: Run) -> Iterator[Verdict]:
    """Ask the rows of arithmetic."""
    yield from verdicts(run, "divides", "equals")
