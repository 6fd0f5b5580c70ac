"""Writes vramlint/memory/data/diffusion.json: traced profiles of diffusion denoisers; needs diffusers and peft.

Usage: python tools/make_diffusion.py [--check] [--facts] [--mode MODE]... [NAME...]

The ways to train, each with and without activation checkpointing: ``lora`` and ``lora-all`` hold the base in bf16 and
fp32 adapters (on the attention's projections, on every linear layer of the blocks) under autocast, ``lora16`` bf16
adapters, ``lora-all-plain`` fp32 adapters without autocast; ``full`` trains fp32 weights under autocast, ``half`` bf16
weights under it, ``pure`` bf16 weights and ``fp32`` fp32 weights without it. Models whose blocks are equal are traced
with two and three of them (``layered.py``); ``--check`` traces named models whole as well, at a shape and a rank that
made nothing, and compares. Named models are made again, the others kept, as are modes that are not named.
``diffusion_models.py`` says what each model is.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import importlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusion_beside import beside
from diffusion_models import ATTENTION, MODELS, Denoiser
from layered import as_json, layered
from torch import nn

from vramlint.errors import TraceError
from vramlint.trace.events import Recording, Shape
from vramlint.trace.pairing import Point, TooFewShapes, reduce_on
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.tracer import Job, Options, record

TARGET = Path(__file__).parents[1] / "vramlint" / "memory" / "data" / "diffusion.json"
TERMS = ("1", "B", "HW", "BHW")
RANK_TERMS = ("R", "BR", "BHWR")
TOLERANCE = 0.005


class Run(NamedTuple):
    """One trace: batch and size, and the adapters' rank."""

    shape: Shape
    rank: int

    def terms(self, names: Sequence[str]) -> tuple[int, ...]:
        return term_values(names, self.shape.batch, self.shape.height * self.shape.width, self.rank)


def term_values(names: Sequence[str], batch: int, pixels: int, rank: int) -> tuple[int, ...]:
    parts = {"1": 1, "B": batch, "HW": pixels, "BHW": batch * pixels}
    return tuple(parts[name.removesuffix("R") or "1"] * (rank if name.endswith("R") else 1) for name in names)


RUNS = (
    Run(Shape(2, 256, 256), 16),
    Run(Shape(3, 384, 320), 48),
    Run(Shape(4, 256, 512), 24),
    Run(Shape(3, 256, 256), 32),
    Run(Shape(5, 512, 448), 8),
    Run(Shape(2, 256, 320), 64),
    Run(Shape(4, 512, 256), 96),
)
"""Sizes whose tokens of 16 x 16 pixels are a multiple of 32, to which Z-Image fills them up."""
CHECKED = Run(Shape(2, 512, 512), 16)
RANK = RUNS[0].rank


class Mode(NamedTuple):
    """A way to train: the weights' type, autocast, and which layers get adapters of which type."""

    weights: torch.dtype
    autocast: bool
    adapted: str = ""
    adapters: torch.dtype = torch.float32

    @property
    def terms(self) -> tuple[str, ...]:
        return (*TERMS, *RANK_TERMS) if self.adapted else TERMS


BF16 = torch.bfloat16
MODES = {
    "full": Mode(torch.float32, autocast=True),
    "pure": Mode(BF16, autocast=False),
    "lora": Mode(BF16, autocast=True, adapted="attention"),
    "lora-all": Mode(BF16, autocast=True, adapted="all"),
    "lora16": Mode(BF16, autocast=True, adapted="attention", adapters=BF16),
    "lora-all-plain": Mode(BF16, autocast=False, adapted="all"),
    "half": Mode(BF16, autocast=True),
    "fp32": Mode(torch.float32, autocast=False),
}
LARGE = 1_000_000_000
"""Parameters from which on nobody trains a whole transformer without activation checkpointing, or wholly in fp32."""

