"""Which key spells which further fact in Megatron-LM, NeMo and GPT-NeoX; each group with source and version."""

from __future__ import annotations

from vramlint.dialects.further_readers import flash, number, static_scale, whole
from vramlint.dialects.further_row import Group, Row, zero_rows
from vramlint.dialects.values import as_flag, as_text

_MEGATRON_NAMES = {
    "tensor_parallel": "tensor_model_parallel_size",
    "pipeline_parallel": "pipeline_model_parallel_size",
    "context_parallel": "context_parallel_size",
    "expert_parallel": "expert_model_parallel_size",
    "experts": "num_experts",
    "heads": "num_attention_heads",
    "kv_heads": "num_query_groups",
    "hidden": "hidden_size",
    "layers": "num_layers",
    "ffn": "ffn_hidden_size",
    "positions": "max_position_embeddings",
}


def _megatron(*homes: str) -> tuple[Row, ...]:
    """Megatron's parallel degrees and sizes, in each of the sections a wrapper puts them."""
    rows = [Row(fact, tuple(f"{home}{key}" for home in homes), whole) for fact, key in _MEGATRON_NAMES.items()]
    return (*rows, Row("sequence_parallel", tuple(f"{home}sequence_parallel" for home in homes), as_flag))


_UNEVEN = (
    "pipeline_model_parallel_layout",
    "decoder_first_pipeline_num_layers",
    "decoder_last_pipeline_num_layers",
    "num_layers_in_first_pipeline_stage",
    "num_layers_in_last_pipeline_stage",
    "account_for_embedding_in_pipeline_split",
    "account_for_loss_in_pipeline_split",
)
"""Settings of Megatron that say how uneven pipeline stages come about."""

MODEL_PARALLEL: dict[str, Group] = {
    "megatron": Group(
        "Megatron-LM d98e8a64",
        (
            *_megatron(""),
            Row("warmup_steps", ("lr_warmup_iters",), whole),
            Row("max_steps", ("train_iters",), whole),
            Row("learning_rate", ("lr",), number),
            Row("loss_scale", ("loss_scale",), static_scale),
            Row("save_steps", ("save_interval",), whole),
            Row("eval_steps", ("eval_interval",), whole),
            Row("attention", ("use_flash_attn",), flash),
            Row("vocabulary", ("padded_vocab_size",), whole),
            Row("uneven_stages", _UNEVEN, str),
        ),
        files="megatron/training/arguments.py, core/transformer/transformer_config.py",
    ),
    "nemo": Group(
        "NeMo 000763d0",
        (
            *_megatron("model.", "strategy.", "trainer.strategy."),
            Row("uneven_stages", tuple(f"{home}.{key}" for home in ("model", "strategy") for key in _UNEVEN), str),
            Row("warmup_steps", ("model.optim.sched.warmup_steps", "optim.sched.warmup_steps"), whole),
            Row("max_steps", ("trainer.max_steps",), whole),
            Row("eval_batch", ("model.validation_ds.batch_size", "model.data.validation_ds.micro_batch_size"), whole),
            Row("sync_batch_norm", ("trainer.sync_batchnorm",), as_flag),
        ),
        files="examples/nlp/language_modeling/conf/megatron_gpt_config.yaml",
    ),
    "gpt_neox": Group(
        "gpt-neox 2026-05",
        (
            Row("tensor_parallel", ("model_parallel_size",), whole),
            Row("pipeline_parallel", ("pipe_parallel_size",), whole),
            Row("heads", ("num_attention_heads",), whole),
            Row("kv_heads", ("num_kv_heads",), whole),
            Row("hidden", ("hidden_size",), whole),
            Row("layers", ("num_layers",), whole),
            Row("positions", ("max_position_embeddings",), whole),
            Row("positional", ("pos_emb",), as_text, "learned"),
            Row("save_steps", ("checkpoint_factor", "save_interval"), whole),
            Row("save_limit", ("keep_last_n_checkpoints",), whole),
            Row("eval_steps", ("eval_interval",), whole),
            Row("loss_scale", ("fp16.loss_scale",), static_scale),
            Row("offload_optimizer", ("zero_optimization.cpu_offload",), as_flag),
            *zero_rows("zero_optimization"),
        ),
        files="megatron/neox_arguments/neox_args.py, deepspeed_args.py",
    ),
}
"""The rows of Megatron-LM and of what is built on it."""
