"""The closed forms of one rank of a divided model, against torch's own classes over a fake process group."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

from tests.memory.support import plan
from vramlint.hardware import Target
from vramlint.memory import estimate
from vramlint.plan import DecoderShape, Precision

Apart = Callable[[Callable[[], Any]], Any]

WIDE = {"hidden": 2048, "layers": 8, "heads": 32, "kv_heads": 8, "ffn": 8192, "batch": 1}
CASES: dict[str, tuple[dict[str, Any], float]] = {
    "one rank": ({}, 0.005),
    "one rank, checkpointed": ({"checkpointing": "full"}, 0.005),
    "tensor, sequence and loss parallel": ({"tensor": 2, "vocabulary": 32_000}, 0.005),
    "tensor and sequence parallel": ({"tensor": 4}, 0.01),
    "checkpointed": ({"tensor": 2, "checkpointing": "full"}, 0.005),
    "products saved": ({"tensor": 2, "checkpointing": "op"}, 0.005),
    "sharded": ({"tensor": 2, "shards": 4, "vocabulary": 32_000}, 0.005),
    "sharded blocks": ({"tensor": 2, "shards": 8, "checkpointing": "full", "length": 4096, **WIDE}, 0.02),
    "first stage": ({"stage": 0, "stages": 4, "micro_batches": 8, "layers": 8, "batch": 1}, 0.01),
    "inner stage": ({"stage": 1, "stages": 4, "micro_batches": 8, "layers": 8, "batch": 1}, 0.01),
    "last stage": (
        {"stage": 3, "stages": 4, "micro_batches": 8, "layers": 8, "batch": 1, "vocabulary": 32_000}, 0.01,
    ),
}  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each trace runs in a forked child")
@pytest.mark.parametrize("case", CASES)
def test_a_rank_takes_what_torch_gives_it(apart: Apart, case: str) -> None:
    given, tolerance = CASES[case]

    def traced() -> int:
        from tests.trace.divided_nets import Sizes, peak_of_divided_step

        return peak_of_divided_step(Sizes(**given))

    assert _estimated(given) == pytest.approx(apart(traced), rel=tolerance)


def _estimated(given: dict[str, Any]) -> int:
    from tests.trace.divided_nets import Sizes

    sizes = Sizes(**given)
    shape = DecoderShape(
        sizes.hidden, sizes.layers, sizes.heads, sizes.kv_heads, sizes.head_dim, sizes.ffn, sizes.vocabulary,
        tied=False,
    )  # fmt: skip
    shards = sizes.shards > 1
    extra = {
        "implementation": "torchtitan", "packing": True, "optimizer_kernel": "fused", "tensor_parallel": sizes.tensor,
        "model_parallel": sizes.tensor * sizes.stages, "low_precision_weights": shards or None,
        "checkpointing_kind": "op" if sizes.checkpointing == "op" else None,
    }  # fmt: skip
    if sizes.stages > 1:
        extra |= {"pipeline_parallel": sizes.stages, "pipeline_micro_batch": sizes.batch, "pipeline_schedule": "1F1B"}
    run = plan(
        {name: value for name, value in extra.items() if value is not None},
        model_shape=shape, micro_batch=sizes.batch * sizes.micro_batches, seq_len=sizes.length,
        precision=Precision.BF16 if shards else Precision.PURE_BF16, grad_checkpointing=bool(sizes.checkpointing),
        optimizer="AdamW", sharding="fsdp" if shards else "none", data_parallel=sizes.shards, accumulation=1,
    )  # fmt: skip
    return _on_stage(run, sizes.stage) if sizes.stages > 1 else _allocated(estimate(run, Target()))


def _on_stage(run: Any, stage: int) -> int:
    """The estimate of one stage, of which the estimator shows the worst."""
    from dataclasses import replace

    from vramlint.memory.division_plan import on_stage
    from vramlint.memory.peak import peak_of
    from vramlint.memory.plan_setting import settings_of
    from vramlint.memory.resolve import resolve

    chosen = settings_of(run, resolve(run)).chosen
    peak = peak_of(replace(chosen, knowledge=on_stage(chosen.knowledge, stage)), deterministic=False)  # type: ignore[arg-type]
    assert peak is not None
    return peak.allocated.value - sum(part.bytes for part in peak.components if part.name == "cuBLAS workspaces")


def _allocated(found: Any) -> int:
    assert found.allocated is not None, found.unknown_because
    workspaces = sum(part.bytes for part in found.components if part.name == "cuBLAS workspaces")
    return int(found.allocated.value - workspaces)