CHECKED_MODES = ("lora-all", "full")
"""What ``--check`` traces whole, with activation checkpointing."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--mode", action="append", choices=MODES)
    parser.add_argument("--facts", action="store_true", help="names and counts alone; nothing is traced")
    parser.add_argument("names", nargs="*")
    given = parser.parse_args(arguments)
    known = {denoiser.names[0]: denoiser for denoiser in MODELS}
    failed = 0
    for name in given.names or known:
        try:
            keep(entry(known[name], [] if given.facts else given.mode or list(MODES), checked=given.check))
        except Exception as error:  # noqa: BLE001 - one model that cannot be traced must not stop the others; printed
            failed += 1
            print(f"{name}: {type(error).__name__}: {str(error)[:300]}", flush=True)
    return 1 if failed else 0


def keep(made: dict[str, Any]) -> None:
    """Put one model into the file, which is read again: its methods, and what others wrote meanwhile, stay."""
    document = json.loads(TARGET.read_text()) if TARGET.exists() else {"models": []}
    kept = {each["names"][0]: each for each in document["models"]}
    name = made["names"][0]
    before = kept.get(name, {})
    methods = {key: value for key, value in before.items() if key == "methods"}
    variants = {**before.get("variants", {}), **made["variants"]}
    when = {} if made["variants"] or not before else {key: before[key] for key in ("built_by", "date")}
    kept[name] = {**made, **methods, **when, "variants": variants}
    rows = ",\n".join(json.dumps(each, separators=(",", ":")) for each in kept.values())
    TARGET.write_text(f'{{"schema":2,"models":[\n{rows}\n]}}\n')


def entry(denoiser: Denoiser, modes: Sequence[str], *, checked: bool) -> dict[str, Any]:
    """The model's parameters, adapter elements a rank, what a further block adds, and its variants by mode."""
    whole, counts = build(denoiser, denoiser.stacks), adapters(build(denoiser, denoiser.stacks))
    parameters = sum(each.numel() for each in whole.parameters())
    if denoiser.parameters not in (0, parameters):
        raise ValueError(f"{denoiser.names[0]} has {parameters:,} parameters, not {denoiser.parameters:,}")
    variants = {}
    for name in [] if denoiser.like else modes:
        mode = MODES[name]
        large = bool(denoiser.stacks) and parameters > LARGE and not mode.adapted
        if large and name == "fp32":
            continue
        for checkpointing in (True,) if large else (False, True):
            key = f"{name}+checkpointing" if checkpointing else name
            variants[key] = variant(denoiser, mode, checkpointing)
            print(denoiser.names[0], key, {part: len(variants[key][part]) for part in ("fresh", "kept")}, flush=True)
            if checked and checkpointing and name in CHECKED_MODES:
                print("  off by", check(denoiser, mode, checkpointing, variants[key]), flush=True)
    return {
        "names": denoiser.names,
        "kind": denoiser.kind,
        "config": _config(whole, denoiser),
        "parameters": parameters,
        "buffers": sum(each.numel() for each in whole.buffers()),
        **counts,
        "source": denoiser.source,
        "frames": denoiser.frames,
        **beside(denoiser),
        "stacks": denoiser.stacks,
        "per_layer": _per_layer(denoiser, parameters, counts),
        **({"like": denoiser.like} if denoiser.like else {}),
        **({"pictures": denoiser.pictures} if denoiser.pictures > 1 else {}),
        "built_by": {package: metadata.version(package).split("+")[0] for package in ("diffusers", "peft", "torch")},
        "date": datetime.date.today().isoformat(),
        "variants": variants,
    }


_SIDE_OF_INPUTS = re.compile(r"^_|sample_|pos_embed_max_size|interpolation_scale|axes_lens|max_size|_tokens$|rope_")


def _config(model: Any, denoiser: Denoiser) -> dict[str, Any]:
    """What a ``config.json`` must have in common with this model; the counts of blocks may differ."""
    found = {key: value for key, value in dict(model.config).items() if not _SIDE_OF_INPUTS.search(key)}
    plain = json.loads(json.dumps({key: value for key, value in found.items() if key not in denoiser.stacks}))
    return {key: value for key, value in plain.items() if value is not None}


