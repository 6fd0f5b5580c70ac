"""What a decoder LLM is: its architecture, its linear layers, adapters on them, and parameter counts."""

from __future__ import annotations

from typing import NamedTuple

from vramlint.plan import DecoderShape


class DecoderConfig(NamedTuple):
    """A decoder LLM: its shape and what else of its architecture changes memory.

    ``norm``: ``rms`` (Llama), ``gemma`` (RMS with 1 + weight) or ``layer`` (LayerNorm). ``shared_norm``: attention and
    MLP read the same normalised input (Phi, Falcon-7B). ``soft_capped``: attention logits are capped, so attention runs
    eager and its score matrix is materialised (Gemma 2); the logits are capped too. ``parallel``: attention and MLP
    read the same residual stream (GPT-NeoX, Phi, Falcon). ``fused_qkv`` and ``python_gelu`` are how transformers
    implements it: one projection for queries, keys and values (Phi-3, GPT-NeoX), ``gelu_new`` written in Python (Phi).
    """

    shape: DecoderShape
    gated: bool = True
    norm: str = "rms"
    norms_per_layer: int = 2
    qk_norm: bool = False
    biases: bool = False
    shared_norm: bool = False
    soft_capped: bool = False
    head_bias: bool = False
    parallel: bool = False
    fused_qkv: bool = False
    python_gelu: bool = False

    @property
    def attention_width(self) -> int:
        return self.shape.heads * self.shape.head_dim

    @property
    def kv_width(self) -> int:
        return self.shape.kv_heads * self.shape.head_dim

    @property
    def linears(self) -> tuple[Linear, ...]:
        """The linear layers of one block."""
        h, a, kv, i = self.shape.hidden, self.attention_width, self.kv_width, self.shape.ffn
        attention = (
            Linear("q_proj", h, a, "attention"),
            Linear("k_proj", h, kv, "attention"),
            Linear("v_proj", h, kv, "attention"),
            Linear("o_proj", a, h, "output"),
        )
        gate = (Linear("gate_proj", h, i, "mlp"),) if self.gated else ()
        return (*attention, *gate, Linear("up_proj", h, i, "mlp"), Linear("down_proj", i, h, "down"))

    @property
    def layer_linear_parameters(self) -> int:
        """Weights of one block's linear layers, without biases and norms."""
        return sum(linear.inputs * linear.outputs for linear in self.linears)

    @property
    def layer_parameters(self) -> int:
        h = self.shape.hidden
        per_norm = 2 * h if self.norm == "layer" and self.biases else h
        norms = self.norms_per_layer - self.shared_norm
        biased = self.linears if self.biases else self.linears[:3] if self.shape.qkv_bias else ()
        qk_norm = 2 * self.shape.head_dim if self.qk_norm else 0
        return self.layer_linear_parameters + norms * per_norm + sum(linear.outputs for linear in biased) + qk_norm

    @property
    def head_parameters(self) -> int:
        """The output projection, whether tied or not."""
        return self.shape.vocabulary * (self.shape.hidden + self.head_bias)

    @property
    def parameters(self) -> int:
        """All parameters, a tied embedding counted once."""
        embedding = self.shape.vocabulary * self.shape.hidden
        final_norm = self.shape.hidden * (2 if self.norm == "layer" and self.biases else 1)
        head = 0 if self.shape.tied else self.head_parameters
        return self.shape.layers * self.layer_parameters + embedding + head + final_norm


class Linear(NamedTuple):
    """A linear layer: its name in Hugging Face models, widths, and which input tensor it shares with others."""

    name: str
    inputs: int
    outputs: int
    reads: str


class Adapter(NamedTuple):
    """LoRA: rank, the adapted linear layers by name, and bytes per adapter weight.

    ``half`` adapters share the base model's dtype (litgpt, torchtune); PEFT keeps them in fp32 and casts the input.
    """

    rank: int
    targets: tuple[str, ...]
    weight_bytes: int
    dropout: bool = False
    head: bool = False

    def parameters(self, config: DecoderConfig) -> int:
        chosen = [linear for linear in config.linears if linear.name in self.targets]
        per_layer = sum(self.rank * (linear.inputs + linear.outputs) for linear in chosen)
        head = self.rank * (config.shape.hidden + config.shape.vocabulary) if self.head else 0
        return config.shape.layers * per_layer + head
