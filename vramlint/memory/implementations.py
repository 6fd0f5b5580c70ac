"""How a codebase implements a decoder LLM: the same model costs differently in each.

A dialect names the implementation in the plan's fact ``implementation``; without one, Hugging Face transformers.
"""

from __future__ import annotations

from typing import NamedTuple


class Loss(NamedTuple):
    """Bytes per logit alive at the end of the forward pass and during the loss's backward.

    ``low`` counts copies in the arithmetic of the matrix products, ``fp32`` copies of four bytes.
    """

    forward_low: float
    forward_fp32: float
    backward_low: float
    backward_fp32: float
    head_copies: int = 0
    """Gradients of a trained head alive at once: two where a loss in chunks adds them up one by one."""

    def forward_bytes(self, compute_bytes: int) -> float:
        return self.forward_low * compute_bytes + 4 * self.forward_fp32

    def backward_bytes(self, compute_bytes: int) -> float:
        return self.backward_low * compute_bytes + 4 * self.backward_fp32


class Implementation(NamedTuple):
    """What differs between codebases. ``source`` says which version was read."""

    name: str
    source: str
    loss: Loss
    fp32_norm_output: bool
    """Whether RMSNorm multiplies by its weight in fp32, keeping the normalised copy in fp32."""
    repeats_kv: bool
    """Whether grouped keys and values are repeated to all heads before attention."""
    fused_qkv: bool
    """Whether one linear layer makes queries, keys and values, so that the values' view keeps all three alive, and LoRA
    on some of them shares one input and pads its output."""
    python_gelu: bool
    """Whether ``gelu_new`` is spelled out in Python, each step keeping its tensors."""
    ties_embeddings: bool
    """Whether checkpoints with shared embeddings keep sharing them in training."""
    fused_loss: bool = False
    """Whether the head and the cross entropy run fused, a chunk of tokens at a time, never holding all logits."""
    adapter_weight_bytes: int | None = None
    """Bytes of a LoRA weight; None: those of the base model."""
    quantised_input_copies: int = 0
    """Copies of a 4-bit layer's input that outlive its forward pass: none from bitsandbytes 0.43 on, which keeps the
    weight alone (``MatMul4Bit.forward``: ``ctx.tensors = (None, B)``); before, ``(A, B)``. Of two copies the second is
    the previous micro batch's: its graph lives until the loop's ``loss`` is bound anew."""
    fused_norm: bool = False
    """Whether RMSNorm is one kernel that keeps its input and a statistic: ``torch.nn.RMSNorm`` on CUDA from torch 2.9
    on (``aten::_fused_rms_norm``)."""
    quantises_head: bool = False
    """Whether the output head is 4-bit too. Lightning Fabric replaces every linear layer, and quantises from fp16, so
    that a dequantised weight exists twice while it is cast (``fabric/plugins/precision/bitsandbytes.py``)."""


HUGGING_FACE = Implementation(
    name="transformers",
    source="transformers 5.23 modeling_llama.py and loss_utils.py, peft 0.21",
    # logits in half, upcast, log-softmax; backward holds log-softmax, its gradient and the logits' gradient
    loss=Loss(forward_low=1, forward_fp32=2, backward_low=0, backward_fp32=3),
    fp32_norm_output=False,
    repeats_kv=False,
    fused_qkv=False,
    python_gelu=True,
    ties_embeddings=True,
    adapter_weight_bytes=4,
)

LITGPT = Implementation(
    name="litgpt",
    source="litgpt 0.5.13 model.py, lora.py and utils.py",
    # Fabric converts the module's output to fp32 (``Precision.convert_output``): logits and log-softmax in fp32; the
    # loss runs in chunks of 128 tokens, so its gradients replace the log-softmax chunk by chunk
    loss=Loss(forward_low=0, forward_fp32=2, backward_low=0, backward_fp32=2),
    fp32_norm_output=True,
    repeats_kv=True,
    fused_qkv=True,
    python_gelu=False,
    ties_embeddings=False,
    adapter_weight_bytes=None,
    quantises_head=True,
)

