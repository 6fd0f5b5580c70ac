"""Where shapes of public decoder LLMs are read: each source's table as Hugging Face configs, most literal first."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class Found(NamedTuple):
    """A checkpoint's name on the hub, its config in the words of config.json, and where it was read."""

    name: str
    config: dict[str, Any]
    source: str


def read_all(folder: Path) -> Iterator[Found]:
    """Every shape of every source in ``folder``: literal config.json files first, then tables."""
    yield from _configs(folder / "configs")
    for reader, pattern in (
        (_aiconfigurator, "aiconfigurator_core-*.whl"),
        (_llm_analysis, "llm_analysis-*.whl"),
        (_mlc, "model_preset.py"),
        (_litgpt, "litgpt-*.whl"),
        (_torchtune, "torchtune-*.whl"),
        (_genz, "genz_llm-*.whl"),
        (_maxtext, "maxtext"),
    ):
        for path in sorted(folder.glob(pattern)):
            yield from reader(path)


def _configs(folder: Path) -> Iterator[Found]:
    for path in sorted(folder.glob("*.json")):
        data = json.loads(path.read_text())
        yield Found(path.stem.replace("--", "/"), data, data.pop("_source", "config.json of the checkpoint"))


def _wheel_version(path: Path) -> str:
    return " ".join(path.name.split("-")[:2])


def _aiconfigurator(wheel: Path) -> Iterator[Found]:
    """Checkpoints' own config.json files."""
    archive = zipfile.ZipFile(wheel)
    for member in archive.namelist():
        match = re.search(r"model_configs/([^/]+)--([^/]+)_config\.json$", member)
        if match is None or "_hf_quant" in member:
            continue
        data = json.loads(archive.read(member))
        name = f"{match[1]}/{re.sub(r'-(FP8|NVFP4|FP8-Static-PerTensor)$', '', match[2])}"
        yield Found(name, data, f"config.json in {_wheel_version(wheel)}")


_LLM_ANALYSIS = re.compile(r"^(gpt2|distilgpt2|facebook_opt|EleutherAI|NousResearch_Llama-2-7b)")


def _llm_analysis(wheel: Path) -> Iterator[Found]:
    """Its JSON keeps its own names; only models whose family fixes the rest are taken."""
    archive = zipfile.ZipFile(wheel)
    for member in archive.namelist():
        stem = Path(member).stem
        if "/model_configs/" not in member or not _LLM_ANALYSIS.match(stem):
            continue
        data = json.loads(archive.read(member))
        kind = data.get("model_type")
        if kind not in ("gpt2", "opt"):
            continue
        config = {
            "model_type": kind,
            "hidden_size": data["hidden_dim"],
            "num_hidden_layers": data["num_layers"],
            "num_attention_heads": data["n_head"],
            "vocab_size": data["vocab_size"],
            "intermediate_size": data["ffn_embed_dim"],
        }
        config |= {"n_positions": 1024} if kind == "gpt2" else {"max_position_embeddings": 2048}
        name = stem.replace("facebook_", "facebook/")
        yield Found(name if "/" in name else f"openai-community/{name}", config, _wheel_version(wheel))


