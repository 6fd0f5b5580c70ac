"""Rows of the table of dialects for ms-swift, which stand before TRL's: both name Hugging Face's arguments."""

from __future__ import annotations

from vramlint.dialects.rows import Row, call, keys, line, row

_TUNER = r"^(lora|full|longlora|adalora|llamapro|adapter|vera|boft|fourierft|reft|bone|lora_\w+)$"
"""Tuners of ms-swift 2 to 4 (``arguments/tuner_args.py``); other programs have a ``train_type`` of their own."""

_OF_MEGATRON = "micro_batch_size global_batch_size tensor_model_parallel_size expert_model_parallel_size"
"""Keys of ms-swift's files for Megatron-Core (``swift/megatron/arguments/megatron_args.py``)."""

SWIFT: tuple[Row, ...] = (
    row(
        "swift",
        "ms-swift",
        line(
            r"(^|/)swift$",
            any_of="model model_id_or_path model_type ckpt_dir config dataset tuner_type train_type sft_type deepspeed "
            "per_device_train_batch_size learning_rate max_length output_dir torch_dtype rlhf_type",
            words=r"^(sft|pt|rlhf)$",
        ),
        line(r"(^|[/.])swift[/.]cli[/.](sft|pt|rlhf)(\.py)?$"),
        keys(
            any_of=f"tuner_type={_TUNER} train_type={_TUNER} sft_type={_TUNER}",
            also="per_device_train_batch_size gradient_accumulation_steps num_train_epochs max_length torch_dtype "
            "target_modules lora_rank",
            none_of=_OF_MEGATRON,
        ),
        call(r"(^|\.)(Sft|Train|RLHF|Pretrain)Arguments$", imports=r"^swift(\.|$)"),
        module="swift",
    ),
    row(
        "swift_other",
        "ms-swift inference and export, and its YAML for Megatron-Core",
        line(r"(^|/)swift$"),
        keys(any_of=f"tuner_type={_TUNER} train_type={_TUNER} rlhf_type", also=_OF_MEGATRON),
    ),
)
