"""A 4-bit base model on a card that holds it in 16 bits.

Why: QLoRA saves the memory of the frozen weights and pays for it in every step: each layer is dequantised again, a
third to two thirds more time, and a little accuracy. Where the 16-bit base fits, plain LoRA is faster and no worse.

Example: QLoRA of a 0.5B model on an 80 GB card.

Fix safety: none. Two settings change together, in every framework otherwise.

Sources: Dettmers et al., QLoRA, arXiv 2305.14314, section 3; Raschka, "Practical Tips for Finetuning LLMs Using LoRA"
(39 % more time for 33 % less memory).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, MemoryVerdict, RuleInfo, Run, Severity, Stability, Verdict, revise
from vramlint_rules._cases import trainer
from vramlint_rules._repairs import is_plain
from vramlint_rules._words import size

RULE = RuleInfo(
    code="VL411",
    name="quantized-without-need",
    summary="a 4-bit base model on a card that holds it in 16 bits",
    severity=Severity.INFO,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=(
        "https://arxiv.org/abs/2305.14314",
        "https://magazine.sebastianraschka.com/p/practical-tips-for-finetuning-llms",
    ),
    pedantic=True,
    stability=Stability.PREVIEW,
    needs_gpu=True,
)


def _file(model: str, four_bit: str = "true") -> str:
    return trainer(
        model_name_or_path=model,
        max_length=512,
        bf16="true",
        torch_dtype="bfloat16",
        use_peft="true",
        lora_r=16,
        load_in_4bit=four_bit,
        gradient_checkpointing="true",
    )


VALID = (
    Case("sft.yaml", _file("Qwen/Qwen2.5-7B"), gpu="rtx3060-12gb"),
    Case("sft.yaml", _file("Qwen/Qwen2.5-0.5B", "false"), gpu="a100-80gb"),
)
INVALID = (
    Case("sft.yaml", _file("Qwen/Qwen2.5-0.5B"), gpu="a100-80gb"),
    Case("sft.yaml", _file("Qwen/Qwen2.5-1.5B"), gpu="h100-80gb"),
)


def check(run: Run) -> Iterator[Verdict]:
    """Estimate the run as plain LoRA; its upper bound has to leave the set target free."""
    if run.plan.adapter.value != "qlora" or not is_plain(run.plan):
        return
    after = run.estimate(revise(run.plan, {"adapter": "lora"}))
    required, usable = after.required, after.usable_bytes
    if after.verdict is not MemoryVerdict.FITS or required is None or usable is None:
        return
    if required.high <= run.limits.fill_to * usable:
        yield Verdict(
            "adapter",
            f"a 4-bit base is dequantised in every step, and in 16 bits the run needs {size(required.value)} of "
            f"{size(usable)}",
            label=f"{size(required.value)} in 16 bits",
            help="Use LoRA on a 16-bit base",
        )