_MLC_NAMES = {
    "tinyllama_1b_chat_v1.0": "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
    "gpt2": "openai-community/gpt2",
    "gpt2_medium": "openai-community/gpt2-medium",
    "phi-3_5": "microsoft/Phi-3.5-mini-instruct",
    "phi-4": "microsoft/Phi-4-mini-instruct",
    "gemma_2b": "google/gemma-2b",
    "gemma2_2b": "google/gemma-2-2b",
    "gemma2_9b": "google/gemma-2-9b",
    "gemma2_27b": "google/gemma-2-27b",
    "gemma3_1b_it": "google/gemma-3-1b-it",
    "deepseek_v2_lite": "deepseek-ai/DeepSeek-V2-Lite",
    "qwen2moe": "Qwen/Qwen1.5-MoE-A2.7B",
    "stablelm-2-zephyr-1_6b": "stabilityai/stablelm-2-zephyr-1_6b",
    "qwen2_0_5b": "Qwen/Qwen2-0.5B",
    "qwen2_1_5b": "Qwen/Qwen2-1.5B",
    "qwen2_7b": "Qwen/Qwen2-7B",
    "qwen2.5_3b": "Qwen/Qwen2.5-3B",
    "qwen3_0.6b": "Qwen/Qwen3-0.6B",
    "qwen3_1.7b": "Qwen/Qwen3-1.7B",
    "smollm_1_7b": "HuggingFaceTB/SmolLM-1.7B",
    "smollm_360m": "HuggingFaceTB/SmolLM-360M",
    "smollm_135m": "HuggingFaceTB/SmolLM-135M",
    "smollm2_135m": "HuggingFaceTB/SmolLM2-135M",
    "smollm2_360m": "HuggingFaceTB/SmolLM2-360M",
    "aya-23": "CohereForAI/aya-23-8B",
    "olmo2_7b": "allenai/OLMo-2-1124-7B",
    "olmo2_13b": "allenai/OLMo-2-1124-13B",
    "olmo2_32b": "allenai/OLMo-2-0325-32B",
    "llama3_1_8b": "meta-llama/Llama-3.1-8B",
    "llama3_1_70b": "meta-llama/Llama-3.1-70B",
    "llama3_2_1b": "meta-llama/Llama-3.2-1B",
    "llama3_2_3b": "meta-llama/Llama-3.2-3B",
    "mistral_7b_v03": "mistralai/Mistral-7B-v0.3",
    "redpajama_3b_v1": "togethercomputer/RedPajama-INCITE-Base-3B-v1",
    "starcoder2": "bigcode/starcoder2-7b",
}
"""Presets of mlc-llm and the checkpoint whose config.json each copies."""


def _mlc(path: Path) -> Iterator[Found]:
    tree = ast.parse(path.read_text())
    table = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "MODEL_PRESETS"
    )
    for key, config in ast.literal_eval(table).items():
        if key in _MLC_NAMES:
            yield Found(_MLC_NAMES[key], config, "config.json in mlc-llm's model_preset.py")


# --- litgpt ----------------------------------------------------------------------------------------------------------

TIED = re.compile(
    r"gemma|falcon-|SmolLM|Llama-3\.2-[13]B|Phi-4-mini|OLMo-1B"
    r"|Qwen2(\.5)?-(Coder-|Math-)?(0\.5|1\.5|3)B|Qwen3-(0\.6|1\.7|4)B"
)
"""Checkpoints that share input and output embeddings (``tie_word_embeddings`` of their config.json). Checked against
the size in the name: untied, Qwen3-0.6B would have 0.75 B parameters, SmolLM2-135M 163 M, Phi-4-mini 4.5 B."""

_LITGPT_SKIPPED = re.compile(r"Platypus2-70B$|gemma-3-(4|12|27)b|Gemma-3-(4|12|27)b|Qwen2\.5-Math-1\.5B$")
"""litgpt gives Platypus2-70B 64 KV heads, unlike the Llama-2-70B it is made of; and of the larger Gemma 3 the text
model alone, without the vision tower that belongs to the checkpoint."""

_LITGPT_TYPES = (
    (r"gemma-3", "gemma3_text"),
    (r"gemma-2-", "gemma2"),
    (r"gemma", "gemma"),
    (r"Qwen3-.*-A", "qwen3_moe"),
    (r"Qwen3", "qwen3"),
    (r"Qwen2|QwQ", "qwen2"),
    (r"Mixtral", "mixtral"),
    (r"istral|mathstral|danube", "mistral"),
    (r"[Pp]hi-(3|4)", "phi3"),
    (r"phi-", "phi"),
    (r"pythia|stablelm-(base|tuned)-alpha|stablecode-|RedPajama|dolly", "gpt_neox"),
    (r"stablelm", "stablelm"),
    (r"falcon", "falcon"),
    (r"OLMo-2", "olmo2"),
    (r"OLMo", "olmo"),
)


def _litgpt(wheel: Path) -> Iterator[Found]:
    module = load_litgpt(wheel)
    for entry in module.configs:
        config = module.Config(**entry)
        name = f"{config.hf_config['org']}/{config.hf_config['name']}"
        if not _LITGPT_SKIPPED.search(name):
            yield Found(name, _litgpt_config(name, config), f"config.py in {_wheel_version(wheel)}")


