"""The sequence cannot be cut into its parallel parts.

Why: context parallelism gives each rank two chunks of the sequence (one from each end, so that the causal mask costs
all ranks the same), sequence parallelism one chunk per tensor-parallel rank. A remainder stops the run.

Example: ``--seq-length 4100`` with ``--context-parallel-size 8`` needs a multiple of 16.

Fix safety: unsafe. Another sequence length is another experiment.

Sources: Megatron-LM 2026-08 ``core/utils.py#get_batch_on_this_cp_rank`` (``2 * cp_size`` chunks),
``core/tensor_parallel/mappings.py`` (first dimension divisible by the tensor parallel size).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Safety, Severity, Verdict
from vramlint_rules._cases import megatron
from vramlint_rules._repairs import write

RULE = RuleInfo(
    code="VL205",
    name="sequence-not-shared",
    summary="the sequence cannot be cut into its parallel parts",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=Safety.UNSAFE,
    sources=(
        "https://github.com/NVIDIA/Megatron-LM/blob/main/megatron/core/utils.py",
        "https://github.com/NVIDIA/Megatron-LM/blob/main/megatron/core/tensor_parallel/mappings.py",
    ),
)

_DIALECTS = ("megatron", "nemo")
_CONTEXT = {"context-parallel-size": 4}
_TENSOR = {"tensor-model-parallel-size": 8, "sequence-parallel": True}
VALID = (
    Case("train.sh", megatron(**{"seq-length": 4096, **_CONTEXT})),
    Case("train.sh", megatron(**{"seq-length": 4100, "tensor-model-parallel-size": 8})),
)
INVALID = (
    Case(
        "train.sh",
        megatron(**{"seq-length": 4100, **_CONTEXT}),
        fixed=megatron(**{"seq-length": 4096, **_CONTEXT}),
        unsafe=True,
    ),
    Case(
        "train.sh",
        megatron(**{"seq-length": 2050, **_TENSOR}),
        fixed=megatron(**{"seq-length": 2048, **_TENSOR}),
        unsafe=True,
    ),
)


def check(run: Run) -> Iterator[Verdict]:
    """Divide the sequence by what cuts it."""
    plan = run.plan
    length, unit = plan.seq_len.value, _unit(run)
    if plan.dialect not in _DIALECTS or not length or length % unit == 0:
        return
    fitting = length // unit * unit
    name = run.spelling("seq_len")
    yield Verdict(
        "seq_len",
        f"{name} {length} is not a multiple of {unit}, as its parallel parts need: the first batch fails",
        label=f"not a multiple of {unit}",
        help=f"Use a multiple of {unit}: {fitting} or {fitting + unit}",
        repairs=write(run, "seq_len", to=fitting, safety=Safety.UNSAFE) if fitting else (),
    )


def _unit(run: Run) -> int:
    """2 x context parallel, times tensor parallel under sequence parallelism."""
    plan = run.plan
    context, tensor = plan.fact("context_parallel").value or 1, plan.fact("tensor_parallel").value or 1
    chunks = 2 * context if context > 1 else 1
    return int(chunks * (tensor if plan.fact("sequence_parallel").value else 1))
