"""Sizes that tensor cores do not take whole.

Why: 16-bit matrix products run on tensor cores in blocks of 8; a vocabulary or width that is no multiple of 8 is padded
in every product or falls to slower kernels. nanoGPT's step from 50,257 to 50,304 entries made it a quarter faster.

Example: ``vocab_size = 50257`` in a bf16 run from scratch.

Fix safety: none. It is the model's shape.

Sources: NVIDIA, Matrix Multiplication Background User's Guide, "Requirements to use Tensor Cores"; Karpathy, nanoGPT
``train.py`` ("defaulting to vocab_size of GPT-2 to 50304 (50257 rounded up for efficiency)").
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._cases import megatron

RULE = RuleInfo(
    code="VL510",
    name="sizes-off-tensor-cores",
    summary="sizes that tensor cores do not take whole",
    severity=Severity.INFO,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=(
        "https://docs.nvidia.com/deeplearning/performance/dl-performance-matrix-multiplication/index.html",
        "https://github.com/karpathy/nanoGPT/blob/master/train.py",
    ),
    pedantic=True,
)

_BLOCK = 8
_SIZES = ("hidden", "ffn", "vocabulary")
VALID = (
    Case("train.sh", megatron(**{"hidden-size": 1024, "num-attention-heads": 16, "ffn-hidden-size": 2816})),
    Case("train.sh", megatron(**{"hidden-size": 1024, "num-attention-heads": 16, "padded-vocab-size": 50304})),
)
INVALID = (
    Case("train.sh", megatron(**{"hidden-size": 1024, "num-attention-heads": 16, "ffn-hidden-size": 2730})),
    Case("train.sh", megatron(**{"hidden-size": 1024, "num-attention-heads": 16, "padded-vocab-size": 50257})),
)


def check(run: Run) -> Iterator[Verdict]:
    """Divide the spelled sizes of a 16-bit run by 8."""
    plan = run.plan
    if plan.precision.value is None or not plan.precision.value.mixed:
        return
    for name in _SIZES:
        size = plan.fact(name)
        if size.spelled and size.value and size.value % _BLOCK:
            up = -(-size.value // _BLOCK) * _BLOCK
            yield Verdict(
                name,
                f"{run.spelling(name)} {size.value} is not a multiple of {_BLOCK}: 16-bit products leave tensor cores "
                "partly unused",
                label=f"next multiple: {up}",
                help=f"Use {up} where the model is trained from scratch",
            )
