"""Writes vramlint/memory/data/decoders.json: the shapes of public decoder LLMs, each with where it was read.

Usage: python tools/make_decoder_catalogue.py FOLDER
       python tools/make_decoder_catalogue.py --add FOLDER   (adds FOLDER's configs to the file that is there)
       python tools/make_decoder_catalogue.py --same         (adds the names of ``SAME`` to the file that is there)

FOLDER holds the sources that are there, none of which runs but two tables of plain values (``catalogue_sources.py``
says how each is read): wheels of litgpt, torchtune, aiconfigurator-core, llm-analysis and genz-llm from PyPI,
``model_preset.py`` of mlc-ai/mlc-llm, the folder ``maxtext`` with AI-Hypercomputer/maxtext's ``configs/models``, and
the folder ``configs`` with config.json files named ``Org--Name.json``.

Shapes are facts of public model cards. A shape that two sources give differently is left out and printed, as is one
whose parameters contradict the size in its name.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from catalogue_sources import Found, read_all

from vramlint.memory.architecture import DecoderConfig
from vramlint.memory.hf_config import decoder_from_config
from vramlint.memory.names import plain_key_of
from vramlint.memory.towers import tower_from_config

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "vramlint" / "memory" / "data" / "decoders.json"

KEPT = (
    "model_type", "hidden_size", "n_embd", "num_hidden_layers", "n_layer", "num_attention_heads", "n_head",
    "num_key_value_heads", "num_kv_heads", "head_dim", "intermediate_size", "ffn_dim", "n_inner", "vocab_size",
    "num_layers", "padded_vocab_size", "ffn_hidden_size", "multi_query_attention", "multi_query_group_num",
    "add_qkv_bias", "qkv_bias", "linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim",
    "linear_value_head_dim", "linear_conv_kernel_dim", "full_attention_interval", "full_attn_idxs", "conv_L_cache",
    "conv_bias", "block_ff_dim", "block_multiple_of", "block_ffn_dim_multiplier", "block_auto_adjust_ff_dim",
    "head_dim", "mamba_num_heads", "mamba_head_dim", "n_groups", "ssm_state_size", "conv_kernel", "use_conv_bias",
    "hybrid_override_pattern", "moe_shared_expert_intermediate_size",
    "tie_word_embeddings", "attention_bias", "use_bias", "bias", "use_qkv_bias", "lm_head_bias", "use_qk_norm",
    "use_parallel_residual", "parallel_attn", "new_decoder_architecture", "multi_query", "n_positions",
    "max_position_embeddings", "word_embed_proj_dim", "sliding_window", "use_sliding_window", "spatial_merge_size",
    "multimodal_projector_bias", "projection_dim",
    "attn_logit_softcapping", "num_local_experts", "num_experts", "num_experts_per_tok", "moe_intermediate_size",
    "shared_expert_intermediate_size", "decoder_sparse_step", "mlp_only_layers", "n_routed_experts",
    "n_shared_experts", "first_k_dense_replace", "moe_layer_freq", "q_lora_rank", "kv_lora_rank",
    "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "intermediate_size_mlp", "interleave_moe_layer_step",
)  # fmt: skip
"""Keys of a config.json that decide memory. ``max_position_embeddings`` only where positions are learned."""

SIZE = re.compile(r"(\d+(?:[._]\d+)?)([bBmM])(?![a-z])")


def main(argv: list[str]) -> int:
    rows: dict[str, tuple[str, dict[str, Any]]] = {}
    if not argv or argv == ["--add"]:
        print("\n".join(__doc__.splitlines()[2:5]), file=sys.stderr)
        return 2
    if argv[0] in ("--same", "--add"):
        rows = _there()
        argv = argv[1:]
    for found in read_all(Path(argv[0])) if argv else ():
        if "vision_config" in found.config and tower_from_config(found.config, 1) is None:
            print(f"left out: {found.name} ({found.source}): unknown vision tower")
            continue
        kept = _kept(found)
        if kept is None:
            print(f"left out: {found.name} ({found.source}): type or size")
            continue
        known = rows.get(found.name)
        if known is None:
            rows[found.name] = (found.source, kept)
        elif decoder_from_config(known[1]) != decoder_from_config(kept):
            print(f"differs: {found.name}: {known[0]} is kept, not {found.source}")
    _share_windows(rows)
    _same(rows)
    _write(rows)
    return 0


SAME = {
    "deepseek-ai/DeepSeek-V3-0324": "deepseek-ai/DeepSeek-V3",
    "deepseek-ai/DeepSeek-V3.1": "deepseek-ai/DeepSeek-V3",
    "deepseek-ai/DeepSeek-R1-0528": "deepseek-ai/DeepSeek-R1",
    "deepseek-ai/DeepSeek-R1-Zero": "deepseek-ai/DeepSeek-R1",
    "deepseek-ai/DeepSeek-V2-Lite-Chat": "deepseek-ai/DeepSeek-V2-Lite",
    "moonshotai/Kimi-K2-Base": "moonshotai/Kimi-K2-Instruct",
    "huggyllama/llama-7b": "meta-llama/Llama-2-7b-hf",
    "huggyllama/llama-13b": "meta-llama/Llama-2-13b-hf",
    "lmsys/vicuna-7b-v1.5": "meta-llama/Llama-2-7b-hf",
    "lmsys/vicuna-13b-v1.5": "meta-llama/Llama-2-13b-hf",
    "openlm-research/open_llama_3b_v2": "openlm-research/open_llama_3b",
    "openlm-research/open_llama_7b_v2": "openlm-research/open_llama_7b",
    "TinyLlama/TinyLlama_v1.1": "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
    "agentica-org/DeepCoder-14B-Preview": "Qwen/Qwen2.5-14B",
    "deepcogito/cogito-v1-preview-llama-3B": "meta-llama/Llama-3.2-3B",
    "google/gemma-1.1-7b-it": "google/gemma-7b-it",
    "google/gemma-1.1-2b-it": "google/gemma-2b-it",
    "open-r1/Qwen2.5-Math-7B-RoPE-300k": "Qwen/Qwen2.5-Math-7B",
    "Qwen/Qwen3.5-35B-A3B-Base": "Qwen/Qwen3.5-35B-A3B",
    "Qwen/Qwen3.5-9B-Base": "Qwen/Qwen3.5-9B",
    "openai/gpt-oss-safeguard-20b": "openai/gpt-oss-20b",
    "mistralai/Devstral-Small-2505": "mistralai/Mistral-Small-24B-Instruct-2501",
    "mistralai/Devstral-Small-2507": "mistralai/Mistral-Small-24B-Instruct-2501",
    "mistralai/Magistral-Small-2506": "mistralai/Mistral-Small-24B-Instruct-2501",
    "mistralai/Magistral-Small-2507": "mistralai/Mistral-Small-24B-Instruct-2501",
    "mistralai/Magistral-Small-2509": "mistralai/Mistral-Small-3.1-24B-Instruct-2503",
    "mistralai/Mistral-Small-24B-Base-2501": "mistralai/Mistral-Small-24B-Instruct-2501",
    "mistralai/Mistral-Small-3.2-24B-Instruct-2506": "mistralai/Mistral-Small-3.1-24B-Instruct-2503",
    "mistralai/Mistral-Nemo-Base-2407": "mistralai/Mistral-Nemo-Instruct-2407",
    "allenai/Olmo-3-7B-Instruct": "allenai/Olmo-3-1025-7B",
    "allenai/Olmo-3-7B-Instruct-SFT": "allenai/Olmo-3-1025-7B",
    "allenai/Olmo-3-7B-Think": "allenai/Olmo-3-1025-7B",
    "allenai/Olmo-3-32B-Think": "allenai/Olmo-3-1125-32B",
    "togethercomputer/RedPajama-INCITE-Chat-3B-v1": "togethercomputer/RedPajama-INCITE-Base-3B-v1",
    "togethercomputer/RedPajama-INCITE-Instruct-3B-v1": "togethercomputer/RedPajama-INCITE-Base-3B-v1",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": "Qwen/Qwen2.5-Math-1.5B-Instruct",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": "Qwen/Qwen2.5-Math-7B",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B": "Qwen/Qwen2.5-14B",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B": "Qwen/Qwen2.5-32B",
    "Qwen/Qwen2-72B": "Qwen/Qwen2.5-72B",
    "Qwen/Qwen3-Coder-30B-A3B-Instruct": "Qwen/Qwen3-30B-A3B",
    "Qwen/Qwen3-VL-8B-Thinking": "Qwen/Qwen3-VL-8B-Instruct",
    "Qwen/Qwen3-VL-4B-Thinking": "Qwen/Qwen3-VL-4B-Instruct",
    "Qwen/Qwen3-VL-2B-Thinking": "Qwen/Qwen3-VL-2B-Instruct",
    "Qwen/Qwen3-VL-30B-A3B-Thinking": "Qwen/Qwen3-VL-30B-A3B-Instruct",
    "Qwen/Qwen3-Reranker-0.6B": "Qwen/Qwen3-0.6B",
    "Qwen/Qwen3-Reranker-4B": "Qwen/Qwen3-4B",
    "Qwen/Qwen-1_8B-Chat": "Qwen/Qwen-1_8B",
    "Qwen/Qwen-7B-Chat": "Qwen/Qwen-7B",
    "Qwen/Qwen-14B-Chat": "Qwen/Qwen-14B",
    "Qwen/Qwen-72B-Chat": "Qwen/Qwen-72B",
    "internlm/internlm2-chat-7b": "internlm/internlm2-7b",
    "baichuan-inc/Baichuan2-7B-Chat": "baichuan-inc/Baichuan2-7B-Base",
    "01-ai/Yi-1.5-6B": "01-ai/Yi-6B",
    "01-ai/Yi-1.5-34B": "01-ai/Yi-34B",
    "zai-org/GLM-4.5-Air-Base": "zai-org/GLM-4.5-Air",
    "nvidia/Llama-3.1-Nemotron-Nano-8B-v1": "meta-llama/Llama-3.1-8B",
    "mistralai/Mistral-Large-Instruct-2411": "mistralai/Mistral-Large-Instruct-2407",
    "alignment-handbook/zephyr-7b-sft-full": "mistralai/Mistral-7B-v0.1",
}
"""Checkpoints of one architecture under several names, by their model cards."""


def _same(rows: dict[str, tuple[str, dict[str, Any]]]) -> None:
    for name, other in SAME.items():
        if other in rows:
            rows.setdefault(name, (f"same architecture as {other}", rows[other][1]))
        else:
            print(f"left out: {name}: no {other}")


def _there() -> dict[str, tuple[str, dict[str, Any]]]:
    there = json.loads(TARGET.read_text())
    return {name: (there["sources"][source], config) for name, source, config in there["models"]}


def _share_windows(rows: dict[str, tuple[str, dict[str, Any]]]) -> None:
    """litgpt's table lacks sliding windows: an instruction-tuned checkpoint takes its base model's."""
    bases = {plain_key_of(name): data for name, (_, data) in rows.items() if "sliding_window" in data}
    for name, (_, data) in rows.items():
        base = bases.get(plain_key_of(name))
        if base is not None and decoder_from_config(base | data) == decoder_from_config(base):
            data.setdefault("sliding_window", base["sliding_window"])


def _kept(found: Found) -> dict[str, Any] | None:
    """The entry's config without what does not matter, None where it is no decoder of a known kind or contradictory."""
    config = decoder_from_config(found.config)
    if config is None:
        return None
    if _contradicts(found.name, config):
        print(f"size: {found.name} ({found.source}) would have {config.parameters:,} parameters")
        return None
    return _slim(found.config)


