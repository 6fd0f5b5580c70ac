"""The ranks cannot be shared out over the model-parallel degrees.

Why: every copy of the model takes tensor x pipeline x context parallel ranks. A number of ranks that is no multiple
leaves a copy incomplete, and the launcher's processes stop at their first collective or at an assertion.

Example: 8 GPUs with tensor parallel 3.

Fix safety: none. The degrees belong to model and machine.

Sources: Megatron-LM 2026-08 ``training/arguments.py`` ("world size is not divisible by total_model_size"); torchtitan
0.2.0 ``distributed/parallel_dims.py`` (``_validate``).
"""

from collections.abc import Iterator
from math import prod

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._cases import megatron
from vramlint_rules._words import count

RULE = RuleInfo(
    code="VL601",
    name="ranks-not-shared",
    summary="the ranks cannot be shared out over the model-parallel degrees",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=None,
    sources=(
        "https://github.com/NVIDIA/Megatron-LM/blob/main/megatron/training/arguments.py",
        "https://github.com/pytorch/torchtitan/blob/main/torchtitan/distributed/parallel_dims.py",
    ),
)

_DEGREES = ("tensor_parallel", "pipeline_parallel", "context_parallel")
VALID = (
    Case("train.sh", megatron(8, **{"tensor-model-parallel-size": 4})),
    Case("train.sh", megatron(8, **{"tensor-model-parallel-size": 2, "pipeline-model-parallel-size": 4})),
)
INVALID = (
    Case("train.sh", megatron(8, **{"tensor-model-parallel-size": 3})),
    Case("train.sh", megatron(4, **{"tensor-model-parallel-size": 2, "pipeline-model-parallel-size": 4})),
)


def check(run: Run) -> Iterator[Verdict]:
    """Divide the ranks by the product of the degrees."""
    plan = run.plan
    found = {name: int(plan.fact(name).value or 1) for name in _DEGREES}
    degrees = {name: degree for name, degree in found.items() if degree > 1}
    shared, ranks = prod(degrees.values()), plan.world_size
    if not degrees or ranks.value is None or ranks.value % shared == 0:
        return
    product = " x ".join(f"{run.spelling(name)} {degree}" for name, degree in degrees.items())
    product += f" = {shared}" if len(degrees) > 1 else ""
    spelled = ranks.spelled
    yield Verdict(
        next(iter(degrees)),
        f"{count(ranks.value, 'rank')} cannot be shared out over {product}: the run stops at its start",
        label=f"{ranks.value} ranks",
        help=f"Start a multiple of {shared} ranks, or lower the degrees",
        severity=None if spelled else Severity.INFO,
        confidence=None if spelled else Confidence.LOW,
    )
