"""Closed forms against traces of transformers' own classes, stored by ``tools/check_decoders.py --write``.

torch 2.13, transformers 5.24, peft 0.21.2: three layers, four samples of 1,024 tokens, AdamW with foreach, second step.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from vramlint.memory.adapter import Adapter
from vramlint.memory.architecture import DecoderConfig
from vramlint.memory.catalogue import find_decoder
from vramlint.memory.decoder import Decoder
from vramlint.memory.hf_config import decoder_from_config
from vramlint.memory.knowledge import Workload
from vramlint.memory.mixers import Mamba2
from vramlint.plan import DecoderShape, Precision

STORED: dict[str, Any] = json.loads(Path(__file__).with_name("decoder_traces.json").read_text())
MIB = 2**20
MODES = ("bf16", "autocast", "fp32")
MODES += tuple(f"{mode}+checkpointing" for mode in MODES)
MODES += tuple(f"{mode}+lora" for mode in MODES)

PRECISIONS = {"bf16": Precision.PURE_BF16, "autocast": Precision.BF16, "fp32": Precision.FP32}

TOLERANCE = 0.005
"""Share of the traced peak that a formula may be off, in every mode that it answers."""

ROUGHER = {"gpt_oss_eager": 0.013}
"""Where the peak lies inside the backward of materialised scores, which are not followed tensor by tensor."""


def formula_mib(config: DecoderConfig, mode: str) -> float | None:
    kind, checkpointing, lora = mode.split("+")[0], "checkpointing" in mode, "lora" in mode
    every = [linear for _, block in config.kinds for linear in block.linears]
    targets = [each.name for each in every if not config.experts or each.reads in ("attention", "output", "mixed")]
    if any(isinstance(block.mixer, Mamba2) for _, block in config.kinds):
        targets.remove("out_proj")  # which peft refuses to adapt
    adapter = Adapter(16, tuple(dict.fromkeys(targets)), 4, fused=True) if lora else None
    decoder = Decoder("traced", config, "test", adapter)
    weight = 2 if kind == "bf16" else 4
    trained = 4 if lora else weight
    frozen = weight * (decoder.parameters - decoder.trainable)
    moments = decoder.moments(Workload(4, PRECISIONS[kind], checkpointing, seq_len=1024))
    if not moments:
        return None
    states = frozen + 3 * trained * decoder.trainable
    worst = max(states + moment.activation_bytes + trained * moment.gradient_elements for moment in moments)
    return max(worst, frozen + 5 * trained * decoder.trainable) / MIB


@pytest.mark.parametrize("name", STORED)
def test_formulas_equal_their_traces(name: str) -> None:
    config = decoder_from_config(STORED[name]["config"])
    assert config is not None
    config = config._replace(eager=name.endswith("_eager"))
    for mode, traced in STORED[name]["peaks_mib"].items():
        found = formula_mib(config, mode)
        if found is not None:
            error = found / traced - 1
            assert abs(error) <= ROUGHER.get(name, TOLERANCE), (name, mode, f"{error:+.2%}")


def test_formulas_answer_every_traced_architecture() -> None:
    answered = {
        name: sum(formula_mib(config, mode) is not None for mode in each["peaks_mib"])
        for name, each in STORED.items()
        if (config := decoder_from_config(each["config"]))
    }
    assert len(answered) == len(STORED) >= 42
    assert min(answered.values()) == len(MODES)


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is not installed")
@pytest.mark.parametrize("name", ["llama", "qwen3_moe"])
def test_the_stored_trace_can_be_traced_again(name: str) -> None:
    path = Path(__file__).parents[2] / "tools" / "check_decoders.py"
    spec = importlib.util.spec_from_file_location("check_decoders", path)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.torchvision_schemas()
    import transformers

    class_name, sizes = tool.ARCHITECTURES[name]
    config = getattr(transformers, class_name)(**sizes)
    traced = tool.traced_mib(config, tool.Mode("bf16", checkpointing=True, lora=False))
    assert traced == pytest.approx(STORED[name]["peaks_mib"]["bf16+checkpointing"], rel=1e-3)


def test_blocks_that_run_otherwise_are_not_covered() -> None:
    """Llama 4 sends every token to every expert."""
    found = find_decoder("meta-llama/Llama-4-Scout-17B-16E-Instruct")
    assert found is not None
    assert formula_mib(found.config, "bf16") is None


def test_autocast_caches_no_copy_of_a_frozen_weight() -> None:
    """Six small Llama layers, 1,000 words, one sample of 256 tokens, fp32 weights, checkpointing, LoRA: 333.01 MiB."""
    config = DecoderConfig(DecoderShape(1024, 6, 16, 4, 64, 2816, 1000, tied=False))
    adapter = Adapter(16, tuple(linear.name for linear in config.linears), 4)
    decoder = Decoder("llama", config, "test", adapter)
    moments = decoder.moments(Workload(1, Precision.BF16, checkpointing=True, seq_len=256))
    states = 4 * (decoder.parameters - decoder.trainable) + 12 * decoder.trainable
    worst = max(states + moment.activation_bytes + 4 * moment.gradient_elements for moment in moments)
    assert worst / MIB == pytest.approx(333.01, rel=0.01)