def _contradicts(name: str, config: DecoderConfig) -> bool:
    """Whether the size in the name is another. A mixture's is of one expert or of what is active."""
    if config.experts or "Falcon3-1B" in name or "MiniCPM-2B" in name:  # 1.67 B and 2.72 B by their own cards
        return False
    sizes = [float(size.replace("_", ".")) * (1e9 if unit in "bB" else 1e6) for size, unit in SIZE.findall(name)]
    return bool(sizes) and not any(0.72 < config.parameters / size < 1.4 for size in sizes)


def _slim(config: dict[str, Any]) -> dict[str, Any]:
    learned = config.get("model_type") in ("opt", "gpt2", "gpt_bigcode")
    slim = {key: config[key] for key in KEPT if config.get(key) is not None}
    if "q_lora_rank" in config:
        slim["q_lora_rank"] = config["q_lora_rank"]  # null says that queries have no latent; without it they have one
    if not learned:
        slim.pop("max_position_embeddings", None)
    for part in ("text_config", "vision_config"):
        if isinstance(config.get(part), dict):
            slim[part] = _slim(config[part]) if part == "text_config" else _plain(config[part])
    return slim


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if isinstance(value, (int, str)) and key in TOWER_KEYS}


TOWER_KEYS = (
    "model_type", "hidden_size", "embed_dim", "depth", "num_hidden_layers", "num_heads", "num_attention_heads",
    "intermediate_size", "mlp_ratio", "patch_size", "image_size", "in_chans", "in_channels", "num_channels",
    "out_hidden_size", "spatial_merge_size", "temporal_patch_size", "num_position_embeddings", "head_dim",
    "vision_use_head", "projection_dim", "projector_input_dim", "projector_output_dim", "vision_output_dim",
)  # fmt: skip


def _write(rows: dict[str, tuple[str, dict[str, Any]]]) -> None:
    sources = sorted({source for source, _ in rows.values()})
    lines = ",\n".join(
        "    " + json.dumps([name, sources.index(source), config], separators=(",", ":"))
        for name, (source, config) in sorted(rows.items(), key=lambda item: item[0].lower())
    )
    head = json.dumps({"schema": 2, "sources": sources}, indent=2)[:-2]
    TARGET.write_text(f'{head},\n  "models": [\n{lines}\n  ]\n}}\n')
    print(f"{len(rows)} decoders written to {TARGET.relative_to(ROOT)}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
