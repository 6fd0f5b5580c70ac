"""Writes vramlint/memory/data/diffusion.json: traced profiles of diffusion denoisers; needs diffusers and peft.

Usage: python tools/make_diffusion.py [--counts] [NAME...]

Three ways to train each, with and without activation checkpointing: ``lora`` (bf16 weights, fp32 adapters of rank 16 on
the attention's projections, autocast), ``full`` (fp32 weights under autocast) and ``pure`` (bf16 weights, no autocast).
Named models are made again, the others kept; ``--counts`` counts
adapters again without tracing. ``diffusion_models.py`` says what each model is.
"""

from __future__ import annotations

import datetime
import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import torch
from diffusion_models import ATTENTION, MODELS, Denoiser
from torch import nn

from vramlint.trace.events import Shape
from vramlint.trace.making import VariantName, make_profile
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.targets import Target
from vramlint.trace.tracer import Job

TARGET = Path(__file__).parents[1] / "vramlint" / "memory" / "data" / "diffusion.json"
RANK = 16
SHAPES = (Shape(2, 256, 256), Shape(3, 448, 320), Shape(3, 256, 256), Shape(4, 512, 512))
CONFIRM = (Shape(1, 512, 512), Shape(2, 768, 512))
MODES = ("lora", "full", "pure")


def main(wanted: list[str]) -> int:
    document = json.loads(TARGET.read_text()) if TARGET.exists() else {"schema": 1, "models": []}
    kept = {entry["names"][0]: entry for entry in document["models"]}
    today = datetime.date.today().isoformat()
    if wanted == ["--counts"]:
        for denoiser in MODELS:
            if denoiser.names[0] in kept:
                kept[denoiser.names[0]] |= {**adapters(build(denoiser)), "names": denoiser.names}
        _write(kept)
        return 0
    for denoiser in MODELS:
        if wanted and denoiser.names[0] not in wanted:
            continue
        kept[denoiser.names[0]] = entry(denoiser, today)
        _write(kept)
    return 0


def _write(kept: dict[str, dict[str, Any]]) -> None:
    rows = ",\n".join(json.dumps(each, separators=(",", ":")) for each in kept.values())
    TARGET.write_text(f'{{"schema":1,"models":[\n{rows}\n]}}\n')


def entry(denoiser: Denoiser, today: str) -> dict[str, Any]:
    """The model's parameters, adapter elements a rank, and its variants by mode."""
    variants: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for mode in MODES:
        precision = "fp32" if mode == "pure" else "amp"
        ways = [VariantName(precision, checkpointing) for checkpointing in (False, True)]
        found = make_profile(target(denoiser, mode), today, lambda line: print(line, flush=True), ways)
        for way in ways:
            variants[f"{mode}+checkpointing" if way.checkpointing else mode] = found["variants"][str(way)]
    made = {name: found[name] for name in ("built_by", "date")}
    model = build(denoiser)
    parameters = sum(each.numel() for each in model.parameters())
    if denoiser.parameters not in (0, parameters):
        raise ValueError(f"{denoiser.names[0]} has {parameters:,} parameters, not {denoiser.parameters:,}")
    return {
        "names": denoiser.names, "parameters": parameters, **adapters(model), "source": denoiser.source,
        **made, "variants": variants,
    }  # fmt: skip


def adapters(model: nn.Module) -> dict[str, int]:
    """LoRA elements for each rank: on the attention's projections, and on every linear layer of the blocks."""
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    attention = [module for name, module in linear.items() if re.fullmatch(ATTENTION, f".{name}")]
    inside = [module for name, module in linear.items() if "blocks." in name and "norm" not in name]
    counts = [sum(module.in_features + module.out_features for module in each) for each in (attention, inside)]
    return {"lora_per_rank": counts[0], "lora_per_rank_all": counts[1]}


def build(denoiser: Denoiser, dtype: torch.dtype = torch.float32) -> Any:
    """The model, on the meta device outside a trace."""
    kind = getattr(importlib.import_module("diffusers"), denoiser.kind)
    with torch.device("meta"):
        return kind(**denoiser.arguments).to(dtype)


def target(denoiser: Denoiser, mode: str) -> Target:
    def make(shape: Shape, checkpointing: bool) -> Job:
        diffusers = importlib.import_module("diffusers")
        dtype = torch.float32 if mode == "full" else torch.bfloat16
        model = getattr(diffusers, denoiser.kind)(**denoiser.arguments)
        model.to(dtype)
        if mode == "lora":
            peft = importlib.import_module("peft")
            model.requires_grad_(requires_grad=False)
            model.add_adapter(peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules=ATTENTION))
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.data = parameter.data.float()
        if checkpointing:
            model.enable_gradient_checkpointing()

        def batch() -> dict[str, Any]:
            return denoiser.inputs(shape.batch, shape.height, shape.width, dtype)

        def loss(model: nn.Module, given: dict[str, Any]) -> torch.Tensor:
            predicted = model(**given, return_dict=False)[0].float()
            return nn.functional.mse_loss(predicted, torch.zeros_like(predicted))

        return Job(model, batch, loss)

    return Target(
        f"{denoiser.names[0]} {mode}", make, ("diffusers", "peft", "torch"), (), has_checkpointing=True, shapes=SHAPES,
        confirm=CONFIRM, size_multiple=denoiser.multiple, tolerance=0.02,
    )  # fmt: skip


torchvision_schemas()

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
