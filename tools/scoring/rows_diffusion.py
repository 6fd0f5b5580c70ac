"""Truth rows of diffusion models as training plans: what each source's columns and notes mean."""

from __future__ import annotations

import re

from scoring.rows import Row, common_plan, fact
from vramlint.plan import ImageSize, Precision, TrainingPlan


def diffusion_plan(row: Row) -> TrainingPlan | None:
    """The plan of a row of peft's method comparison; None for other sources and for methods but LoRA.

    Its ``run.py`` holds the base in bf16, adapters in fp32, and trains in bf16 autocast; ``none`` is the whole model in
    bf16. SimpleTuner's rows leave open which quantisation and which caches were on.
    """
    if (
        row["framework"] != "peft/diffusers"
        or row["peft"] not in ("lora", "none")
        or "use_dora" in row["settings_note"]
    ):
        return None
    adapted = row["peft"] == "lora"
    plan = common_plan(row)
    plan.image_size = fact(ImageSize(int(float(row["image_h"])), int(float(row["image_w"]))))
    plan.precision = fact(Precision.BF16 if adapted else Precision.PURE_BF16)
    plan.adapter = fact("lora" if adapted else "none")
    plan.sharding = fact("none")
    if adapted:
        rank = re.search(r"'r': (\d+)", row["settings_note"])
        plan.adapter_rank = fact(int(rank[1]) if rank else None)
        plan.extra["adapter_targets"] = fact("all-linear")
    return plan