def _per_layer(denoiser: Denoiser, parameters: int, counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    result = {}
    for stack, number in denoiser.stacks.items():
        fewer = build(denoiser, {**denoiser.stacks, stack: number - 1})
        less = {"parameters": sum(each.numel() for each in fewer.parameters()), **adapters(fewer)}
        result[stack] = {key: {"parameters": parameters, **counts}[key] - less[key] for key in less}
    return result


def _inside(name: str) -> bool:
    """Whether a layer lies in a block and is no part of a norm (its modulation) or of a residual block's time."""
    return re.search(r"\.\d+\.", name) is not None and "norm" not in name and "time_emb" not in name


def adapters(model: nn.Module) -> dict[str, int]:
    """LoRA elements for each rank, on the attention's projections and on every linear layer of the blocks; what
    quantisation takes: all linear layers' elements, and the largest layer's."""
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    attention = [module for name, module in linear.items() if re.fullmatch(ATTENTION, f".{name}")]
    inside = [module for name, module in linear.items() if _inside(name)]
    elements = [module.weight.numel() for module in linear.values()]
    ranks = [sum(module.in_features + module.out_features for module in each) for each in (attention, inside)]
    return {"lora_per_rank": ranks[0], "lora_per_rank_all": ranks[1], "linear": sum(elements), "largest": max(elements)}


def build(denoiser: Denoiser, counts: Mapping[str, int]) -> Any:
    """The model on the meta device."""
    kind = getattr(importlib.import_module("diffusers"), denoiser.kind)
    with torch.device("meta"):
        return kind(**denoiser.built_with(dict(counts)))


def variant(denoiser: Denoiser, mode: Mode, checkpointing: bool) -> dict[str, Any]:
    """One way to train, from as few traces as tell what every storage follows."""
    recordings: dict[tuple[int, ...], list[Recording]] = {}
    for number in range(2, len(RUNS) + 1):
        rows = [run.terms(mode.terms) for run in RUNS[:number]]

        def traced(counts: Mapping[str, int], runs: Sequence[Run] = RUNS[:number]) -> list[Recording]:
            have = recordings.setdefault(tuple(counts.values()), [])
            have += [trace(denoiser, mode, checkpointing, counts, run) for run in runs[len(have) :]]
            return have

        try:
            found = layered(traced, tuple(denoiser.stacks), rows)
        except TooFewShapes:
            continue
        gc.collect()
        return as_rows(found, denoiser, mode)
    raise TraceError(f"{denoiser.names[0]}: {len(RUNS)} shapes do not tell what its storages follow")


def as_rows(found: Any, denoiser: Denoiser, mode: Mode) -> dict[str, Any]:
    counts = tuple(denoiser.stacks.values())
    grid = [
        term_values(mode.terms, batch, side * side, rank)
        for batch in (1, 2, 4, 8, 16, 32)
        for side in (256, 512, 768, 1024, 1536, 2048, 4096)
        for rank in ((4, 16, 64, 128) if mode.adapted else (0,))
    ]
    shifts: list[list[Any]] = []
    result: dict[str, Any] = {"terms": mode.terms}
    for part in ("fresh", "kept"):
        at_own, rows = found.at(counts)[part], []
        wanted = set(reduce_on(at_own, grid))
        shallow = found.at(tuple(max(found.few, count // 2) for count in counts))[part]
        wanted |= {at_own[shallow.index(point)] for point in reduce_on(shallow, grid)}
        for index, point in enumerate(at_own):
            if point not in wanted or not _follows_the_batch(point.coefficients, mode.terms):
                continue
            wanted.discard(point)
            numbers = []
            for shift in found.shifts[part][index]:
                plain = [*as_json(Point("", shift.coefficients, 0))[1], shift.gradient_elements]
                if plain not in shifts:
                    shifts.append(plain)
                numbers.append(shifts.index(plain))
            rows.append([*as_json(point), *([numbers] if numbers else [])])
        result[part] = rows
    return {**result, "shifts": shifts}


def _follows_the_batch(coefficients: Sequence[float], terms: Sequence[str]) -> bool:
    """Whether what grows with the picture grows with the batch: Z-Image works on its samples one by one where it joins
    them with their texts, so that moments of different batches are not the same ones there, and less than a block's."""
    by_term = dict(zip(terms, coefficients, strict=True))
    return by_term["HW"] <= max(by_term["BHW"], _ROUNDING)


_ROUNDING = 100
"""Bytes a pixel that may come of the allocator's blocks of 512 bytes."""


def check(denoiser: Denoiser, mode: Mode, checkpointing: bool, made: dict[str, Any]) -> float:
    """The largest relative difference between the profile's peak and a trace of the whole model."""
    values = CHECKED.terms(mode.terms)
    recording = trace(denoiser, mode, checkpointing, denoiser.stacks, CHECKED)
    gradients = CHECKED.rank / RANK if mode.adapted else 1.0
    worst = 0.0
    for part in ("fresh", "kept"):
        levels = [level for level in recording.levels() if level.phase.startswith(f"{part}:")]
        direct = max(level.activation_bytes + 4 * level.gradient_elements for level in levels)
        ours = max(sum(map(float.__mul__, map(float, row[1]), map(float, values))) + 4 * gradients * row[2]
                   for row in made[part])  # fmt: skip
        worst = max(worst, abs(ours - direct) / direct)
    if worst > TOLERANCE:
        raise TraceError(f"{denoiser.names[0]}: the profile is {worst:.2%} off a trace of the whole model")
    return worst


def trace(denoiser: Denoiser, mode: Mode, checkpointing: bool, counts: Mapping[str, int], run: Run) -> Recording:
    """One training step of the model with ``counts`` blocks."""
    shape = run.shape

    def make() -> Job:
        kind = getattr(importlib.import_module("diffusers"), denoiser.kind)
        model = kind(**denoiser.built_with(dict(counts)))
        _like_the_whole(model, denoiser)
        model = model.to(mode.weights)
        if mode.adapted:
            _adapt(model, mode, run.rank)
        if checkpointing:
            model.enable_gradient_checkpointing()
        given = denoiser.inputs
        return Job(model, lambda: given(shape.batch, shape.height, shape.width, mode.weights), loss)

    return record(make, shape, Options(dtype=BF16 if mode.autocast else None, second_step=False))


def _like_the_whole(model: Any, denoiser: Denoiser) -> None:
    """Chroma's modulations of all blocks are one tensor, whose length must not follow the number of blocks traced."""
    if denoiser.kind == "ChromaTransformer2DModel":
        double, single = denoiser.stacks.values()
        module = importlib.import_module("diffusers.models.transformers.transformer_chroma")
        length = 3 * single + 2 * 6 * double + 2
        model.time_text_embed = module.ChromaCombinedTimestepTextProjEmbeddings(num_channels=16, out_dim=length)


def _adapt(model: nn.Module, mode: Mode, rank: int) -> None:
    peft = importlib.import_module("peft")
    model.requires_grad_(requires_grad=False)
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if mode.adapted == "attention":
        targets = [name for name in names if re.fullmatch(ATTENTION, f".{name}")]
    else:
        targets = [name for name in names if _inside(name)]
    config = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=targets)
    peft.inject_adapter_in_model(config, model)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(mode.adapters)


def loss(model: nn.Module, given: dict[str, Any]) -> torch.Tensor:
    predicted = model(**given, return_dict=False)[0]
    if isinstance(predicted, list):
        predicted = torch.stack(predicted)
    return nn.functional.mse_loss(predicted.float(), torch.zeros_like(predicted, dtype=torch.float32))


torchvision_schemas()

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
