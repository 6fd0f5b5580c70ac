"""Writes docs/accuracy.md: how far estimators lie from published measurements, vramlint beside others on the same rows.

Usage: python tools/compare_estimators.py TRUTH.csv [FIT_BOUNDS.csv]

TRUTH.csv has the columns of ``tools/score_memory.py``. Beside vramlint: accelerate's ``estimate-memory`` and
torch-preflight, called where they are installed (``pip install accelerate torch-preflight``); DeepSpeed's ZeRO
estimators by their formulas, as installing DeepSpeed builds C++; and two rules of thumb. Each gets every setting that
it can take. The document holds statistics of groups, no single row.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scoring.baselines import nearest_baseline, parameters_baseline
from scoring.fit_bounds import Bound, read_bounds
from scoring.predictions import Scored, plan_of, scored
from scoring.rows import Row, read_rows
from scoring.statistics import Errors, coverage, errors_of, grouped, leave_one_repository_out, spread

from vramlint import __version__
from vramlint.memory.catalogue import find_decoder
from vramlint.memory.resolve import resolve
from vramlint.plan import Precision, TrainingPlan

TARGET = Path(__file__).parents[1] / "docs" / "accuracy.md"


class Other(NamedTuple):
    """Another estimator: its name with version, and its bytes for a row, None where it gives none."""

    name: str
    predict: Callable[[Row], float | None]


def main(argv: list[str]) -> int:
    rows = read_rows(Path(argv[0]))
    found = [scored(row) for row in rows]
    bounds = read_bounds(Path(argv[1])) if len(argv) > 1 else []
    TARGET.write_text("\n".join(_page(found, bounds)) + "\n")
    print(f"{TARGET.relative_to(TARGET.parents[1])} written from {len(rows)} rows")
    return 0


# --- the others ------------------------------------------------------------------------------------------------------


def others() -> list[Other]:
    """The estimators that are there."""
    available = [_accelerate(), Other("DeepSpeed 0.19.6 ZeRO estimators", _deepspeed), _preflight()]
    rules = [Other("18 bytes a parameter + 34 x layers x width a token", parameters_baseline)]
    return [each for each in available if each is not None] + rules


def _knowledge(row: Row) -> tuple[TrainingPlan, int, int] | None:
    """The row's plan, all parameters and those that train."""
    plan = plan_of(row)
    found = resolve(plan).knowledge if plan else None
    return None if plan is None or found is None else (plan, found.parameters, found.trainable)


def _accelerate() -> Other | None:
    try:
        from vramlint.trace.stand_ins import torchvision_schemas

        torchvision_schemas()  # transformers, which accelerate's command imports, wants them where torch has no CUDA
        from accelerate import __version__ as version
        from accelerate.commands.estimate import estimate_training_usage
    except ImportError:
        return None

    def predict(row: Row) -> float | None:
        known = _knowledge(row)
        if known is None:
            return None
        plan, parameters, _ = known
        mixed = plan.precision.value is not Precision.FP32
        sizes = estimate_training_usage(4 * parameters, "bfloat16" if mixed else "float32")
        return float(max(sizes.values()))

    return Other(f"accelerate {version} estimate-memory", predict)


def _deepspeed(row: Row) -> float | None:
    """Without offload, DeepSpeed 0.19.6 ``deepspeed/runtime/zero``: ``stage_1_and_2.py``
    ``estimate_zero2_model_states_mem_needs`` gives 2 P + 18 P / N, ``stage3.py``
    ``estimate_zero3_model_states_mem_needs`` 4 x largest layer + 18 P / N. The largest layer is the embedding."""
    known = _knowledge(row)
    if known is None:
        return None
    plan, parameters, _ = known
    ranks = plan.data_parallel.value or 1
    if plan.sharding.value in ("zero3", "fsdp"):
        return 4 * _embedding(plan) + 18 * parameters / ranks
    return 2 * parameters + 18 * parameters / ranks


def _embedding(plan: TrainingPlan) -> int:
    config = getattr(resolve(plan).knowledge, "config", None)
    shape = config.shape if config is not None else plan.model_shape.value
    return shape.hidden * shape.vocabulary if shape is not None else 0


