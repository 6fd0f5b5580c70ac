"""Traces whole training steps of small encoders and encoder-decoders and holds ``memory/networks`` against them.

Usage: python tools/check_networks.py [--write] [NAME ...]

Needs torch, transformers and peft. Each architecture is built from a small config of its own transformers class, and
one AdamW step (the second, with its states) is traced with fake tensors in every mode. ``--write`` stores the traced
peaks in ``tests/memory/network_traces.json``, which the tests compare with the ledger where transformers is not
installed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from check_decoders import second_peak
from network_cases import CASES, Case

from vramlint.memory.networks.families import network_from_config
from vramlint.memory.networks.knowledge import Network
from vramlint.memory.networks.stepping import Lora, Way
from vramlint.trace.events import Shape
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.tracer import Job, Options, record

RESULTS = Path(__file__).parent.parent / "tests" / "memory" / "network_traces.json"
MIB = 2**20


class Mode(NamedTuple):
    """How a step runs: ``bf16``, ``autocast`` (fp32 weights) or ``fp32``; ``lora`` is PEFT's, rank 16."""

    precision: str
    checkpointing: bool = False
    lora: str = ""
    """``all`` linear layers, or ``qv``: the queries' and values' projections."""
    kernel: str = "sdpa"
    padded: bool = False
    """Whether a sample is shorter than its batch, so that a mask is made."""

    @property
    def name(self) -> str:
        parts = (
            self.precision,
            *["padded"] * self.padded,
            *["checkpointing"] * self.checkpointing,
            *[f"lora-{self.lora}"] * bool(self.lora),
        )
        return "+".join((*parts, *["eager"] * (self.kernel == "eager")))

    @classmethod
    def read(cls, name: str) -> Mode:
        precision, *rest = name.split("+")
        lora = next((part[5:] for part in rest if part.startswith("lora-")), "")
        return cls(precision, "checkpointing" in rest, lora, "eager" if "eager" in rest else "sdpa", "padded" in rest)


MODES = (
    "bf16", "autocast", "fp32", "bf16+checkpointing", "autocast+checkpointing", "bf16+padded", "autocast+padded",
    "bf16+lora-all", "autocast+lora-qv", "bf16+checkpointing+lora-all", "fp32+checkpointing+lora-qv",
    "autocast+padded+eager",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="architectures to trace (default: all)")
    parser.add_argument("--write", action="store_true", help=f"store the traced peaks in {RESULTS.name}")
    parser.add_argument("--modes", nargs="*", help="modes to trace (default: all)")
    arguments = parser.parse_args()
    torchvision_schemas()
    stored: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in arguments.names or CASES:
        modes = [Mode.read(each) for each in arguments.modes or MODES]
        stored[name] = _compared(name, modes)
        if arguments.write:
            _write(stored)
    return 0


def _compared(name: str, modes: Any) -> dict[str, Any]:
    case = CASES[name]
    config = case.config()
    data = json.loads(config.to_json_string(use_diff=False))
    data = {"architectures": [case.model], **data, **case.said}
    found = network_from_config(name, data, "config.json")
    peaks: dict[str, float] = {}
    if found is not None:
        meta = case.meta_parameters(config)
        print(
            f"{name}: {found.parameters:,} parameters, transformers {meta:,}", "" if meta == found.parameters else "!!!"
        )
    for mode in modes:
        try:
            traced = traced_mib(case, mode)
        except Exception as error:  # noqa: BLE001 - one architecture that cannot be traced must not stop the table
            print(f"{name:<14} {mode.name:<30} not traced: {type(error).__name__}: {str(error)[:300]}")
            continue
        peaks[mode.name] = round(traced, 2)
        said = ledger_mib(found, case.sizes, mode) if found else None
        error_text = f"{said:10.1f} {said / traced - 1:+8.2%}" if said else "         -"
        print(f"{name:<14} {mode.name:<30} {traced:10.1f} {error_text}", flush=True)
    return {"config": data, "sizes": case.sizes, "parameters": case.meta_parameters(config), "peaks_mib": peaks}


def ledger_mib(network: Network, sizes: dict[str, int], mode: Mode) -> float | None:
    """The ledger's worst moment with weights, gradients and AdamW's states (foreach), in MiB."""
    lora = Lora(16, () if mode.lora == "all" else network.family.query_value) if mode.lora else None
    weight = 2 if mode.precision == "bf16" else 4
    way = Way(
        weight, half=mode.precision == "autocast", checkpointing=mode.checkpointing, kernel=mode.kernel, lora=lora,
        padded=mode.padded, traced=True,
    )  # fmt: skip
    step = network.step(way, sizes)
    trained = 4 if mode.lora else weight
    frozen = weight * (step.parameters - step.trainable)
    states = frozen + 3 * trained * step.trainable
    worst = max(states + moment.activation_bytes + trained * moment.gradient_elements for moment in step.moments)
    return max(worst, step.held_bytes + frozen + 5 * trained * step.trainable) / MIB


def traced_mib(case: Case, mode: Mode) -> float:
    """The peak of the second traced step, in MiB."""
    options = Options(dtype=torch.bfloat16 if mode.precision == "autocast" else None, evaluation=False)
    return second_peak(record(lambda: _job(case, mode), Shape(1), options)) / MIB


def _skips_mask(*arguments: Any) -> bool:
    """As transformers answers for a mask without padding."""
    return len(arguments) < 3 or arguments[2] is None or arguments[1] < arguments[2]


def _job(case: Case, mode: Mode) -> Job:
    torch.set_default_dtype(torch.bfloat16 if mode.precision == "bf16" else torch.float32)
    try:
        model = case.built(case.config(), attn_implementation=mode.kernel)
    finally:
        torch.set_default_dtype(torch.float32)
    from transformers import masking_utils

    masking_utils._ignore_bidirectional_mask_sdpa = (lambda *_: False) if mode.padded else _skips_mask
    model.tie_weights()  # fake parameters lose the tie while the model is built
    case.untie(model)
    if mode.lora:
        import peft

        targets = "all-linear" if mode.lora == "all" else list(case.targets)
        model = peft.get_peft_model(model, peft.LoraConfig(r=16, target_modules=targets))
    if mode.checkpointing:
        if mode.lora:
            model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    dtype = torch.bfloat16 if mode.precision == "bf16" else torch.float32

    def loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        found: torch.Tensor = case.loss(model, batch)
        return found

    return Job(
        model, lambda: case.batch(dtype), loss, None,
        lambda parameters: torch.optim.AdamW(parameters, lr=1e-4, foreach=True),
    )  # fmt: skip


def _write(stored: dict[str, Any]) -> None:
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(found)}" for name, found in sorted(stored.items()))
    RESULTS.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    raise SystemExit(main())
