"""Settings that the framework refuses together.

Why: frameworks check combinations when they start, after the job has waited for its machine and loaded its model.

Example: ``fp16: true`` and ``bf16: true`` in a TrainingArguments YAML.

Fix safety: none. Which of the settings is meant only its author knows.

Sources: each fact carries its own, with version: ``rules/vramlint_rules/framework_rows``.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._rows import verdicts

RULE = RuleInfo(
    code="VL701",
    name="conflicting-settings",
    summary="settings that the framework refuses together",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=None,
    sources=(
        "https://github.com/huggingface/transformers/blob/main/src/transformers/training_args.py",
        "https://github.com/deepspeedai/DeepSpeed/blob/master/deepspeed/runtime/config.py",
    ),
)

_HF = "output_dir: out\nnum_train_epochs: 1\nper_device_train_batch_size: 4\nfp16: {}\nbf16: {}\n"
_DEEPSPEED = '{{"train_micro_batch_size_per_gpu": 4, "fp16": {{"enabled": {}}}, "bf16": {{"enabled": {}}}}}\n'
VALID = (
    Case("sft.yaml", _HF.format("false", "true")),
    Case("ds_config.json", _DEEPSPEED.format('"auto"', '"auto"')),
)
INVALID = (
    Case("sft.yaml", _HF.format("true", "true")),
    Case("ds_config.json", _DEEPSPEED.format("true", "true")),
)


def check(run: Run) -> Iterator[Verdict]:
    """Ask the rows that forbid a combination."""
    yield from verdicts(run, "forbids", "exclusive")
