"""Scores the estimator on published measurements (a CSV with the columns of ``truth/dev.csv``), per group.

Usage: python tools/score_memory.py TRUTH.csv [--rows] [--worst N]

e = ln(predicted / measured), the median inside a cluster, then over clusters. Rows the estimator does not answer are
counted as not answered, never as errors. Beside it, two baselines on the same rows: 18 bytes a parameter plus
activations linear in the batch, and the nearest other row scaled by batch x sequence.
"""

from __future__ import annotations

import argparse
import csv
import math
import random
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from vramlint.hardware import Target
from vramlint.memory import Interval, estimate
from vramlint.memory.resolve import resolve
from vramlint.plan import Fact, ImageSize, Origin, Precision, TrainingPlan

GIB = 2**30
SCORED_TIERS = {"A", "B-seq", "B-shape"}
HEADER = (
    f"{'group':<14} {'metric':<10} {'':<10} rows answered clusters  med|e|  95 % of it   p90|e|  signed"
    "  under>5%  in10%  in20%  covered  width"
)
CARDS_GB = (8, 11, 12, 16, 24, 32, 40, 48, 80)

Row = dict[str, str]


class Prediction(NamedTuple):
    """What the estimator says about one row, in bytes."""

    low: float
    value: float
    high: float


class Scored(NamedTuple):
    """A row with its prediction, None where it was not answered."""

    row: Row
    group: str
    measured: float
    predicted: Prediction | None

    @property
    def error(self) -> float:
        assert self.predicted is not None
        return math.log(self.predicted.value / self.measured)


def main(argv: list[str] | None = None) -> int:
    arguments = _arguments(argv)
    with arguments.truth.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["tier"] in SCORED_TIERS and row["measured_gib"]]
    scored = [_scored(row) for row in rows]
    print(HEADER)
    for (group, metric), members in sorted(_grouped(scored).items()):
        _print_group(group, metric, members)
    _print_decisions(scored)
    if arguments.rows:
        _print_rows(scored)
    if arguments.worst:
        answered = sorted((s for s in scored if s.predicted), key=lambda s: -abs(s.error))
        _print_rows(answered[: arguments.worst])
    return 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--rows", action="store_true", help="print every answered row")
    parser.add_argument("--worst", type=int, default=0, help="print the N answered rows that are furthest off")
    return parser.parse_args(argv)


# --- rows to plans ---------------------------------------------------------------------------------------------------


def group_of(row: Row) -> str:
    """The group a row is scored in; groups are never pooled."""
    task = row["task"].lower()
    if "diffusion" in task:
        return "diffusion"
    if row["seq_len"]:
        return _language_group(row)
    if "segmentation" in task and "instance" not in task:
        return "segmentation"
    if "detection" in task or "instance" in task:
        return "detection"
    return "video" if row["framework"].startswith("mmaction") else "other"


def _language_group(row: Row) -> str:
    if row["parallelism"] not in ("", "none", "ddp"):
        return "LLM sharded"
    if "qlora" in row["peft"]:
        return "LLM QLoRA"
    if row["peft"] in ("none", "full"):
        return "LLM full"
    return "LLM LoRA" if row["peft"].startswith("lora") else "LLM other PEFT"


def plan_of(row: Row) -> TrainingPlan | None:
    """The training plan of a row; None where its settings cannot be expressed yet."""
    if row["seq_len"] and row["framework"] in ("litgpt", "peft/transformers", "torchtune", "transformers+peft"):
        return _decoder_plan(row)
    if row["image_h"] and not row["seq_len"]:
        return _vision_plan(row)
    return None


