"""Two files of one run that contradict each other.

Why: a launch line, its config, the DeepSpeed JSON and the accelerate YAML all speak of ranks, accumulation, batch and
precision. Where they differ the framework stops at start-up, waits for ranks that never come, or follows one file
while people read the other.

Example: ``"train_micro_batch_size_per_gpu": 4`` in the JSON that ``deepspeed:`` names, beside
``per_device_train_batch_size: 2``.

Fix safety: no fix; which of the two is meant, only you know. ``"auto"`` in a DeepSpeed file takes the Trainer's value.

Sources: transformers 5.24 ``integrations/deepspeed.py#trainer_config_process`` (whatever is neither absent nor ``auto``
must equal the argument), accelerate 1.15 ``commands/launch.py``, Lightning 2.5
``fabric/plugins/environments/torchelastic.py#validate_settings``, torch 2.13 ``distributed/run.py``.

Dialects find this while they read, since each knows which file wins; the rule itself only names it.
"""

from __future__ import annotations

from collections.abc import Iterator

from vramlint.findings import Finding
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
_JOB = """\
#!/bin/bash
#SBATCH --nodes=2
#SBATCH --gpus-per-node=4
srun {launch} run.py --output_dir out --per_device_train_batch_size 2
"""
VALID: tuple[Case, ...] = (
    Case("job.sbatch", _JOB.format(launch="torchrun --nnodes 2 --nproc_per_node 4")),
    Case("job.sbatch", _JOB.format(launch="torchrun --nnodes $SLURM_NNODES --nproc_per_node 4")),
)
INVALID: tuple[Case, ...] = (
    Case("job.sbatch", _JOB.format(launch="torchrun --nnodes 4 --nproc_per_node 4")),
    Case("job.sbatch", _JOB.format(launch="accelerate launch --num_machines 1 --num_processes 4")),
)


def check(_run: Run) -> Iterator[Verdict]:
    """Says nothing of a run: the dialect that read it has said it."""
    yield from ()


def without_repeats(findings: list[Finding]) -> list[Finding]:
    """``findings`` without the framework's start-up error (VL7) where this rule names both files for the same value."""
    named = {finding.location for finding in findings if finding.code == RULE.code}
    return [each for each in findings if each.location not in named or not each.code.startswith("VL7")]
