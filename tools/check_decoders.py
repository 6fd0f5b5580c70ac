"""Traces whole training steps of small decoder LLMs and holds the closed forms against them.

Usage: python tools/check_decoders.py [--write] [NAME ...]

Needs torch, transformers and peft. Each architecture is built from a small config of its own transformers class, read
back by ``decoder_from_config`` as a user's ``config.json`` would be, and one AdamW step (the second, with its states)
is traced with fake tensors. ``--write`` stores the traced peaks in ``tests/memory/decoder_traces.json``, which the
tests compare with the formulas where transformers is not installed.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from kernel_stand_ins import kernels

from vramlint.memory.adapter import Adapter
from vramlint.memory.architecture import DecoderConfig
from vramlint.memory.decoder import Decoder
from vramlint.memory.hf_config import decoder_from_config
from vramlint.memory.knowledge import Workload
from vramlint.memory.mixers import Mamba2
from vramlint.plan import Precision
from vramlint.trace.events import Recording, Shape
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.tracer import Job, Options, record

RESULTS = Path(__file__).parent.parent / "tests" / "memory" / "decoder_traces.json"
BATCH, LENGTH = 4, 1024
MIB = 2**20

_DENSE = {
    "hidden_size": 1024, "num_hidden_layers": 3, "num_attention_heads": 16, "num_key_value_heads": 4,
    "intermediate_size": 2816, "vocab_size": 16000, "max_position_embeddings": 2048, "use_cache": False,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_SPARSE = {
    **_DENSE,
    "intermediate_size": 1024,
    "moe_intermediate_size": 512,
    "num_experts": 16,
    "num_experts_per_tok": 4,
}
_EQUAL_HEADS = {"num_key_value_heads": 16}

_OSS = {**_SPARSE, "head_dim": 64, "num_local_experts": 16, "layer_types": ["full_attention"] * 3}
_HYBRID = {**_DENSE, "num_hidden_layers": 4, "head_dim": 128}
_DELTA = {
    "linear_num_key_heads": 4, "linear_num_value_heads": 8, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
}  # fmt: skip
EAGER = ("gpt_oss_eager",)
HYBRIDS = ("qwen3_5", "qwen3_next", "qwen3_5_moe", "lfm2", "nemotron_h", "nemotron_h_moe")

ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", _DENSE),
    "mistral": ("MistralConfig", {**_DENSE, "sliding_window": None}),
    "qwen2": ("Qwen2Config", {**_DENSE, "num_key_value_heads": 2, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", {**_DENSE, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True}),
    "phi3": ("Phi3Config", {**_DENSE, **_EQUAL_HEADS}),
    "gemma": ("GemmaConfig", {**_DENSE, "num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 256}),
    "gemma2": ("Gemma2Config", {**_DENSE, "num_attention_heads": 8, "head_dim": 256, "sliding_window": 2048}),
    "phi": ("PhiConfig", {**_DENSE, **_EQUAL_HEADS, "intermediate_size": 4096}),
    "gpt_neox": ("GPTNeoXConfig", {**_DENSE, **_EQUAL_HEADS, "intermediate_size": 4096, "tie_word_embeddings": False}),
    "olmo": ("OlmoConfig", _DENSE),
    "olmo2": ("Olmo2Config", _DENSE),
    "granite": ("GraniteConfig", _DENSE),
    "smollm3": ("SmolLM3Config", {**_DENSE, "tie_word_embeddings": True}),
    "stablelm": ("StableLmConfig", {**_DENSE, **_EQUAL_HEADS}),
    "starcoder2": ("Starcoder2Config", {**_DENSE, "intermediate_size": 4096, "sliding_window": None}),
    "cohere": ("CohereConfig", {**_DENSE, "tie_word_embeddings": True}),
    "glm": ("GlmConfig", {**_DENSE, "head_dim": 64}),
    "seed_oss": ("SeedOssConfig", {**_DENSE, "head_dim": 64, "residual_dropout": 0.0, "attention_dropout": 0.0}),
    "ernie4_5": ("Ernie4_5Config", {**_DENSE, "head_dim": 64}),
    "opt": (
        "OPTConfig",
        {
            **_DENSE, **_EQUAL_HEADS, "ffn_dim": 4096, "word_embed_proj_dim": 1024, "dropout": 0.0,
            "attention_dropout": 0.0,
        },
    ),
    "gpt2": (
        "GPT2Config",
        {
            "n_embd": 1024, "n_layer": 3, "n_head": 16, "vocab_size": 16000, "n_positions": 2048, "use_cache": False,
            "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": 1, "eos_token_id": 2,
        },
    ),
    "nemotron": ("NemotronConfig", {**_DENSE, "intermediate_size": 4096}),
    "olmo3": ("Olmo3Config", {**_DENSE, "sliding_window": 2048}),
    "glm4": ("Glm4Config", {**_DENSE, "head_dim": 64}),
    "exaone4": ("Exaone4Config", {**_DENSE, "sliding_window": 2048}),
    "arcee": ("ArceeConfig", {**_DENSE, "intermediate_size": 4096}),
    "hunyuan_v1_dense": ("HunYuanDenseV1Config", {**_DENSE, "head_dim": 64}),
    "internlm3": ("InternLM3Config", {**_DENSE, "head_dim": 64}),
    "glm4_moe": (
        "Glm4MoeConfig",
        {
            **_SPARSE, "head_dim": 64, "n_routed_experts": 16, "n_shared_experts": 1, "n_group": 1, "topk_group": 1,
            "first_k_dense_replace": 1,
        },
    ),
    "glm4_moe_lite": (
        "Glm4MoeLiteConfig",
        {
            **_SPARSE, **_EQUAL_HEADS, "n_routed_experts": 16, "n_shared_experts": 1, "n_group": 1, "topk_group": 1,
            "q_lora_rank": 256, "kv_lora_rank": 128, "qk_nope_head_dim": 32, "qk_rope_head_dim": 32, "v_head_dim": 64,
            "mlp_layer_types": ["dense", "sparse", "sparse"],
        },
    ),
    "mixtral": ("MixtralConfig", {**_SPARSE, "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": None}),
    "qwen2_moe": ("Qwen2MoeConfig", {**_SPARSE, "shared_expert_intermediate_size": 1024}),
    "qwen3_moe": ("Qwen3MoeConfig", {**_SPARSE, "head_dim": 64}),
    "olmoe": ("OlmoeConfig", {**_SPARSE, "intermediate_size": 512}),
    "deepseek_v3": (
        "DeepseekV3Config",
        {
            **_SPARSE, **_EQUAL_HEADS, "n_routed_experts": 16, "n_shared_experts": 1,
            "n_group": 2, "topk_group": 1,
            "first_k_dense_replace": 1, "q_lora_rank": 256, "kv_lora_rank": 128, "qk_nope_head_dim": 32,
            "qk_rope_head_dim": 32, "v_head_dim": 64,
        },
    ),
    "gpt_oss": ("GptOssConfig", _OSS),
    "gpt_oss_eager": ("GptOssConfig", _OSS),
    "qwen3_5": ("Qwen3_5TextConfig", {**_HYBRID, **_DELTA}),
    "qwen3_next": (
        "Qwen3NextConfig",
        {**_SPARSE, **_HYBRID, **_DELTA, "shared_expert_intermediate_size": 512, "decoder_sparse_step": 1},
    ),
    "qwen3_5_moe": ("Qwen3_5MoeTextConfig", {**_SPARSE, **_HYBRID, **_DELTA, "shared_expert_intermediate_size": 512}),
    "nemotron_h": (
        "NemotronHConfig",
        {
            **_DENSE, "head_dim": 64, "num_hidden_layers": 5, "hybrid_override_pattern": "M-M*-", "mamba_num_heads": 32,
            "mamba_head_dim": 64, "n_groups": 8, "ssm_state_size": 128, "conv_kernel": 4, "chunk_size": 128,
            "intermediate_size": 4096,
        },
    ),
    "nemotron_h_moe": (
        "NemotronHConfig",
        {
            **_DENSE, "head_dim": 64, "num_hidden_layers": 5, "hybrid_override_pattern": "MEM*E", "mamba_num_heads": 32,
            "mamba_head_dim": 64, "n_groups": 8, "ssm_state_size": 128, "conv_kernel": 4, "chunk_size": 128,
            "n_routed_experts": 16, "n_shared_experts": 1, "num_experts_per_tok": 4, "moe_intermediate_size": 512,
            "moe_shared_expert_intermediate_size": 1024, "n_group": 1, "topk_group": 1,
        },
    ),
    "lfm2": ("Lfm2Config", {**_DENSE, "num_hidden_layers": 4, "full_attn_idxs": [3], "conv_bias": False}),
}  # fmt: skip
"""transformers' config classes with small sizes, by ``model_type``."""


