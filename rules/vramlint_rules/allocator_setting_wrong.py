"""An allocator setting that PyTorch does not take.

Why: ``PYTORCH_CUDA_ALLOC_CONF`` is parsed at the first allocation on the card. A word it does not know, an equals sign
where a colon belongs, or a value out of range stops the run there.

Example: ``PYTORCH_CUDA_ALLOC_CONF=expandable_segments=True``.

Fix safety: none. Edits of the environment are left to their author.

Sources: PyTorch 2.13 ``c10/core/AllocatorConfig.cpp`` and ``c10/cuda/CUDAAllocatorConfig.cpp`` ("Unrecognized
CachingAllocator option", "max_split_size_mb too small, must be > 20").
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._cases import torchrun

RULE = RuleInfo(
    code="VL414",
    name="allocator-setting-wrong",
    summary="an allocator setting that PyTorch does not take",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=None,
    sources=(
        "https://github.com/pytorch/pytorch/blob/main/c10/cuda/CUDAAllocatorConfig.cpp",
        "https://pytorch.org/docs/stable/notes/cuda.html#optimizing-memory-usage-with-pytorch-alloc-conf",
    ),
)

_VARIABLES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
_SMALLEST_SPLIT_MB = 20
VALID = (
    Case("train.sh", "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True " + torchrun()),
    Case("train.sh", "PYTORCH_CUDA_ALLOC_CONF=max_split_size_mb:128,garbage_collection_threshold:0.8 " + torchrun()),
)
INVALID = (
    Case("train.sh", "PYTORCH_CUDA_ALLOC_CONF=expandable_segments=True " + torchrun()),
    Case("train.sh", "export PYTORCH_CUDA_ALLOC_CONF=max_split_size_mb:16\n" + torchrun()),
    Case("train.sh", "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:1 " + torchrun()),
)


def check(run: Run) -> Iterator[Verdict]:
    """Read the variable as the allocator does, as far as its common options go."""
    for name in _VARIABLES:
        value = run.setting(f"${name}").value
        wrong = _wrong(value) if isinstance(value, str) else None
        if wrong:
            yield Verdict(
                "",
                f"{name}={value}: {wrong}, and the run stops at its first allocation",
                label=wrong,
                help="Write it as expandable_segments:True or max_split_size_mb:128, separated by commas",
                key=f"${name}",
            )


def _wrong(text: str) -> str | None:
    """What is wrong with the first wrong option; None where nothing is."""
    for option in text.split(","):
        name, colon, value = (part.strip() for part in option.partition(":"))
        if not option.strip() or name.startswith("["):
            continue
        if not colon:
            return f"{option.strip()} has no colon"
        if name == "expandable_segments" and value not in ("True", "False"):
            return f"expandable_segments takes True or False, not {value}"
        if name == "max_split_size_mb" and value.isdigit() and int(value) <= _SMALLEST_SPLIT_MB:
            return f"max_split_size_mb {value} is not above {_SMALLEST_SPLIT_MB}"
    return None
