"""The launch line leaves GPUs of the machine idle.

Why: the job pays for the whole machine. Sometimes that is meant (two jobs share it), often the number is from another
machine.

Example: ``--nproc_per_node=2`` on a node with 8 GPUs.

Fix safety: none. More ranks change the effective batch.

Sources: PyTorch documentation of ``torchrun`` (one process a GPU).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._cases import torchrun

RULE = RuleInfo(
    code="VL603",
    name="gpus-idle",
    summary="the launch line leaves GPUs of the machine idle",
    severity=Severity.INFO,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=("https://pytorch.org/docs/stable/elastic/run.html",),
    pedantic=True,
)

VALID = (
    Case("train.sh", torchrun(8), gpus=8),
    Case("train.sh", torchrun(2)),
)
INVALID = (
    Case("train.sh", torchrun(2), gpus=8),
    Case("train.sh", torchrun(1), gpus=4),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the spelled ranks of a node with the target's GPUs."""
    ranks, gpus = run.plan.world_size, run.target.gpus
    if not ranks.spelled or not ranks.value or gpus is None:
        return
    nodes = run.plan.nodes.value or run.target.nodes
    if nodes is None:
        return
    on_node = ranks.value // nodes
    if 0 < on_node < gpus:
        yield Verdict(
            "world_size",
            f"{on_node} of {gpus} GPUs are used: {gpus - on_node} stay idle",
            label=f"{gpus - on_node} idle",
            help=f"Start {gpus} ranks, or ask for {on_node} GPUs",
        )
