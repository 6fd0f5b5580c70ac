"""Truth rows of decoder LLMs as training plans: what each source's columns and notes mean."""

from __future__ import annotations

import re

from scoring.rows import Row, common_plan, fact
from vramlint.plan import Precision, TrainingPlan

_OWN = ("litgpt", "torchtune", "unsloth")
"""Frameworks with an implementation of their own; every other one runs transformers' models."""


def is_split(row: Row) -> bool:
    """Whether a model is divided over ranks, or a framework of another kind trains it (Megatron behind ms-swift)."""
    return "megatron" in f"{row['framework']} {row['parallelism']}" or bool(
        re.search(r"\b[tp]p ?[2-9]", row["parallelism"])
    )


def language_plan(row: Row) -> TrainingPlan | None:
    adapter = {"full": "none"}.get(row["peft"].split()[0], row["peft"].split()[0])
    if not row["batch_per_gpu"] or "sequence_parallel" in row["config_path"]:
        return None
    if adapter == "lora" and re.search(r"quant (bnb4|hqq4)|Int4", f"{row['precision']} {row['model']}"):
        adapter = "qlora"
    implementation = next((name for name in _OWN if name in row["framework"]), "transformers")
    if implementation == "litgpt" and adapter == "qlora":
        implementation = "litgpt with bitsandbytes 0.42"  # what litgpt pinned when these tables were published
    plan = common_plan(row)
    plan.model = fact(_checkpoint(row))
    plan.precision = fact(_precision(row["precision"].lower()))
    plan.adapter = fact(adapter)
    plan.seq_len = fact(int(float(row["seq_len"])))
    zero = re.search(r"zero[123]", row["parallelism"])
    plan.sharding = fact(zero[0] if zero else "fsdp" if "fsdp" in row["parallelism"] else "none")
    plan.extra["implementation"] = fact(implementation)
    plan.extra["double_quantization"] = fact("nf4-dq" in row["precision"])
    plan.extra["packing"] = fact("packed" in row["input_kind"] or "max seq reached" in row["input_kind"])
    if "liger" in row["config_path"]:
        plan.extra["fused_loss"] = fact(value=True)
    plan.extra["longest_sample"] = fact("longest sample" in row["input_kind"])
    if implementation == "torchtune":
        _torchtune_facts(plan, row)
    _adapter_facts(plan, row)
    return plan


def _precision(text: str) -> Precision:
    """``bf16-true`` and a plain ``bf16`` hold the weights so too; ``mixed`` or ``amp`` casts."""
    half = Precision.FP16 if "fp16" in text and "bf16" not in text else Precision.BF16
    if "mixed" in text or "amp" in text:
        return half
    if text.startswith(("fp32", "float32", "tf32")):
        return Precision.FP32
    return Precision.PURE_FP16 if half is Precision.FP16 else Precision.PURE_BF16


_LADDER = ("Baseline (unpacked)", "+ packed", "+ compile", "+ chunked CE")
"""The first rungs of torchtune's ladder, as notes name them; compile and chunks stay on once they are added."""


def _torchtune_facts(plan: TrainingPlan, row: Row) -> None:
    """The recipes' AdamW is fused, their LoRA is on all linear layers but ``k_proj``, of rank 64 for Llama 3.2
    and of 8 for Llama 3.1 (torchtune 0.6.1 ``recipes/configs``)."""
    rung = next(
        (step for step, words in enumerate(_LADDER) if words in row["settings_note"].split(";")[0]), len(_LADDER)
    )
    plan.extra["compile"] = fact(rung >= 2 or "compile on" in row["settings_note"])
    plan.extra["chunked_loss"] = fact(rung >= 3)
    plan.extra["optimizer_in_backward"] = fact(re.search("in-backward|in_bwd", row["optimizer"]) is not None)
    plan.extra["activation_offload"] = fact("offload" in row["grad_checkpoint"])
    plan.extra["double_quantization"] = fact(value=True)
    if row["optimizer"].split()[0] == "AdamW":
        plan.optimizer = fact("AdamW fused")
    if plan.adapter.value != "none":
        plan.adapter_rank = fact(64 if "3.2" in row["model"] else 8)
        plan.extra["adapter_targets"] = fact(("q_proj", "v_proj", "output_proj", "mlp"))


def _checkpoint(row: Row) -> str:
    """The checkpoint behind the names that litgpt's tables use."""
    folder = re.match(r"config_hub/finetune/([^/]+)/", row["config_path"])
    name = folder[1] if folder else row["model"]
    return _LITGPT_NAMES.get(name, name)


_LITGPT_NAMES = {
    "tiny-llama": "TinyLlama-1.1B-Chat-v1.0",
    "gemma2-2b": "gemma-2-2b",
    "gemma2-9b": "gemma-2-9b",
    "phi-1.5 1.3B": "phi-1.5",
    "StableLM Alpha 3B": "stablelm-base-alpha-3b",
    "phi-3": "Phi-3-mini-4k-instruct",
}


def _adapter_facts(plan: TrainingPlan, row: Row) -> None:
    note = row["settings_note"]
    if "'use_dora': True" in note:
        plan.extra["adapter_method"] = fact("dora")
    variant = re.search(r"-(bat|para)/", row["config_path"])
    if plan.adapter.value in ("miss", "deft") and variant:
        plan.extra["adapter_method"] = fact(f"{plan.adapter.value}-{variant[1]}")
    if plan.adapter.value != "none" and (trained := re.search(r"trainable ([\d,]+)", note)):
        plan.extra["trained_parameters"] = fact(int(trained[1].replace(",", "")))
    if virtual := re.search(r"'num_virtual_tokens': (\d+)", note):
        plan.extra["virtual_tokens"] = fact(int(virtual[1]))
    if rank := re.search(r"lora_r=(\d+)|'r': (\d+)", note):
        plan.adapter_rank = fact(int(rank[1] or rank[2]))
    if listed := re.search(r"targets=([\w,]+)|'target_modules': \[([^\]]*)\]", note):
        words = (listed[1] or listed[2]).replace("'", "").replace(" ", "")
        plan.extra["adapter_targets"] = fact(tuple(words.split(",")))
    elif "on q,v" in note:
        plan.extra["adapter_targets"] = fact(("query", "value"))
    if row["framework"] == "litgpt":
        plan.extra["adapter_dropout"] = fact(0.05)  # every litgpt config_hub LoRA recipe sets lora_dropout: 0.05
