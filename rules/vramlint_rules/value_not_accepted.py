"""A value that the framework does not take: out of range, or none of its words.

Why: frameworks check values when they start, after the job has waited for its machine.

Example: ``precision: fp16`` for Lightning's Trainer, which calls it ``16-mixed``.

Fix safety: none. Which of the accepted values is meant only its author knows.

Sources: each fact carries its own, with version: ``rules/vramlint_rules/framework_rows``.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._rows import verdicts

RULE = RuleInfo(
    code="VL703",
    name="value-not-accepted",
    summary="a value that the framework does not take",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=None,
    sources=(
        "https://github.com/Lightning-AI/pytorch-lightning/blob/master/src/lightning/fabric/plugins/precision/precision.py",
        "https://github.com/deepspeedai/DeepSpeed/blob/master/deepspeed/runtime/zero/config.py",
    ),
)

_FIT = (
    "trainer:\n  devices: 2\n  accumulate_grad_batches: 2\n  precision: {}\n"
    "model:\n  class_path: acme.Model\ndata:\n  class_path: acme.Data\n"
)
_DEEPSPEED = '{{"train_micro_batch_size_per_gpu": 4, "zero_optimization": {{"stage": {}}}}}\n'
VALID = (
    Case("fit.yaml", _FIT.format("16-mixed")),
    Case("ds_config.json", _DEEPSPEED.format(3)),
)
INVALID = (
    Case("fit.yaml", _FIT.format("fp16")),
    Case("ds_config.json", _DEEPSPEED.format(4)),
)


def check(run: Run) -> Iterator[Verdict]:
    """Ask the rows that state a range or the accepted words."""
    yield from verdicts(run, "accepts", "exceeds")