def _decoder_plan(row: Row) -> TrainingPlan | None:
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
    plan = _common(row)
    plan.model = _fact(_checkpoint(row))
    plan.precision = _fact(Precision.BF16 if mixed else Precision.PURE_BF16)
    plan.adapter = _fact(adapter)
    plan.seq_len = _fact(int(float(row["seq_len"])))
    plan.sharding = _fact("fsdp" if "fsdp" in row["parallelism"] else "none")
    plan.extra["implementation"] = _fact(implementation)
    plan.extra["double_quantization"] = _fact("nf4-dq" in row["precision"])
    plan.extra["packing"] = _fact("packed" in row["input_kind"] or "max seq reached" in row["input_kind"])
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
        plan.adapter_rank = _fact(int(rank[1] or rank[2]))
    if listed := re.search(r"targets=([\w,]+)|'target_modules': \[([^\]]*)\]", note):
        words = (listed[1] or listed[2]).replace("'", "").replace(" ", "")
        plan.extra["adapter_targets"] = _fact(tuple(words.split(",")))
    elif "on q,v" in note:
        plan.extra["adapter_targets"] = _fact(("query", "value"))
    if row["framework"] == "litgpt":
        plan.extra["adapter_dropout"] = _fact(0.05)  # every litgpt config_hub LoRA recipe sets lora_dropout: 0.05


def _vision_plan(row: Row) -> TrainingPlan | None:
    if not row["batch_per_gpu"]:
        return None
    plan = _common(row)
    plan.image_size = _fact(ImageSize(int(float(row["image_h"])), int(float(row["image_w"] or row["image_h"]))))
    mixed = "fp16" in row["precision"] or "amp" in row["precision"]
    plan.precision = _fact(Precision.FP16 if mixed else Precision.FP32)
    plan.task = _fact({"segmentation": "segment", "detection": "detect"}.get(group_of(row), "classify"))
    plan.sharding = _fact("ddp" if row["parallelism"] == "ddp" else "none")
    return plan


def _common(row: Row) -> TrainingPlan:
    plan = TrainingPlan(row["framework"], row["config_path"])
    plan.model = _fact(row["model"])
    plan.micro_batch = _fact(int(float(row["batch_per_gpu"])))
    plan.accumulation = _fact(int(row["grad_accum"])) if row["grad_accum"].isdigit() else _fact(1)
    plan.grad_checkpointing = _fact(row["grad_checkpoint"].startswith("y"))
    plan.optimizer = _fact(row["optimizer"])
    ranks = int(float(row["n_gpus"] or 1))
    plan.world_size = _fact(ranks)
    plan.data_parallel = _fact(ranks)
    plan.ema = _fact("ema" in row["optimizer"].lower())
    return plan


def _fact(value: Any) -> Fact[Any]:
    return Fact(value, Origin.FILE)


# --- predictions and baselines ---------------------------------------------------------------------------------------


def _scored(row: Row) -> Scored:
    return Scored(row, group_of(row), float(row["measured_gib"]) * GIB, predicted(row))


def predicted(row: Row) -> Prediction | None:
    """The estimator's answer in the row's own metric."""
    plan = plan_of(row)
    if plan is None:
        return None
    found = estimate(plan, Target())
    interval = {"allocated": found.allocated, "reserved": found.reserved, "device": found.device}.get(
        row["metric_group"]
    )
    return Prediction(*interval) if isinstance(interval, Interval) else None


def parameters_baseline(row: Row) -> float | None:
    """18 bytes a parameter (2 for a frozen base) plus 34 x layers x hidden bytes a token, linear in the batch."""
    plan = plan_of(row)
    knowledge = resolve(plan).knowledge if plan else None
    if plan is None or knowledge is None:
        return None
    frozen = knowledge.parameters - knowledge.trainable
    tokens = (plan.micro_batch.value or 0) * (plan.seq_len.value or 0)
    config = getattr(knowledge, "config", None)
    activations = 34 * config.shape.layers * config.shape.hidden * tokens if config else 0
    return 18 * knowledge.trainable + 2 * frozen + activations


def nearest_baseline(row: Row, rows: Iterable[Row]) -> float | None:
    """The most similar other row of the group, its figure scaled by batch x tokens or pixels."""
    others = [other for other in rows if other is not row and other["cluster"] != row["cluster"] and _work(other)]
    if not others or not _work(row):
        return None
    nearest = min(others, key=lambda other: abs(math.log(_work(other) / _work(row))))
    return float(nearest["measured_gib"]) * GIB * _work(row) / _work(nearest)


def _work(row: Row) -> float:
    batch = float(row["batch_per_gpu"] or 0)
    if row["seq_len"]:
        return batch * float(row["seq_len"])
    return batch * float(row["image_h"] or 0) * float(row["image_w"] or 0)


# --- statistics ------------------------------------------------------------------------------------------------------


