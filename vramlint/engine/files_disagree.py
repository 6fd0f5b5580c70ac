"""Two files of one run that contradict each other.

Why: a launch line, its config, the DeepSpeed JSON and the accelerate YAML all speak of ranks, accumulation, batch and
precision. Where they differ the framework stops at start-up, waits for ranks that never come, or follows one file
while people read the other.

Example: ``"train_micro_batch_size_per_gpu": 4`` in the JSON that ``deepspeed:`` names, beside
``per_device_train_batch_size: 2``.

Fix: none; which of the two is meant, only you know. ``"auto"`` in a DeepSpeed file takes the Trainer's value.

Dialects find this while they read, since each knows which file wins; the rule itself only names it.
"""

from __future__ import annotations

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict

RULE = RuleInfo(
    code="VL004",
    name="files-disagree",
    summary="two files of one run that contradict each other",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=None,
    sources=(
        "https://github.com/huggingface/transformers/blob/main/src/transformers/integrations/deepspeed.py",
        "https://github.com/huggingface/accelerate/blob/main/src/accelerate/commands/launch.py",
        "https://github.com/Lightning-AI/pytorch-lightning/blob/master/src/lightning/fabric/plugins/environments/"
        "torchelastic.py",
    ),
)
VALID: tuple[Case, ...] = ()
INVALID: tuple[Case, ...] = ()


def check(_run: Run) -> Iterator[Verdict]:
    """Says nothing of a run: the dialect that read it has said it."""
    yield from ()
