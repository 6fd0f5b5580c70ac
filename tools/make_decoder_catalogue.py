"""Writes vramlint/memory/data/decoders.json: shapes of public decoder LLMs, from litgpt's and torchtune's tables.

Usage: python tools/make_decoder_catalogue.py LITGPT_WHEEL TORCHTUNE_WHEEL

Shapes are facts of public model cards; litgpt's ``config.py`` (Apache-2.0) lists them per checkpoint and torchtune's
model builders (BSD-3) say which share input and output embeddings. Nothing of either package runs but litgpt's
``config.py``, which only computes defaults. Mixture-of-experts models are left out until their formula exists.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "vramlint" / "memory" / "data" / "decoders.json"

TIED = re.compile(
    r"gemma|falcon-|SmolLM|Llama-3\.2-[13]B|Phi-4-mini|OLMo-1B"
    r"|Qwen2(\.5)?-(Coder-|Math-)?(0\.5|1\.5|3)B|Qwen3-(0\.6|1\.7|4)B"
)
"""Checkpoints that share input and output embeddings (``tie_word_embeddings`` of their config.json). Checked against
the size in the name: untied, Qwen3-0.6B would have 0.75 B parameters, SmolLM2-135M 163 M, Phi-4-mini 4.5 B."""

FUSED = re.compile(r"Phi-[34]|Phi-3\.5|phi-4|pythia|stablelm-(base|tuned)-alpha|stablecode-\w+-alpha|falcon-")
"""Checkpoints whose transformers class projects queries, keys and values at once: Phi3, GPTNeoX and Falcon models."""

SKIPPED = {"Platypus2-70B"}
"""litgpt gives it 64 KV heads, unlike the Llama-2-70B it is made of."""

TORCHTUNE = {
    "qwen2_7b": "Qwen/Qwen2-7B-Instruct Qwen/Qwen2-7B",
    "qwen2_0_5b": "Qwen/Qwen2-0.5B-Instruct Qwen/Qwen2-0.5B",
    "qwen2_1_5b": "Qwen/Qwen2-1.5B-Instruct Qwen/Qwen2-1.5B",
}
"""Builders of torchtune whose checkpoints litgpt lacks."""


def main(argv: list[str]) -> int:
    litgpt, torchtune = map(Path, argv)
    rows = litgpt_rows(litgpt) + torchtune_rows(torchtune)
    rows.sort(key=lambda row: row["name"].lower())
    document = {
        "schema": 1,
        "source": f"facts of public model cards, read from {litgpt.name} and {torchtune.name}",
        "columns": COLUMNS,
    }
    lines = ",\n".join("    " + json.dumps([row[column] for column in COLUMNS]) for row in rows)
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(document, indent=2)[:-2] + f',\n  "models": [\n{lines}\n  ]\n}}\n')
    print(f"{len(rows)} decoders written to {TARGET.relative_to(ROOT)}")
    return 0


COLUMNS = [
    "name", "hidden", "layers", "heads", "kv_heads", "head_dim", "ffn", "vocabulary", "tied", "qkv_bias",
    "gated", "norm", "norms_per_layer", "qk_norm", "biases", "shared_norm", "soft_capped", "head_bias",
    "parallel", "fused_qkv", "python_gelu",
]  # fmt: skip


def litgpt_rows(wheel: Path) -> list[dict[str, Any]]:
    module = load_config(wheel)
    rows = {}
    for entry in module.configs:
        config = module.Config(**entry)
        name = f"{config.hf_config['org']}/{config.hf_config['name']}"
        if config.n_expert or config.hf_config["name"] in SKIPPED:
            continue
        rows[name] = litgpt_row(name, config)
    return list(rows.values())


def load_config(wheel: Path) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(zipfile.ZipFile(wheel).extract("litgpt/config.py", folder))
        spec = importlib.util.spec_from_file_location("litgpt_config", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["litgpt_config"] = module
        spec.loader.exec_module(module)
    return module


def litgpt_row(name: str, config: Any) -> dict[str, Any]:
    gemma = config.mlp_class_name == "GemmaMLP"
    return {
        "name": name,
        "hidden": config.n_embd,
        "layers": config.n_layer,
        "heads": config.n_head,
        "kv_heads": config.n_query_groups,
        "head_dim": config.head_size,
        "ffn": config.intermediate_size,
        "vocabulary": config.padded_vocab_size,
        "tied": bool(TIED.search(name)),
        "qkv_bias": bool(config.attn_bias),
        "gated": config.mlp_class_name in ("LLaMAMLP", "GemmaMLP"),
        "norm": "gemma" if gemma else "rms" if config.norm_class_name == "RMSNorm" else "layer",
        "norms_per_layer": 4 if config.post_mlp_norm and gemma else 2,
        "qk_norm": bool(config.norm_qk),
        "biases": bool(config.bias),
        "shared_norm": bool(config.shared_attention_norm),
        "soft_capped": config.attention_logit_softcapping is not None,
        "head_bias": bool(config.lm_head_bias),
        "parallel": bool(config.parallel_residual),
        "fused_qkv": bool(FUSED.search(name)),
        "python_gelu": bool(re.search(r"/phi-(1_5|2)$", name)),
    }


def torchtune_rows(wheel: Path) -> list[dict[str, Any]]:
    rows = []
    archive = zipfile.ZipFile(wheel)
    tree = ast.parse(archive.read("torchtune/models/qwen2/_model_builders.py"))
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or node.name not in TORCHTUNE:
            continue
        call = next(found for found in ast.walk(node) if isinstance(found, ast.Return)).value
        assert isinstance(call, ast.Call)
        given = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
        for name in TORCHTUNE[node.name].split():
            rows.append(torchtune_row(name, given))
    return rows


def torchtune_row(name: str, given: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "hidden": given["embed_dim"],
        "layers": given["num_layers"],
        "heads": given["num_heads"],
        "kv_heads": given["num_kv_heads"],
        "head_dim": given["embed_dim"] // given["num_heads"],
        "ffn": given["intermediate_dim"],
        "vocabulary": given["vocab_size"],
        "tied": given.get("tie_word_embeddings", False),
        "qkv_bias": True,  # torchtune.models.qwen2.qwen2 builds q, k and v with bias
        "gated": True,
        "norm": "rms",
        "norms_per_layer": 2,
        "qk_norm": False,
        "biases": False,
        "shared_norm": False,
        "soft_capped": False,
        "head_bias": False,
        "parallel": False,
        "fused_qkv": False,
        "python_gelu": False,
    }


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