class Mode(NamedTuple):
    """How a step runs: ``bf16``, ``autocast`` (fp32 weights) or ``fp32``; ``lora`` is PEFT's, rank 16, all layers."""

    precision: str
    checkpointing: bool
    lora: bool

    @property
    def weight_bytes(self) -> int:
        return 2 if self.precision == "bf16" else 4

    @property
    def name(self) -> str:
        precision = self.precision
        return "+".join((precision, *["checkpointing"] * self.checkpointing, *["lora"] * self.lora))


PRECISIONS = {"bf16": Precision.PURE_BF16, "autocast": Precision.BF16, "fp32": Precision.FP32}

MODES = tuple(
    Mode(precision, checkpointing, lora)
    for lora in (False, True)
    for precision in ("bf16", "autocast", "fp32")
    for checkpointing in (False, True)
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="architectures to trace (default: all)")
    parser.add_argument("--write", action="store_true", help=f"store the traced peaks in {RESULTS.name}")
    arguments = parser.parse_args()
    torchvision_schemas()
    stored: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    print(f"{'architecture':<14} {'mode':<24} {'traced MiB':>10} {'formula':>10} {'error':>8}")
    for name in arguments.names or ARCHITECTURES:
        stored[name] = _compared(name)
        if arguments.write:
            _write(stored)
    return 0


