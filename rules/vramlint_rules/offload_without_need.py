"""Offloading to host memory in a run that fits without it.

Why: offloaded states cross the PCIe bus in every step and are updated by the CPU. Where the card has room for them, the
step takes several times as long for nothing.

Example: ``offload_optimizer: {device: cpu}`` for a 0.5B model on an 80 GB card.

Fix safety: none. The switch stands in a mapping of its own, often in another file.

Sources: Ren et al., ZeRO-Offload, arXiv 2101.06840; DeepSpeed 0.18 documentation, "ZeRO Offload".
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, MemoryVerdict, RuleInfo, Run, Severity, Stability, Verdict, revise
from vramlint_rules._cases import trainer
from vramlint_rules._repairs import is_plain
from vramlint_rules._words import size

RULE = RuleInfo(
    code="VL410",
    name="offload-without-need",
    summary="offloading to host memory in a run that fits without it",
    severity=Severity.INFO,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=("https://arxiv.org/abs/2101.06840", "https://www.deepspeed.ai/tutorials/zero-offload/"),
    stability=Stability.PREVIEW,
    needs_gpu=True,
)

_OFF = {"offload_optimizer": False, "offload_parameters": False, "cpu_offload": False}


def _file(model: str, device: str = "cpu") -> str:
    zero = f"{{zero_optimization: {{stage: 2, offload_optimizer: {{device: {device}}}}}}}"
    return trainer(model_name_or_path=model, max_length=512, bf16="true", deepspeed=zero)


VALID = (
    Case("sft.yaml", _file("Qwen/Qwen2.5-7B"), gpu="a100-40gb", gpus=1),
    Case("sft.yaml", _file("Qwen/Qwen2.5-0.5B", "none"), gpu="a100-80gb", gpus=1),
)
INVALID = (
    Case("sft.yaml", _file("Qwen/Qwen2.5-0.5B"), gpu="a100-80gb", gpus=1),
    Case("sft.yaml", _file("Qwen/Qwen2.5-0.5B"), gpu="h100-80gb", gpus=8),
)


def check(run: Run) -> Iterator[Verdict]:
    """Estimate the run with everything on the card."""
    used = [name for name in _OFF if run.plan.fact(name).value is True]
    if not used or not is_plain(run.plan):
        return
    after = run.estimate(revise(run.plan, _OFF))
    required, usable = after.required, after.usable_bytes
    if after.verdict is not MemoryVerdict.FITS or required is None or usable is None:
        return
    yield Verdict(
        used[0],
        f"offloading slows every step, and with everything on the card the run needs {size(required.value)} (at most "
        f"{size(required.high)}) of {size(usable)}",
        label=f"{size(required.value)} without it",
        help="Leave the offloading out",
    )
