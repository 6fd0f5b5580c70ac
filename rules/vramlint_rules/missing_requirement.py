"""A setting that needs another one, which is missing or off.

Why: frameworks check what a setting needs when they start, after the job has waited for its machine.

Example: ``adapter: qlora`` without ``load_in_4bit: true`` in an axolotl YAML.

Fix safety: none. Whether the need is met or the setting is dropped only its author knows.

Sources: each fact carries its own, with version: ``rules/vramlint_rules/framework_rows``.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._rows import verdicts

RULE = RuleInfo(
    code="VL702",
    name="missing-requirement",
    summary="a setting that needs another one, which is missing or off",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=None,
    sources=(
        "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/peft.py",
        "https://github.com/huggingface/transformers/blob/main/src/transformers/training_args.py",
    ),
)

_AXOLOTL = "base_model: acme/net\ndatasets:\n  - path: acme/data\nmicro_batch_size: 2\nadapter: {}\nload_in_4bit: {}\n"
_HF = (
    "output_dir: out\nnum_train_epochs: 1\nper_device_train_batch_size: 4\nload_best_model_at_end: true\n"
    "eval_strategy: {}\n"
)
VALID = (
    Case("qlora.yaml", _AXOLOTL.format("qlora", "true")),
    Case("sft.yaml", _HF.format("steps")),
)
INVALID = (
    Case("qlora.yaml", _AXOLOTL.format("qlora", "false")),
    Case("sft.yaml", _HF.format("'no'")),
)


def check(run: Run) -> Iterator[Verdict]:
    """Ask the rows that state a need."""
    yield from verdicts(run, "requires")