def _compared(name: str) -> dict[str, Any]:
    class_name, sizes = ARCHITECTURES[name]
    import transformers

    config = getattr(transformers, class_name)(**sizes)
    data = {"model_type": config.model_type, **config.to_dict()}
    found = decoder_from_config(data)
    if found and name in EAGER:
        found = found._replace(eager=True)
        data["eager"] = True
    peaks: dict[str, float] = {}
    for mode in MODES:
        targets = _targets(found) if found and (found.experts or config.model_type == "nemotron_h") else "all-linear"
        try:
            with (
                kernels(config.model_type.removesuffix("_text"))
                if name in HYBRIDS or (found and found.experts)
                else nullcontext()
            ):
                traced = traced_mib(config, mode, targets, eager=name in EAGER)
        except Exception as error:  # noqa: BLE001 - one architecture that cannot be traced must not stop the table
            print(f"{name:<14} {mode.name:<24} not traced: {type(error).__name__}: {str(error)[:80]}")
            continue
        peaks[mode.name] = round(traced, 2)
        said = formula_mib(name, found, mode) if found else None
        error_text = f"{said:10.1f} {said / traced - 1:+8.2%}" if said else "         -"
        print(f"{name:<14} {mode.name:<24} {traced:10.1f} {error_text}", flush=True)
    return {"config": _plain(data), "peaks_mib": peaks}


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    """The config's numbers and switches: what ``decoder_from_config`` may read."""
    kept = {
        key: value
        for key, value in data.items()
        if (isinstance(value, (int, float, bool)) or key == "layers_block_type") and not key.startswith("_")
    }
    if isinstance(data.get("mlp_layer_types"), list):
        kept["mlp_layer_types"] = data["mlp_layer_types"]
    if isinstance(data.get("layer_types"), list) and set(data["layer_types"]) - {"full_attention", "sliding_attention"}:
        kept["layer_types"] = dict(Counter(data["layer_types"]))
    return {"model_type": data["model_type"], **dict(sorted(kept.items()))}


