"""The words of an estimate: each component of peak memory, what makes it grow and what makes it shrink."""

from __future__ import annotations

GLOSSARY: dict[str, str] = {
    "parameters": "The model's weights: 4 bytes each in fp32, 2 in pure bf16 or fp16. Autocast keeps them in fp32. "
    "ZeRO-3 and FSDP split them over the ranks; LoRA and QLoRA leave most of them frozen.",
    "gathered weights": "With ZeRO-3 and FSDP, the full weights of the blocks in flight: they are gathered for the "
    "computation and freed after it.",
    "master weights": "The fp32 copy of half-precision weights that the optimizer works on. Split over the ranks by "
    "every ZeRO stage.",
    "EMA weights": "The averaged copy of the weights: one more copy of the parameters, in fp32.",
    "gradients": "One value a trainable parameter, in the parameter's own type. They stay allocated between the steps "
    "of gradient accumulation. ZeRO-2, ZeRO-3 and FSDP split them over the ranks.",
    "optimizer states": "What the optimizer keeps between steps: two fp32 values a trainable parameter for Adam and "
    "AdamW, one for SGD with momentum, two bytes for 8-bit Adam. They exist from the end of the first step on. Every "
    "ZeRO stage and FSDP split them over the ranks.",
    "optimizer step": "Temporary copies while the optimizer updates the weights: the foreach implementations of torch "
    "take up to one copy of the parameters.",
    "activations": "What the forward pass saves for the backward pass, and what is in work at the peak. They grow with "
    "the micro batch and with the image's area or the sequence's length, and not with accumulation. Activation "
    "checkpointing keeps only the borders of blocks and computes the rest again, for a fifth to a third of the speed.",
    "buffers": "What stays for the whole run beside parameters: running statistics, a contrastive queue, a second "
    "encoder that is not trained.",
    "DDP buckets": "DistributedDataParallel gathers gradients in buckets: one more copy of the gradients, unless "
    "gradient_as_bucket_view is on.",
    "cuBLAS workspaces": "Scratch memory of matrix products: two of 8.125 MiB, 32 MiB each on Hopper.",
    "allocator slack": "What torch's caching allocator has reserved and not handed out: blocks are rounded to 512 "
    "bytes and taken from segments of 2 MiB and 20 MiB. expandable_segments:True shrinks it.",
    "CUDA context": "What a process takes on the card before it allocates anything: kernels and driver state, by "
    "capability and torch version, and the buffers of NCCL. nvidia-smi counts it; torch's own meters do not.",
}
"""Component names as estimates print them; an optimizer's states carry its own name there (``AdamW states``)."""


def find(name: str) -> tuple[str, str] | None:
    """Title and text of the component called ``name``, in any case and with any separators, or None."""
    wanted = name.lower().replace("-", " ").replace("_", " ")
    for ending, title in (("states", "optimizer states"), ("parameters", "parameters")):
        if wanted.endswith(ending):
            return title, GLOSSARY[title]
    return next(((title, text) for title, text in GLOSSARY.items() if title.lower() == wanted), None)
