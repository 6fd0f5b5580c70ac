"""A search for unused parameters in every step.

Why: ``find_unused_parameters`` walks the autograd graph after every forward pass. It is needed where a branch of the
model takes no part in the loss, and costs time everywhere else; PyTorch warns about it at run time.

Example: ``ddp_find_unused_parameters: true`` for a plain decoder.

Fix safety: none. Whether parameters are unused only a run shows.

Sources: PyTorch 2.13 ``torch/nn/parallel/distributed.py`` ("find_unused_parameters=True was specified in DDP
constructor, but did not find any unused parameters").
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Stability, Verdict
from vramlint_rules._cases import trainer

RULE = RuleInfo(
    code="VL606",
    name="unused-parameters-searched",
    summary="a search for unused parameters in every step",
    severity=Severity.INFO,
    confidence=Confidence.LOW,
    fix=None,
    sources=("https://pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html",),
    pedantic=True,
    stability=Stability.PREVIEW,
)

VALID = (
    Case("sft.yaml", trainer(ddp_find_unused_parameters="false"), gpus=2),
    Case("sft.yaml", trainer(ddp_find_unused_parameters="true"), gpus=1),
)
INVALID = (
    Case("sft.yaml", trainer(ddp_find_unused_parameters="true"), gpus=2),
    Case("sft.yaml", trainer(ddp_find_unused_parameters="True"), gpus=8),
)


def check(run: Run) -> Iterator[Verdict]:
    """Look for the switch on a run with several ranks."""
    find = run.plan.fact("find_unused")
    if find.value is True and find.spelled and (run.plan.world_size.value or 1) > 1:
        yield Verdict(
            "find_unused",
            f"{run.spelling('find_unused')} walks the graph in every step: it costs time unless parameters are unused",
            label="costs time",
            help="Switch it off, and on again if DistributedDataParallel reports unused parameters",
        )