def formula_mib(name: str, config: DecoderConfig, mode: Mode) -> float | None:
    """The closed form's worst moment with weights, gradients and AdamW's states (foreach), in MiB."""
    adapter = Adapter(16, _targets(config), 4, fused=True) if mode.lora else None
    decoder = Decoder(name, config, "test", adapter)
    weight = mode.weight_bytes
    trained = 4 if mode.lora else weight
    frozen = decoder.parameters - decoder.trainable
    states = weight * frozen + 3 * trained * decoder.trainable
    moments = decoder.moments(Workload(BATCH, PRECISIONS[mode.precision], mode.checkpointing, seq_len=LENGTH))
    if not moments:
        return None
    worst = max(states + moment.activation_bytes + trained * moment.gradient_elements for moment in moments)
    step = weight * frozen + 5 * trained * decoder.trainable
    return max(worst, step) / MIB


def _targets(config: DecoderConfig) -> tuple[str, ...]:
    """All linear layers; of a model of experts those of attention, as peft builds experts' changes of weights whole."""
    every = [linear for _, block in config.kinds for linear in block.linears]
    names = [linear.name for linear in every if not config.experts or linear.reads in ("attention", "output", "mixed")]
    mamba = any(isinstance(block.mixer, Mamba2) for _, block in config.kinds)
    return tuple(dict.fromkeys(name for name in names if not mamba or name != "out_proj"))  # which peft refuses


def traced_mib(config: Any, mode: Mode, targets: tuple[str, ...] | str = "all-linear", *, eager: bool = False) -> float:
    """The peak of the second traced step, in MiB."""
    options = Options(dtype=torch.bfloat16 if mode.precision == "autocast" else None, evaluation=False)
    return second_peak(record(lambda: _job(config, mode, targets, eager), Shape(BATCH, seq_len=LENGTH), options)) / MIB


def _job(config: Any, mode: Mode, targets: tuple[str, ...] | str, eager: bool) -> Job:
    import transformers

    torch.set_default_dtype(torch.bfloat16 if mode.precision == "bf16" else torch.float32)
    try:
        model = transformers.AutoModelForCausalLM.from_config(
            config, attn_implementation="eager" if eager else _attention(config)
        )
    finally:
        torch.set_default_dtype(torch.float32)
    model.tie_weights()  # fake parameters lose the tie while the model is built
    if mode.lora:
        import peft

        model = peft.get_peft_model(
            model, peft.LoraConfig(r=16, target_modules=targets if isinstance(targets, str) else list(targets))
        )
    if mode.checkpointing:
        if mode.lora:
            model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

    def batch() -> torch.Tensor:
        return torch.zeros(BATCH, LENGTH, dtype=torch.long)

    def loss(model: Any, ids: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model(input_ids=ids, labels=ids, use_cache=False).loss
        return found

    return Job(model, batch, loss, None, lambda parameters: torch.optim.AdamW(parameters, lr=1e-4, foreach=True))


def _attention(config: Any) -> str:
    return "eager" if config.model_type == "gemma2" else "sdpa"


def second_peak(recording: Recording) -> int:
    level = best = 0
    counting = False
    for event in recording.events:
        if isinstance(event, str):
            counting = counting or event == "fresh:end"
            continue
        level += recording.sizes[event] if event > 0 else -recording.sizes[-event]
        best = max(best, level) if counting else best
    return best


def _write(stored: dict[str, Any]) -> None:
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(found)}" for name, found in sorted(stored.items()))
    RESULTS.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    raise SystemExit(main())