def _grouped(scored: list[Scored]) -> dict[tuple[str, str], list[Scored]]:
    groups: dict[tuple[str, str], list[Scored]] = defaultdict(list)
    for each in scored:
        groups[each.group, each.row["metric_group"]].append(each)
    return groups


def _print_group(group: str, metric: str, members: list[Scored]) -> None:
    answered = [each for each in members if each.predicted]
    head = f"{group:<14} {metric:<10} {'vramlint':<10} {len(members):>4} {len(answered):>8}"
    if not answered:
        print(head)
        return
    covered = sum(each.predicted.low <= each.measured <= each.predicted.high for each in answered if each.predicted)
    width = statistics.mean(
        (each.predicted.high - each.predicted.low) / 2 / each.predicted.value for each in answered if each.predicted
    )
    text = _statistics([(each.row["cluster"], each.error) for each in answered])
    print(f"{head} {text}  {covered / len(answered):6.0%}  +-{width:.0%}")
    rows = [each.row for each in members]
    baselines: tuple[tuple[str, Callable[[Row], float | None]], ...] = (
        ("18B/param", parameters_baseline),
        ("nearest", lambda row: nearest_baseline(row, rows)),
    )
    for name, baseline in baselines:
        errors = [
            (each.row["cluster"], math.log(value / each.measured)) for each in answered if (value := baseline(each.row))
        ]
        if errors:
            print(f"{'':<25} {name:<10} {len(members):>4} {len(errors):>8} {_statistics(errors)}")


def _statistics(errors: list[tuple[str, float]]) -> str:
    by_cluster: dict[str, list[float]] = defaultdict(list)
    for cluster, error in errors:
        by_cluster[cluster].append(error)
    medians = [statistics.median(each) for each in by_cluster.values()]
    sizes = sorted(abs(each) for each in medians)
    p90 = sizes[min(len(sizes) - 1, math.ceil(0.9 * len(sizes)) - 1)]
    low, high = _bootstrap(medians)
    share = [sum(test(each) for each in medians) / len(medians) for test in _TESTS]
    return (
        f"{len(medians):>8} {statistics.median(sizes):7.1%} {low:6.1%}-{high:<6.1%} {p90:7.1%} "
        f"{statistics.median(medians):+7.1%} {share[0]:8.0%} {share[1]:6.0%} {share[2]:6.0%}"
    )


_TESTS: tuple[Callable[[float], bool], ...] = (
    lambda error: error < -0.05,
    lambda error: abs(error) < math.log(1.1),
    lambda error: abs(error) < math.log(1.2),
)


def _bootstrap(medians: list[float], rounds: int = 1000) -> tuple[float, float]:
    """95 % interval of the median |e| by resampling clusters."""
    generator = random.Random(0)
    drawn = sorted(
        statistics.median(abs(each) for each in generator.choices(medians, k=len(medians))) for _ in range(rounds)
    )
    return drawn[round(0.025 * rounds)], drawn[round(0.975 * rounds) - 1]


def _print_decisions(scored: list[Scored]) -> None:
    """For each card, rows it would wrongly be said to hold, and not to hold, by the value."""
    answered = [each for each in scored if each.predicted]
    print("\ncard    false fits   false does-not-fit   rows")
    for size in CARDS_GB:
        bytes_ = size * GIB
        fits = sum(each.predicted.value <= bytes_ < each.measured for each in answered if each.predicted)
        over = sum(each.measured <= bytes_ < each.predicted.value for each in answered if each.predicted)
        print(f"{size:>3} GB {fits:>9} {over:>15} {len(answered):>13}")


def _print_rows(scored: list[Scored]) -> None:
    for each in scored:
        if each.predicted is None:
            continue
        row = each.row
        print(
            f"{row['id']:<16} {each.group:<14} {row['model'][:34]:<34} b{row['batch_per_gpu']:<5} s{row['seq_len']:<7}"
            f" measured {each.measured / GIB:7.2f}  predicted {each.predicted.value / GIB:7.2f}"
            f"  [{each.predicted.low / GIB:.2f}, {each.predicted.high / GIB:.2f}]  {each.error:+.1%}"
        )


if __name__ == "__main__":
    raise SystemExit(main())
