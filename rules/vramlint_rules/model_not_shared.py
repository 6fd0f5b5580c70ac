"""The model cannot be cut into its parallel parts.

Why: tensor parallelism gives each rank the same number of heads, pipeline parallelism the same number of layers, expert
parallelism the same number of experts. A remainder stops the run at its start.

Example: 30 layers over ``--pipeline-model-parallel-size 4`` are 7.5 a stage.

Fix safety: none. The parallel degrees belong to the machine, the sizes to the model.

Sources: Megatron-LM 2026-08 ``core/transformer/transformer_config.py`` (heads by tensor parallel size, experts by
expert parallel size), ``training/arguments.py`` ("Number of layers should be divisible by the pipeline-model-parallel
size", unless the first and last stage or a layout are given).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._cases import megatron

RULE = RuleInfo(
    code="VL204",
    name="model-not-shared",
    summary="the model cannot be cut into its parallel parts",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=None,
    sources=(
        "https://github.com/NVIDIA/Megatron-LM/blob/main/megatron/core/transformer/transformer_config.py",
        "https://github.com/NVIDIA/Megatron-LM/blob/main/megatron/training/arguments.py",
    ),
)

_PAIRS = (("heads", "tensor_parallel"), ("layers", "pipeline_parallel"), ("experts", "expert_parallel"))
_DIALECTS = ("megatron", "nemo")
VALID = (
    Case("train.sh", megatron(**{"num-layers": 32, "pipeline-model-parallel-size": 4})),
    Case("train.sh", megatron(**{"num-attention-heads": 16, "tensor-model-parallel-size": 8})),
    Case(
        "train.sh",
        megatron(**{"num-layers": 30, "pipeline-model-parallel-size": 4, "decoder-first-pipeline-num-layers": 6}),
    ),
)
INVALID = (
    Case("train.sh", megatron(**{"num-layers": 30, "pipeline-model-parallel-size": 4})),
    Case("train.sh", megatron(**{"num-attention-heads": 12, "tensor-model-parallel-size": 8})),
    Case("train.sh", megatron(**{"num-experts": 6, "expert-model-parallel-size": 4})),
)


def check(run: Run) -> Iterator[Verdict]:
    """Divide heads, layers and experts by their degrees."""
    plan = run.plan
    if plan.dialect not in _DIALECTS:
        return
    for whole, degree in _PAIRS:
        total, ways = plan.fact(whole), plan.fact(degree)
        if not (total.spelled and ways.spelled) or not total.value or not ways.value or total.value % ways.value == 0:
            continue
        if whole == "layers" and plan.fact("uneven_stages").value is not None:
            continue
        yield Verdict(
            degree,
            f"{total.value} {whole} over {run.spelling(degree)} {ways.value} are "
            f"{total.value / ways.value:.4g} each: the run stops at its start",
            label=f"does not divide {total.value} {whole}",
            help=f"Use a divisor of {total.value}",
        )
