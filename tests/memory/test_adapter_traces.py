"""Formulas of PEFT's methods against traces of whole steps, stored by ``tools/check_adapters.py --write``.

torch 2.13, transformers 5.24, peft 0.21.2: a Llama of three layers in bfloat16, AdamW with foreach, second step, at two
batch sizes. Methods that fake tensors cannot follow are held to the saved tensors of a real step in ``test_adapters``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vramlint.memory.adapter import Adapter
from vramlint.memory.adapters import METHODS
from vramlint.memory.architecture import DecoderConfig
from vramlint.memory.decoder import Decoder
from vramlint.memory.knowledge import Workload
from vramlint.plan import DecoderShape, Precision

STORED: dict[str, Any] = json.loads(Path(__file__).with_name("adapter_traces.json").read_text())
CONFIG = DecoderConfig(DecoderShape(1024, 3, 16, 4, 64, 2816, 16000, tied=True))
MIB = 2**20

TOLERANCE = 0.005


def formula_mib(name: str, run: dict[str, Any], batch: int, length: int) -> float:
    adapter = Adapter(
        run["rank"], tuple(run["targets"]), 4, fused=True, method=METHODS.get(name), trained=run["trained"],
        virtual_tokens=run["virtual_tokens"],
    )  # fmt: skip
    decoder = Decoder(name, CONFIG, "test", adapter)
    frozen = 2 * (decoder.parameters - decoder.trainable + adapter.frozen_elements(CONFIG))
    moments = decoder.moments(Workload(batch, Precision.PURE_BF16, checkpointing=False, seq_len=length))
    states = frozen + 12 * decoder.trainable
    worst = max(states + moment.activation_bytes + 4 * moment.gradient_elements for moment in moments)
    return max(worst, frozen + 20 * decoder.trainable) / MIB


@pytest.mark.parametrize("name", sorted(set(STORED) & {*METHODS, "lora"}))
def test_a_step_behind_adapters_equals_its_trace(name: str) -> None:
    for shape, traced in STORED[name]["peaks_mib"].items():
        batch, length = map(int, shape.split("x"))
        error = formula_mib(name, STORED[name], batch, length) / traced - 1
        assert abs(error) <= TOLERANCE, (name, shape, f"{error:+.2%}")


RECORDED = {"frod", "boft", "vera", "pvera", "randlora", "shira", "vblora", "unilora"}
"""Methods whose saved tensors were recorded in a real step (``test_adapters.RECORDED``)."""


def test_every_method_was_traced_or_recorded() -> None:
    assert set(METHODS) - set(STORED) == RECORDED
    assert len(STORED) >= 28
