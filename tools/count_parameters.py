"""Counts the parameters of every catalogue entry by building its model on the meta device; needs transformers.

Usage: python tools/count_parameters.py [--write] [NAME...]

Prints entries whose closed form differs; ``--write`` keeps the counts in tests/data/parameter_counts.json, with which
the tests compare without transformers. Exit code 1 where a count differs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from vramlint.memory.catalogue import decoders
from vramlint.trace.stand_ins import torchvision_schemas

torchvision_schemas()  # before transformers, which imports torchvision where it is installed

import transformers  # noqa: E402

TARGET = Path(__file__).parents[1] / "tests" / "data" / "parameter_counts.json"
RENAMED = {
    "kimi_k2": "deepseek_v3", "qwen": "qwen2", "baichuan": "llama", "internlm": "llama", "internlm2": "llama",
    "chatglm": "qwen2", "minicpm": "llama",
}  # fmt: skip
"""Types whose checkpoints bring their own code, and the transformers class with the same modules."""
TEXT_PREFIXES = ("model.language_model.", "language_model.", "model.text_model.", "lm_head.")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args(argv)
    counted: dict[str, list[int]] = {}
    wrong = 0
    for entry in decoders():
        if arguments.names and entry.name not in arguments.names:
            continue
        try:
            text, rest = count(entry.raw)
        except Exception as error:  # noqa: BLE001 - one class that cannot be built must not stop the others; printed
            print(f"not built: {entry.name}: {type(error).__name__}: {str(error)[:150]}")
            continue
        counted[entry.name] = [text, rest]
        found = [entry.config.parameters, 0 if entry.tower is None else entry.tower.parameters]
        if found != [text, rest]:
            wrong += 1
            kind = entry.raw["model_type"]
            print(f"differs: {entry.name} ({kind}): formula {found}, model {[text, rest]}, {found[0] - text:+,}")
    print(f"{len(counted)} counted with transformers {transformers.__version__}, {wrong} differ")
    if arguments.write:
        document = {"transformers": transformers.__version__, "counts": counted}
        TARGET.write_text(json.dumps(document, indent=0) + "\n")
    return 1 if wrong else 0


def count(config: dict[str, Any]) -> tuple[int, int]:
    """Parameters of the text model with its head, and of the vision tower and projector."""
    kind = config["model_type"]
    built = transformers.AutoConfig.for_model(RENAMED.get(kind, kind), **_arguments(config))
    auto = transformers.AutoModelForCausalLM
    if "vision_config" in config:
        auto = transformers.AutoModelForImageTextToText
    with torch.device("meta"):
        model = auto.from_config(built)
    text = rest = 0
    for name, parameter in model.named_parameters():
        if "vision_config" not in config or name.startswith(TEXT_PREFIXES):
            text += parameter.numel()
        else:
            rest += parameter.numel()
    return text, rest


def _arguments(config: dict[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in config.items() if key != "model_type"}
    if config["model_type"] == "qwen":
        given["intermediate_size"] //= 2
        given["num_key_value_heads"] = given["num_attention_heads"]
    if config["model_type"] in ("internlm", "internlm2"):
        given["attention_bias"] = given.pop("bias")
    if config["model_type"] == "chatglm":
        given["num_hidden_layers"] = given.pop("num_layers")
        given["vocab_size"] = given.pop("padded_vocab_size")
        given["intermediate_size"] = given.pop("ffn_hidden_size")
        given["num_key_value_heads"] = given.pop("multi_query_group_num")
    if config["model_type"] in ("gpt2", "gpt_bigcode") and "intermediate_size" in given:
        given["n_inner"] = given.pop("intermediate_size")
    if config["model_type"] == "opt" and "intermediate_size" in given:
        given["ffn_dim"] = given.pop("intermediate_size")
    if config["model_type"] == "falcon":
        given["ffn_hidden_size"] = given.pop("intermediate_size", None)
        given.pop("head_dim", None)
    return given


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
