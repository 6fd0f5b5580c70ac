"""NeMo 1's settings of a Megatron GPT that only the memory estimate needs.

Defaults: NeMo 000763d0 ``examples/nlp/language_modeling/conf/megatron_gpt_config.yaml`` and
``collections/nlp/models/language_modeling/megatron_base_model.py`` (what it hands to Megatron-Core).
"""

from __future__ import annotations

from typing import ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.reading import Count, Flag, Schema, Settings, Text, keys
from vramlint.plan import derived

_SOURCE = "NeMo 000763d0"


class Blocks(Schema):
    """Settings under ``model``."""

    source: ClassVar[str] = _SOURCE

    layers: Count | None = keys("model.num_layers")
    pipeline: Count | None = keys("model.pipeline_model_parallel_size", default=1)
    virtual: Count | None = keys("model.virtual_pipeline_model_parallel_size")
    position: Text | None = keys("model.position_embedding_type", default="learned_absolute")
    positions: Count | None = keys("model.max_position_embeddings")
    hidden_dropout: float | None = keys("model.hidden_dropout", default=0.1)
    attention_dropout: float | None = keys("model.attention_dropout", default=0.1)
    recompute: Text | None = keys("model.activations_checkpoint_granularity")
    method: Text | None = keys("model.activations_checkpoint_method", default="uniform")
    blocks: Count | None = keys("model.activations_checkpoint_num_layers", default=1)
    engine: Flag | None = keys("model.transformer_engine", default=False)
    flash: Flag | None = keys("model.use_flash_attention", default=False)
    fp32_residual: Flag | None = keys("model.fp32_residual_connection", default=False)
    fp8: Flag | None = keys("model.fp8", default=False)
    fp8_parameters: Flag | None = keys("model.fp8_params", default=False)


def block_facts(draft: Draft, settings: Settings[Blocks]) -> None:
    """Put what the estimator reads from ``plan.extra`` for a GPT on Megatron-Core."""
    values = settings.values
    if settings.doubts:
        return
    local = not values.engine
    for name, value in (
        ("pipeline_chunks", values.virtual),
        ("learned_positions", values.positions if values.position == "learned_absolute" else None),
        ("hidden_dropout", values.hidden_dropout),
        ("attention_dropout", values.attention_dropout),
        ("fp32_residual", values.fp32_residual),
        ("local_layers", local),
        ("attention_kernel", ("flash" if values.flash else "unfused") if local else None),
        ("fp8_products", bool(values.fp8)),
        ("fp8_parameters", values.fp8_parameters if values.fp8 else None),
        ("recompute", _recompute(values)),
    ):
        if value is not None:
            draft.put(name, derived(value, f"settings of {_SOURCE} and its defaults"))


def _recompute(values: Blocks) -> tuple[str, str, int, tuple[str, ...]] | None:
    if values.recompute not in ("full", "selective"):
        return None
    return values.recompute, values.method or "uniform", values.blocks or 1, ("core_attn",)