_PRECISIONS = {Precision.FP32: "FP32", Precision.BF16: "AMP", Precision.FP16: "AMP"}


def _preflight() -> Other | None:
    try:
        from torch_preflight import __version__ as version
        from torch_preflight.vram import RunConfig, archdb, estimate
        from torch_preflight.vram.types import OptimizerKind, PrecisionMode, Sharding
    except ImportError:
        return None

    def precision(plan: TrainingPlan) -> Any:
        wanted = _PRECISIONS.get(plan.precision.value or Precision.FP32, "PURE")
        names = [name for name in PrecisionMode.__members__ if wanted in name or ("BF16" in name and wanted == "PURE")]
        return PrecisionMode[names[0]] if names else PrecisionMode.FP32

    def predict(row: Row) -> float | None:
        known = _knowledge(row)
        if known is None:
            return None
        plan, parameters, trainable = known
        name = resolve(plan).knowledge.name  # type: ignore[union-attr]
        profile = archdb.resolve(name) or _preflight_profile(archdb, name, parameters)
        if profile is None:
            return None
        sharding = {"zero1": "ZERO1", "zero2": "ZERO2", "zero3": "ZERO3", "fsdp": "ZERO3"}.get(
            plan.sharding.value or "", "NONE"
        )
        config = RunConfig(
            batch_size=plan.micro_batch.value or 1,
            seq_len=plan.seq_len.value,
            precision=precision(plan),
            optimizer=OptimizerKind.ADAMW,
            gradient_checkpointing=bool(plan.grad_checkpointing.value),
            flash_attention=True,
            world_size=plan.data_parallel.value or 1,
            sharding=Sharding[sharding],
            frozen_fraction=1 - trainable / parameters,
        )
        total = estimate(profile, config).breakdown.total
        return float(total() if callable(total) else total)

    return Other(f"torch-preflight {version}", predict)


def _preflight_profile(archdb: Any, name: str, parameters: int) -> Any:
    """Its profile of a model that its own snapshot lacks, from the shape in our catalogue."""
    found = find_decoder(name)
    if found is None:
        return None
    shape = found.config.shape
    table = {
        "layers": shape.layers,
        "hidden": shape.hidden,
        "heads": shape.heads,
        "kv_heads": shape.kv_heads,
        "intermediate": shape.ffn,
        "vocab": shape.vocabulary,
        "tied_embeddings": shape.tied,
        "gated_mlp": found.config.gated,
        "has_lm_head": True,
    }
    return archdb.profile_from_entry({"key": name, "params": parameters, "kind": "transformer", "shape": table})


# --- the page --------------------------------------------------------------------------------------------------------


COLUMNS = (
    "group", "meter", "rows", "answered", "clusters", r"median \|e\| (95 %)", "p90", "signed", "under", "inside",
    "width",
)  # fmt: skip


