"""The ledger of transformers against traces of their own classes, stored by ``tools/check_networks.py --write``.

torch 2.13, transformers 5.24, peft 0.21.2: stacks of four and five blocks, one AdamW step with foreach, the second.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from vramlint.memory.networks.families import network_from_config
from vramlint.memory.networks.stepping import Lora, Way

STORED: dict[str, Any] = json.loads(Path(__file__).parents[1].joinpath("network_traces.json").read_text())
MIB = 2**20
TOLERANCE = 0.005
"""Share of the traced peak that the ledger may be off."""

UNEXPLAINED = 0.02
"""DINOv2 and ViT are off by up to one tensor of tokens (2 MiB of small models), above it when trained whole under
autocast, below it behind adapters; UMT5 by 1 % where checkpointed behind adapters. The causes were not found."""


def ledger_mib(name: str, mode: str) -> float:
    case = STORED[name]
    network = network_from_config(name, case["config"], "config.json")
    assert network is not None
    precision, *words = mode.split("+")
    weight = 2 if precision == "bf16" else 4
    lora = None
    if any(word.startswith("lora") for word in words):
        lora = Lora(16, () if "lora-all" in words else network.family.query_value)
    way = Way(
        weight, half=precision == "autocast", checkpointing="checkpointing" in words,
        kernel="eager" if "eager" in words else "sdpa", lora=lora, padded="padded" in words, traced=True,
    )  # fmt: skip
    step = network.step(way, case["sizes"])
    trained = 4 if lora else weight
    frozen = weight * (step.parameters - step.trainable)
    states = frozen + 3 * trained * step.trainable
    worst = max(states + moment.activation_bytes + trained * moment.gradient_elements for moment in step.moments)
    return max(worst, step.held_bytes + frozen + 5 * trained * step.trainable) / MIB


@pytest.mark.parametrize("name", STORED)
def test_the_ledger_equals_its_traces(name: str) -> None:
    most = UNEXPLAINED if name.startswith(("dinov2", "umt5", "vit", "deit")) else TOLERANCE
    for mode, traced in STORED[name]["peaks_mib"].items():
        error = ledger_mib(name, mode) / traced - 1
        assert abs(error) <= most, (name, mode, f"{error:+.2%}")


@pytest.mark.parametrize("name", STORED)
def test_parameters_are_those_of_transformers(name: str) -> None:
    network = network_from_config(name, STORED[name]["config"], "config.json")
    assert network is not None
    assert network.parameters == STORED[name]["parameters"]


def test_most_modes_are_within_half_a_percent() -> None:
    errors = [
        abs(ledger_mib(name, mode) / traced - 1)
        for name, case in STORED.items()
        for mode, traced in case["peaks_mib"].items()
    ]
    assert len(errors) >= 250
    assert sum(error <= TOLERANCE for error in errors) >= 0.95 * len(errors)


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is not installed")
@pytest.mark.parametrize("name", ["whisper", "bert"])
def test_the_stored_trace_can_be_traced_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Path(__file__).parents[3] / "tools"
    monkeypatch.syspath_prepend(str(tools))
    tool = importlib.import_module("check_networks")
    tool.torchvision_schemas()
    traced = tool.traced_mib(tool.CASES[name], tool.Mode.read("bf16+checkpointing"))
    assert traced == pytest.approx(STORED[name]["peaks_mib"]["bf16+checkpointing"], rel=1e-3)
