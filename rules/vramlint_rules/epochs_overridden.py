"""A number of epochs that a number of steps overrides.

Why: in Hugging Face's Trainer and what is built on it a positive ``max_steps`` ends the run whatever
``num_train_epochs`` says. A left-over from a trial run then cuts the real one short.

Example: ``num_train_epochs: 3`` beside ``max_steps: 100``.

Fix safety: none. Which of the two is meant only the author knows.

Sources: transformers 5.23.0 ``training_args.py`` (``max_steps``: "overrides num_train_epochs").
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._cases import trainer

RULE = RuleInfo(
    code="VL110",
    name="epochs-overridden",
    summary="a number of epochs that a number of steps overrides",
    severity=Severity.INFO,
    confidence=Confidence.HIGH,
    fix=None,
    sources=("https://huggingface.co/docs/transformers/main_classes/trainer#transformers.TrainingArguments.max_steps",),
    pedantic=True,
)

_OVERRIDING = ("hf_trainer", "trl", "unsloth", "llamafactory", "axolotl")
"""Dialects of Hugging Face's Trainer; elsewhere whichever comes first ends the run."""
VALID = (
    Case("sft.yaml", trainer(num_train_epochs=3)),
    Case("sft.yaml", trainer(num_train_epochs=3, max_steps=-1)),
)
INVALID = (
    Case("sft.yaml", trainer(num_train_epochs=3, max_steps=100)),
    Case("sft.yaml", trainer(num_train_epochs=1, max_steps=60)),
)


def check(run: Run) -> Iterator[Verdict]:
    """Look for both."""
    epochs, steps = run.plan.fact("epochs"), run.plan.fact("max_steps")
    if run.plan.dialect not in _OVERRIDING or not (epochs.spelled and steps.spelled):
        return
    if epochs.value and steps.value and steps.value > 0:
        yield Verdict(
            "epochs",
            f"{epochs.value:g} epochs do not count: max_steps {steps.value} ends the run",
            label="overridden",
            help="Remove one of the two",
        )
