"""Reentrant activation checkpointing with a search for unused parameters.

Why: reentrant checkpointing runs the forward pass again inside of backward. DistributedDataParallel, told to look for
unused parameters, then marks a parameter ready twice and raises "Expected to mark a variable ready only once".

Example: ``gradient_checkpointing_kwargs: {use_reentrant: true}`` beside ``ddp_find_unused_parameters: true``.

Fix safety: safe. The search only matters where parameters are unused; the run stops as it is.

Sources: PyTorch 2.13 ``torch/csrc/distributed/c10d/reducer.cpp`` ("Expected to mark a variable ready only once");
transformers 5.23.0 ``trainer.py`` (find_unused_parameters is off by default with gradient checkpointing).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Safety, Severity, Verdict
from vramlint_rules._cases import trainer
from vramlint_rules._repairs import write

RULE = RuleInfo(
    code="VL604",
    name="checkpointing-marks-twice",
    summary="reentrant activation checkpointing with a search for unused parameters",
    severity=Severity.ERROR,
    confidence=Confidence.MEDIUM,
    fix=Safety.SAFE,
    sources=(
        "https://github.com/pytorch/pytorch/blob/main/torch/csrc/distributed/c10d/reducer.cpp",
        "https://pytorch.org/docs/stable/checkpoint.html",
    ),
)


def _file(find: str, reentrant: str = "true") -> str:
    kwargs = f"{{use_reentrant: {reentrant}}}"
    return trainer(gradient_checkpointing="true", gradient_checkpointing_kwargs=kwargs, ddp_find_unused_parameters=find)


VALID = (
    Case("sft.yaml", _file("false"), gpus=2),
    Case("sft.yaml", _file("true", "false"), gpus=2),
)
INVALID = (
    Case("sft.yaml", _file("true"), gpus=2, fixed=_file("false")),
    Case("sft.yaml", _file("True", "True"), gpus=4, fixed=_file("False", "True")),
)


def check(run: Run) -> Iterator[Verdict]:
    """Look for the three switches under plain data parallelism."""
    plan = run.plan
    on = all(plan.fact(name).value is True for name in ("grad_checkpointing", "reentrant", "find_unused"))
    if not on or plan.world_size.value == 1 or plan.sharding.value not in (None, "none", "ddp"):
        return
    name = run.spelling("find_unused")
    yield Verdict(
        "find_unused",
        f"{name} with reentrant checkpointing: DistributedDataParallel marks a parameter ready twice and stops",
        label="marks parameters twice",
        help=f"Switch off {name}, or use_reentrant",
        repairs=write(run, "find_unused", to=False, safety=Safety.SAFE),
    )
