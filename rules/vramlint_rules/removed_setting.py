"""A setting that newer versions of the framework renamed or removed.

Why: a name of the last major version stops the program, or is ignored, after the next upgrade.

Example: ``evaluation_strategy`` is ``eval_strategy`` since transformers 4.46.

Fix safety: none. An older version may be pinned, where the new name does not exist yet.

Sources: each fact carries its own, with version: ``rules/vramlint_rules/framework_rows``.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._rows import verdicts

RULE = RuleInfo(
    code="VL704",
    name="removed-setting",
    summary="a setting that newer versions of the framework renamed or removed",
    severity=Severity.WARNING,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=("https://github.com/huggingface/transformers/blob/main/src/transformers/training_args.py",),
)

_HF = "output_dir: out\nnum_train_epochs: 1\nper_device_train_batch_size: 4\n{}: {}\n"
VALID = (
    Case("sft.yaml", _HF.format("eval_strategy", "steps")),
    Case("sft.yaml", _HF.format("use_cpu", "false")),
)
INVALID = (
    Case("sft.yaml", _HF.format("evaluation_strategy", "steps")),
    Case("sft.yaml", _HF.format("no_cuda", "false")),
)


def check(run: Run) -> Iterator[Verdict]:
    """Ask the rows that name what is gone."""
    yield from verdicts(run, "removed")
