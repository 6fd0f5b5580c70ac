"""The launch line starts more ranks than the machine has GPUs.

Why: each rank takes the GPU of its local number. The first rank beyond the last GPU raises "invalid device ordinal", or
two ranks share a card and NCCL refuses ("Duplicate GPU detected").

Example: ``torchrun --nproc_per_node=8`` on a node with 4 GPUs.

Fix safety: none. The number of ranks decides the effective batch.

Sources: PyTorch documentation of ``torchrun`` (one process a GPU, ``LOCAL_RANK``); NCCL ``src/init.cc`` ("Duplicate GPU
detected").
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._cases import torchrun
from vramlint_rules._words import count

RULE = RuleInfo(
    code="VL602",
    name="ranks-over-gpus",
    summary="the launch line starts more ranks than the machine has GPUs",
    severity=Severity.ERROR,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=(
        "https://pytorch.org/docs/stable/elastic/run.html",
        "https://github.com/NVIDIA/nccl/blob/master/src/init.cc",
    ),
)

VALID = (
    Case("train.sh", torchrun(4), gpus=4),
    Case("train.sh", torchrun(8)),
)
INVALID = (
    Case("train.sh", torchrun(8), gpus=4),
    Case("train.sh", torchrun(2), gpus=1),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the spelled ranks of a node with the target's GPUs."""
    ranks, gpus = run.plan.world_size, run.target.gpus
    if not ranks.spelled or ranks.value is None or gpus is None:
        return
    nodes = run.plan.nodes.value or run.target.nodes
    if nodes is None:  # a number of ranks over who knows how many machines
        return
    on_node = -(-ranks.value // nodes)
    if on_node > gpus:
        yield Verdict(
            "world_size",
            f"{on_node} ranks on {count(gpus, 'GPU')}: the run stops with an invalid device ordinal",
            label=f"the machine has {count(gpus, 'GPU')}",
            help=f"Start {gpus}, and make up for the effective batch with accumulation steps",
        )