def _page(found: Sequence[Scored], bounds: Sequence[Bound]) -> list[str]:
    lines = [
        "<!-- Made by tools/compare_estimators.py; run it again instead of editing this file. -->",
        "",
        "# Accuracy",
        "",
        f"vramlint {__version__} against published measurements of training memory: other people's figures, from model",
        "zoos, framework documentation and logs, each mapped to the settings it was measured at. Nobody here measured",
        "them again. e = ln(predicted / measured), the median inside a cluster of figures that are one piece of",
        "evidence, then over clusters. *Under* is the share more than 5 % too low, the harmful side; *inside* the",
        "share of rows inside the stated interval, of the mean half-width beside it. Published figures of one setting",
        "differ among themselves by 1 % in the median and 9 % at the 90th percentile. Rows that are not answered count",
        "as unanswered, never as errors.",
        "",
        "**In sample:** these rows are also what the mechanisms were found and the intervals set on, so runs of other",
        "projects will be farther off than this table says. Most figures are of older cards and versions of torch; the",
        "stack is chosen by a figure's date. No card has confirmed an estimate for today's versions yet.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    lines += [_group_line(group, metric, members) for (group, metric), members in sorted(grouped(found).items())]
    lines += ["", "## Beside other estimators", "", *_comparison(found)]
    lines += ["", "## Leaving one repository out", "", *_left_out(found)]
    if bounds:
        lines += ["", "## Largest batch", "", *_bounds(bounds)]
    return lines


def _group_line(group: str, metric: str, members: Sequence[Scored]) -> str:
    answered = [each for each in members if each.predicted]
    head = f"| {group} | {metric} | {len(members)} | {len(answered)} |"
    if not answered:
        return f"{head} | | | | | | |"
    stated, inside = spread(errors_of(answered)), coverage(answered)
    return (
        f"{head} {stated.clusters} | {stated.median:.1%} ({stated.low:.1%} to {stated.high:.1%}) | {stated.p90:.1%} |"
        f" {stated.signed:+.1%} | {stated.under:.0%} | {inside.inside:.0%} | ±{inside.half_width:.0%} |"
    )


def _comparison(found: Sequence[Scored]) -> list[str]:
    """Every estimator over the language-model rows that vramlint and the other both answer."""
    lines = [
        "Language-model rows, every setting that each tool takes: accelerate and DeepSpeed know parameters, precision",
        "and (DeepSpeed) ranks, torch-preflight batch and length as well. Both columns are over the rows that both",
        "answer.",
        "",
        "| estimator | group | rows | median \\|e\\| | p90 | under | vramlint on the same rows |",
        "|---|---|---|---|---|---|---|",
    ]
    for other in others():
        for (group, _), members in sorted(grouped(found).items()):
            if not group.startswith("LLM"):
                continue
            pairs = [(each, value) for each in members if each.predicted and (value := other.predict(each.row))]
            if not pairs:
                continue
            theirs: Errors = [(each.row["cluster"], math.log(value / each.measured)) for each, value in pairs]
            own, ours = spread(theirs), spread(errors_of([each for each, _ in pairs]))
            lines.append(
                f"| {other.name} | {group} | {len(pairs)} | {own.median:.0%} | {own.p90:.0%} | {own.under:.0%} |"
                f" {ours.median:.1%}, p90 {ours.p90:.1%} |"
            )
    nearest = _nearest(found)
    return [*lines, *nearest]


def _nearest(found: Sequence[Scored]) -> list[str]:
    """The nearest other row scaled by batch x tokens or pixels, in every group that has other rows."""
    lines = []
    for (group, _), members in sorted(grouped(found).items()):
        rows = [each.row for each in members]
        pairs = [(each, value) for each in members if each.predicted and (value := nearest_baseline(each.row, rows))]
        if len(pairs) < 2:
            continue
        own = spread([(each.row["cluster"], math.log(value / each.measured)) for each, value in pairs])
        ours = spread(errors_of([each for each, _ in pairs]))
        lines.append(
            f"| nearest other row, scaled | {group} | {len(pairs)} | {own.median:.0%} | {own.p90:.0%} |"
            f" {own.under:.0%} | {ours.median:.1%}, p90 {ours.p90:.1%} |"
        )
    return lines


def _left_out(found: Sequence[Scored]) -> list[str]:
    lines = [
        "Median |e| of one repository's clusters as stated, and after taking off the bias of all other repositories of",
        "the group: where that does not help, the constants carry nothing of the one repository.",
        "",
        "| group | meter | repository | clusters | as stated | bias of others off |",
        "|---|---|---|---|---|---|",
    ]
    for (group, metric), members in sorted(grouped(found).items()):
        lines += [
            f"| {group} | {metric} | {left.repository} | {left.clusters} | {left.as_stated:.1%} |"
            f" {left.corrected:.1%} |"
            for left in leave_one_repository_out(members)
        ]
    return lines


def _bounds(bounds: Sequence[Bound]) -> list[str]:
    answered = [bound for bound in bounds if bound.predicted is not None]
    words = [bound.verdict for bound in answered]
    shares = {word: words.count(word) / max(1, len(words)) for word in ("inside", "over", "under")}
    return [
        f"timm models trained on one RTX 3090 under autocast (torch 1.12): {len(answered)} of {len(bounds)} rows have",
        f"a profile; the predicted largest batch lies inside the published bounds in {shares['inside']:.1%}, above in",
        f"{shares['over']:.1%} (mostly attention models, which torch 1.12 ran without fused kernels), below in",
        f"{shares['under']:.1%}.",
    ]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