LITGPT_2024 = LITGPT._replace(
    name="litgpt with bitsandbytes 0.42",
    source="litgpt up to 0.5.4, which pins bitsandbytes 0.42: autograd/_functions.py keeps the input A on ctx",
    # The library's line was read; that both copies are alive at the peak is inferred from published peaks, not traced.
    quantised_input_copies=2,
)

TORCHTUNE = Implementation(
    name="torchtune",
    source="torchtune 0.6.1 CEWithChunkedOutputLoss (8 chunks)",
    # half-precision logits and their gradient, the log-softmax of all chunks, one chunk of eight more in fp32
    loss=Loss(forward_low=1, forward_fp32=1.125, backward_low=2, backward_fp32=1.25),
    fp32_norm_output=False,
    repeats_kv=True,
    fused_qkv=False,
    python_gelu=False,
    ties_embeddings=True,
    adapter_weight_bytes=None,
)

TORCHTUNE_COMPILED = TORCHTUNE._replace(
    name="compiled torchtune",
    source="torchtune 0.6.1 CEWithChunkedOutputLoss compiled (training/_compile.py), a chunk of eight at a time",
    # The head's eight chunks are there before the loss begins; each gradient replaces its chunk.
    loss=Loss(forward_low=1, forward_fp32=0, backward_low=1.125, backward_fp32=0, head_copies=2),
)

TORCHTUNE_PLAIN = TORCHTUNE._replace(
    name="torchtune without chunked loss",
    source="torchtune 0.6.1, the decoder's output in fp32",
    loss=HUGGING_FACE.loss,
)

TORCHTITAN = HUGGING_FACE._replace(
    name="torchtitan",
    source="torchtitan 0.2.2 models/llama3, torch 2.13",
    # The logits wait in 16 bits while the loss is computed; they are freed before its backward (train.py).
    python_gelu=False,
    adapter_weight_bytes=None,
    fused_norm=True,
    ties_embeddings=True,
)

NEOX = HUGGING_FACE._replace(
    name="gpt-neox",
    source="gpt-neox 2026-05 megatron/model/transformer.py, gpt2_model.py",
    # One fp32 copy of the logits, which becomes the softmax and then its own gradient in place
    # (mpu/cross_entropy.py), beside the 16-bit ones and their gradient.
    loss=Loss(forward_low=1, forward_fp32=1, backward_low=1, backward_fp32=1),
    python_gelu=False,
    adapter_weight_bytes=None,
)

TILED_SOURCE = "as before TRL 1.15, which computes the loss in tiles"
"""``trl/trainer/utils.py#add_fused_lm_head`` of TRL 1.15 and 1.16: SFT, DPO, KTO, GRPO and RLOO; absent in 1.10 to
1.14."""

UNSLOTH = HUGGING_FACE._replace(
    name="unsloth",
    source="unsloth 2026.10.9 models/llama.py, unsloth_zoo 2026.10.9 fused_losses: the loss in chunks that fit half "
    "the free memory, of at most 4 GiB",
    fused_loss=True,
)

UNSLOTH_PLAIN_LOSS = UNSLOTH._replace(
    name="unsloth with whole logits",
    source="unsloth 2026.10.9 kernels/cross_entropy_loss.py: 16-bit logits and a gradient as large",
    loss=Loss(forward_low=1, forward_fp32=0, backward_low=2, backward_fp32=0),
    fused_loss=False,
)
"""Its loss up to 2025, and with ``UNSLOTH_RETURN_LOGITS``; before 2026 the gradient took the logits' place."""

IMPLEMENTATIONS = {
    each.name: each
    for each in (
        HUGGING_FACE,
        TORCHTITAN,
        NEOX,
        LITGPT,
        LITGPT_2024,
        TORCHTUNE,
        TORCHTUNE_COMPILED,
        TORCHTUNE_PLAIN,
        UNSLOTH,
    )
}
