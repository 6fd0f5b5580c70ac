"""Truth rows of decoder LLMs as training plans: what each source's columns and notes mean."""

from __future__ import annotations

import re

from scoring.rows import Row, common_plan, fact
from vramlint.plan import Precision, TrainingPlan

FRAMEWORKS = ("litgpt", "peft/transformers", "torchtune", "transformers+peft")


def language_plan(row: Row) -> TrainingPlan | None:
    adapter = {"none": "none", "full": "none", "lora": "lora", "qlora": "qlora"}.get(row["peft"].split()[0])
    offloads = "offload" in row["grad_checkpoint"] or "in-backward" in row["optimizer"]
    compiled = (
        row["framework"] == "torchtune" and int(row["id"][-2:]) > 10
    )  # compile stays on from the ladder's third row
    if adapter is None or offloads or compiled or "use_dora" in row["settings_note"] or not row["batch_per_gpu"]:
        return None
    implementation = {"litgpt": "litgpt", "torchtune": "torchtune"}.get(row["framework"], "transformers")
    if implementation == "torchtune":
        implementation = "torchtune without chunked loss"  # the ladder adds chunks only after compile
    if implementation == "litgpt" and adapter == "qlora":
        implementation = "litgpt with bitsandbytes 0.42"  # what litgpt pinned when these tables were published
    mixed = "mixed" in row["precision"]
    plan = common_plan(row)
    plan.model = fact(_checkpoint(row))
    plan.precision = fact(Precision.BF16 if mixed else Precision.PURE_BF16)
    plan.adapter = fact(adapter)
    plan.seq_len = fact(int(float(row["seq_len"])))
    plan.sharding = fact("fsdp" if "fsdp" in row["parallelism"] else "none")
    plan.extra["implementation"] = fact(implementation)
    plan.extra["double_quantization"] = fact("nf4-dq" in row["precision"])
    plan.extra["packing"] = fact("packed" in row["input_kind"] or "max seq reached" in row["input_kind"])
    _adapter_facts(plan, row)
    return plan


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
    if rank := re.search(r"lora_r=(\d+)|'r': (\d+)", note):
        plan.adapter_rank = fact(int(rank[1] or rank[2]))
    if listed := re.search(r"targets=([\w,]+)|'target_modules': \[([^\]]*)\]", note):
        words = (listed[1] or listed[2]).replace("'", "").replace(" ", "")
        plan.extra["adapter_targets"] = fact(tuple(words.split(",")))
    elif "on q,v" in note:
        plan.extra["adapter_targets"] = fact(("query", "value"))
    if row["framework"] == "litgpt":
        plan.extra["adapter_dropout"] = fact(0.05)  # every litgpt config_hub LoRA recipe sets lora_dropout: 0.05
