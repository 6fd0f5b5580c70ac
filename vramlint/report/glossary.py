"""The words of an estimate: each component of peak memory, what makes it grow and what makes it shrink."""

from __future__ import annotations

GLOSSARY: dict[str, str] = {
    "parameters": "The model's weights: 4 bytes each in fp32, 2 in pure bf16 or fp16. Autocast keeps them in fp32. "
    "ZeRO-3 and FSDP split them over the ranks; LoRA and QLoRA leave most of them frozen.",
    "gradients": "One value a trainable parameter, in the parameter's own type. They stay allocated between the steps "
    "of gradient accumulation. ZeRO-2, ZeRO-3 and FSDP split them over the ranks.",
    "optimizer states": "What the optimizer keeps from step to step: two fp32 values a trainable parameter for Adam and "
    "AdamW, one for SGD with momentum, two bytes for 8-bit Adam. They exist from the end of the first step on. Every "
    "ZeRO stage and FSDP split them over the ranks.",
    "activations": "What the forward pass saves for the backward pass. They grow with the micro batch and with the "
    "image's area or the sequence's length, and not with accumulation. Activation checkpointing keeps only the borders "
    "of blocks and computes the rest again, for a fifth to a third of the speed.",
    "logits": "A language model's output: batch x tokens x vocabulary, several times over in the loss. With a large "
    "vocabulary this is the peak; chunked or fused losses avoid it.",
    "buffers": "What stays for the whole run beside parameters: running statistics, a contrastive queue, a frozen second "
    "encoder.",
    "EMA weights": "The averaged copy of the weights: one more copy of the parameters, usually in fp32.",
    "DDP buckets": "DistributedDataParallel gathers gradients in buckets: one more copy of the gradients, unless "
    "gradient_as_bucket_view is on.",
    "workspaces": "Scratch memory of cuBLAS and cuDNN: 8.125 MiB a cuBLAS handle and stream, 32 MiB on Hopper, and what "
    "a convolution algorithm asks for.",
    "allocator slack": "What torch's caching allocator has reserved and not handed out: blocks are rounded to 512 bytes "
    "and taken from segments of 2 MiB and 20 MiB. expandable_segments:True shrinks it.",
    "CUDA context": "What a process takes on the card before it allocates anything: kernels and driver state, by "
    "capability and torch version. nvidia-smi counts it; torch's own meters do not.",
    "NCCL": "Communication buffers of a multi-GPU run.",
}
"""Component names as estimates print them."""