def load_litgpt(wheel: Path) -> Any:
    """litgpt's ``config.py``, which only computes defaults, as a module."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(zipfile.ZipFile(wheel).extract("litgpt/config.py", folder))
        spec = importlib.util.spec_from_file_location("litgpt_config", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["litgpt_config"] = module
        spec.loader.exec_module(module)
    return module


def _litgpt_config(name: str, config: Any) -> dict[str, Any]:
    kind = next((kind for pattern, kind in _LITGPT_TYPES if re.search(pattern, name)), "llama")
    found: dict[str, Any] = {
        "model_type": kind,
        "hidden_size": config.n_embd,
        "num_hidden_layers": config.n_layer,
        "num_attention_heads": config.n_head,
        "num_key_value_heads": config.n_query_groups,
        "head_dim": config.head_size,
        "intermediate_size": config.intermediate_size,
        "vocab_size": config.padded_vocab_size,
        "tie_word_embeddings": bool(TIED.search(name)),
    }
    if config.n_expert:
        found |= {"num_local_experts": config.n_expert, "num_experts": config.n_expert}
        found |= {
            "num_experts_per_tok": config.n_expert_per_token,
            "moe_intermediate_size": config.moe_intermediate_size,
        }
    if kind == "falcon":
        found |= {"new_decoder_architecture": "40" in name or "180" in name, "num_kv_heads": config.n_query_groups}
    if kind == "gpt_neox":
        found["use_parallel_residual"] = bool(config.parallel_residual)
    return found


# --- torchtune, genz-llm, maxtext ------------------------------------------------------------------------------------

_TORCHTUNE = {
    "qwen2_7b": "Qwen/Qwen2-7B-Instruct Qwen/Qwen2-7B",
    "qwen2_0_5b": "Qwen/Qwen2-0.5B-Instruct Qwen/Qwen2-0.5B",
    "qwen2_1_5b": "Qwen/Qwen2-1.5B-Instruct Qwen/Qwen2-1.5B",
}
"""Builders of torchtune whose checkpoints litgpt lacks."""


def _torchtune(wheel: Path) -> Iterator[Found]:
    tree = ast.parse(zipfile.ZipFile(wheel).read("torchtune/models/qwen2/_model_builders.py"))
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or node.name not in _TORCHTUNE:
            continue
        call = next(found for found in ast.walk(node) if isinstance(found, ast.Return)).value
        assert isinstance(call, ast.Call)
        given = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
        config = {
            "model_type": "qwen2",
            "hidden_size": given["embed_dim"],
            "num_hidden_layers": given["num_layers"],
            "num_attention_heads": given["num_heads"],
            "num_key_value_heads": given["num_kv_heads"],
            "intermediate_size": given["intermediate_dim"],
            "vocab_size": given["vocab_size"],
            "tie_word_embeddings": given.get("tie_word_embeddings", False),
        }
        for name in _TORCHTUNE[node.name].split():
            yield Found(name, config, f"model builders in {_wheel_version(wheel)}")


_GENZ = {
    "Qwen/Qwen1.5-0.5B": ("qwen2", True),
    "Qwen/Qwen1.5-1.8B": ("qwen2", False),
    "Qwen/Qwen1.5-4B": ("qwen2", False),
    "Qwen/Qwen1.5-7B": ("qwen2", False),
    "Qwen/Qwen1.5-14B": ("qwen2", False),
    "Qwen/Qwen1.5-32B": ("qwen2", False),
    "Qwen/Qwen1.5-72B": ("qwen2", False),
    "Qwen/Qwen1.5-110B": ("qwen2", False),
    "mistralai/Ministral-8B-Instruct-2410": ("mistral", False),
    "nvidia/Mistral-NeMo-Minitron-8B-Base": ("mistral", False),
    "THUDM/glm-4-9b-chat": ("", False),
    "HuggingFaceH4/zephyr-7b-beta": ("mistral", False),
    "intfloat/e5-mistral-7b-instruct": ("mistral", False),
}
"""Entries of genz-llm that name the config.json they copy, their model_type, and whether embeddings are shared."""


def _genz(wheel: Path) -> Iterator[Found]:
    archive = zipfile.ZipFile(wheel)
    for member in archive.namelist():
        if "/Model_sets/" not in member or not member.endswith(".py"):
            continue
        for call in ast.walk(ast.parse(archive.read(member))):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "ModelConfig":
                yield from _genz_model(call, _wheel_version(wheel))


def _genz_model(call: ast.Call, version: str) -> Iterator[Found]:
    given = {}
    for word in call.keywords:
        try:
            given[word.arg] = eval(compile(ast.Expression(word.value), "", "eval"), {"__builtins__": {}})
        except NameError:
            continue
    kind, tied = _GENZ.get(given.get("model", ""), ("", False))
    if not kind:
        return
    yield Found(
        given["model"],
        {
            "model_type": kind,
            "hidden_size": given["hidden_size"],
            "num_hidden_layers": given["num_decoder_layers"],
            "num_attention_heads": given["num_attention_heads"],
            "num_key_value_heads": given["num_key_value_heads"],
            "head_dim": given.get("head_dim"),
            "intermediate_size": given["intermediate_size"],
            "vocab_size": given["vocab_size"],
            "tie_word_embeddings": tied,
        },
        f"Model_sets in {version}",
    )


_MAXTEXT = {
    "deepseek2-16b": ("deepseek-ai/DeepSeek-V2-Lite", "deepseek_v2"),
    "deepseek2-236b": ("deepseek-ai/DeepSeek-V2", "deepseek_v2"),
    "deepseek3-671b": ("deepseek-ai/DeepSeek-V3", "deepseek_v3"),
    "kimi-k2-1t": ("moonshotai/Kimi-K2-Instruct", "kimi_k2"),
    "llama3.3-70b": ("meta-llama/Llama-3.3-70B-Instruct", "llama"),
    "llama3-8b": ("meta-llama/Meta-Llama-3-8B", "llama"),
    "llama3-70b": ("meta-llama/Meta-Llama-3-70B", "llama"),
    "olmo3-7b": ("allenai/Olmo-3-1025-7B", "olmo3"),
    "olmo3-32b": ("allenai/Olmo-3-1125-32B", "olmo3"),
    "qwen2.5-14b": ("Qwen/Qwen2.5-14B", "qwen2"),
    "qwen3-480b-a35b": ("Qwen/Qwen3-Coder-480B-A35B-Instruct", "qwen3_moe"),
}


def _maxtext(folder: Path) -> Iterator[Found]:
    for stem, (name, kind) in _MAXTEXT.items():
        path = folder / f"{stem}.yml"
        if not path.exists():
            continue
        given = yaml.safe_load(path.read_text())
        config = {
            "model_type": kind,
            "hidden_size": given["base_emb_dim"],
            "num_hidden_layers": given["base_num_decoder_layers"],
            "num_attention_heads": given["base_num_query_heads"],
            "num_key_value_heads": given["base_num_kv_heads"],
            "head_dim": given.get("head_dim"),
            "intermediate_size": given["base_mlp_dim"],
            "vocab_size": given["vocab_size"],
            "tie_word_embeddings": bool(given.get("logits_via_embedding")),
        }
        if given.get("attention_type") == "mla":
            config |= {
                "q_lora_rank": given.get("q_lora_rank"),
                "kv_lora_rank": given["kv_lora_rank"],
                "qk_nope_head_dim": given["qk_nope_head_dim"],
                "qk_rope_head_dim": given["qk_rope_head_dim"],
                "v_head_dim": given["v_head_dim"],
            }
        if given.get("num_experts"):
            number = given["num_experts"]
            config |= {
                "n_routed_experts": number,
                "num_experts": number,
                "num_experts_per_tok": given["num_experts_per_tok"],
                "moe_intermediate_size": given["base_moe_mlp_dim"],
                "n_shared_experts": given.get("shared_experts", 0),
                "first_k_dense_replace": given.get("first_num_dense_layers", 0),
            }
        yield Found(name, config, "maxtext's configs/models")
