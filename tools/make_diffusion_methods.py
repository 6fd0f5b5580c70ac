"""Adds peft's methods on FLUX.2-klein to vramlint/memory/data/diffusion.json; needs diffusers and peft.

Usage: python tools/make_diffusion_methods.py [METHOD...]

As peft's own comparison trains them (``method_comparison/image-gen``): the base in bf16, adapters in fp32, no autocast,
on every linear layer of the blocks, with activation checkpointing. Traced by a few blocks of each stack, as
``make_diffusion.py`` does.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from diffusion_models import MODELS, Denoiser
from layered import layered
from make_diffusion import BF16, RUNS, TARGET, Mode, Run, as_rows, loss

from vramlint.trace.answers import few_positives
from vramlint.trace.events import Recording
from vramlint.trace.pairing import TooFewShapes
from vramlint.trace.tracer import Job, Options, record

MODEL = "flux.2-klein-base-4b"
TARGETS = (
    "to_out.0", "to_add_out", "to_qkv_mlp_proj", "add_k_proj", "add_q_proj", "add_v_proj", "to_k", "to_q", "to_v",
    "linear_in", "linear_out",
)  # fmt: skip


class Method(NamedTuple):
    """A method: its config's class in peft, arguments, and the argument that is its rank, empty where it has none."""

    kind: str
    arguments: Mapping[str, Any] = {}
    rank: str = "r"


METHODS: dict[str, Method] = {
    "lora": Method("LoraConfig"),
    "dora": Method("LoraConfig", {"use_dora": True}),
    "adalora": Method("AdaLoraConfig", {"target_r": 8, "total_step": 750}, "init_r"),
    "c3a": Method("C3AConfig", {"block_size": 256}, ""),
    "deft": Method("DeftConfig"),
    "deft-para": Method("DeftConfig", {"para": True}),
    "delora": Method("DeloraConfig"),
    "fourierft": Method("FourierFTConfig", {"n_frequency": 2000}, ""),
    "glora": Method("GloraConfig"),
    "gralora": Method("GraloraConfig", {"gralora_k": 2}),
    "hra": Method("HRAConfig", {}, ""),
    "ia3": Method("IA3Config", {"feedforward_modules": list(TARGETS)}, ""),
    "lily": Method("LilyConfig", {"num_B": 2}),
    "ln_tuning": Method("LNTuningConfig", {"target_modules": ["norm_q", "norm_k"]}, ""),
    "loha": Method("LoHaConfig"),
    "lokr": Method("LoKrConfig", {}, ""),
    "miss": Method("MissConfig"),
    "oft": Method("OFTConfig", {"oft_block_size": 32}, ""),
    "osf": Method("OSFConfig", {"effective_rank": 32}, ""),
    "peanut": Method("PeanutConfig"),
    "psoft": Method("PsoftConfig", {"ab_svd_init": "psoft_init"}),
    "pvera": Method("PveraConfig"),
    "randlora": Method("RandLoraConfig", {}, ""),
    "road": Method("RoadConfig", {"group_size": 64}, ""),
    "shira": Method("ShiraConfig", {}, ""),
    "vblora": Method("VBLoRAConfig", {"num_vectors": 256, "vector_length": 256}, ""),
    "vera": Method("VeraConfig"),
    "waveft": Method("WaveFTConfig", {"n_frequency": 2592, "wavelet_family": "db1"}, ""),
    "boft": Method("BOFTConfig", {"boft_block_size": 4, "boft_n_butterfly_factor": 2}, ""),
}
"""The comparison's settings; where a rank is fixed, it is the comparison's 32: it decides what is computed (HRA's
reflections one by one, LoKr's factors whole or of low rank) or nothing of what is kept."""
FIXED_RANK = 32
_OF_FIXED_RANK = ("RandLoraConfig", "ShiraConfig", "VBLoRAConfig", "HRAConfig", "LoKrConfig")


def main(wanted: list[str]) -> int:
    denoiser = next(each for each in MODELS if each.names[0] == MODEL)
    for name, method in METHODS.items():
        if wanted and name not in wanted:
            continue
        try:
            made = entry(denoiser, method)
        except Exception as error:  # noqa: BLE001 - one method that cannot be traced must not stop the others; printed
            print(f"{name}: {type(error).__name__}: {str(error)[:200]}", flush=True)
            continue
        document = json.loads(TARGET.read_text())
        for each in document["models"]:
            if each["names"][0] == MODEL:
                each.setdefault("methods", {})[name] = made
        rows = ",\n".join(json.dumps(each, separators=(",", ":")) for each in document["models"])
        TARGET.write_text(f'{{"schema":2,"models":[\n{rows}\n]}}\n')
        print(name, {key: made[key] for key in ("rank", "trainable", "tables")}, flush=True)
    return 0


def entry(denoiser: Denoiser, method: Method) -> dict[str, Any]:
    """What the method trains and keeps frozen at its traced rank, and its moments."""
    found, counts = _variant(denoiser, method, checkpointing=True)
    return {"rank": RUNS[0].rank if method.rank else None, **counts, "variants": {"+checkpointing": found}}


def _variant(denoiser: Denoiser, method: Method, *, checkpointing: bool) -> tuple[dict[str, Any], dict[str, int]]:
    mode = Mode(BF16, autocast=False, adapted="all" if method.rank else "")
    recordings: dict[tuple[int, ...], list[Recording]] = {}
    for number in range(2, len(RUNS) + 1):
        rows = [run.terms(mode.terms) for run in RUNS[:number]]

        def traced(counts: Mapping[str, int], runs: Sequence[Run] = RUNS[:number]) -> list[Recording]:
            have = recordings.setdefault(tuple(counts.values()), [])
            have += [_trace(denoiser, method, checkpointing, counts, run) for run in runs[len(have) :]]
            return have

        try:
            found = layered(traced, tuple(denoiser.stacks), rows)
        except TooFewShapes:
            continue
        return as_rows(found, denoiser, mode), _counts(denoiser, recordings, found.few)
    raise TooFewShapes(f"{len(RUNS)} shapes do not tell what its storages follow")


def _counts(denoiser: Denoiser, recordings: dict[tuple[int, ...], list[Recording]], few: int) -> dict[str, int]:
    """Trained parameters, and bytes of further frozen tensors, of the whole model."""
    stacks = list(denoiser.stacks)
    least = (few,) * len(stacks)

    def of(counts: tuple[int, ...]) -> tuple[int, int]:
        recording = recordings[counts][0]
        base = _base_bytes(denoiser, dict(zip(stacks, counts, strict=True)))
        frozen = recording.parameter_bytes + recording.extra_bytes() - 4 * recording.trainable - base
        return recording.trainable, frozen

    trainable, tables = of(least)
    own = of(least)
    for index, stack in enumerate(stacks):
        more = of(tuple(few + (place == index) for place in range(len(stacks))))
        trainable += (denoiser.stacks[stack] - few) * (more[0] - own[0])
        tables += (denoiser.stacks[stack] - few) * (more[1] - own[1])
    return {"trainable": trainable, "tables": max(tables, 0)}


def _base_bytes(denoiser: Denoiser, counts: dict[str, int]) -> int:
    kind = getattr(importlib.import_module("diffusers"), denoiser.kind)
    with torch.device("meta"):
        return 2 * sum(each.numel() for each in kind(**denoiser.built_with(counts)).parameters())


def _trace(denoiser: Denoiser, method: Method, checkpointing: bool, counts: Mapping[str, int], run: Run) -> Recording:
    shape = run.shape
    rank = run.rank if method.rank else FIXED_RANK

    def make() -> Job:
        diffusers, peft = importlib.import_module("diffusers"), importlib.import_module("peft")
        model = getattr(diffusers, denoiser.kind)(**denoiser.built_with(dict(counts))).to(BF16)
        if checkpointing:
            model.enable_gradient_checkpointing()
        arguments = {"target_modules": list(TARGETS), **method.arguments}
        if method.rank or method.kind in _OF_FIXED_RANK:
            arguments[method.rank or "r"] = rank
        if method.kind == "LoraConfig":
            arguments["lora_alpha"] = rank
        adapted = peft.get_peft_model(model, getattr(peft, method.kind)(**arguments))
        given = denoiser.inputs
        return Job(adapted, lambda: given(shape.batch, shape.height, shape.width, BF16), loss)

    def positives(shape: tuple[int, ...]) -> int:
        """SHiRA's mask has as many entries as LoRA has elements."""
        return rank * sum(shape) if method.kind == "ShiraConfig" else few_positives(shape)

    return record(make, shape, Options(second_step=False, positives=positives))


class _Never:
    """VB-LoRA stops where a logit is infinite; no comparison of fakes is false."""

    def any(self) -> bool:
        return False


class _Sparse(torch.autograd.Function):
    """SHiRA's ``torch.sparse_coo_tensor``, whose storage a fake tensor does not have: 64-bit indices and values are
    kept, and backward gathers from the dense gradient (torch 2.13 ``derivatives.yaml``,
    ``_sparse_coo_tensor_with_dims_and_tensors``)."""

    @staticmethod
    def forward(context: Any, indices: torch.Tensor, values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        context.save_for_backward(indices.long(), values)
        return values.new_zeros(()).expand(size)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[None, torch.Tensor, None]:  # type: ignore[override]
        indices, _ = context.saved_tensors
        return None, gradient.reshape(-1)[indices[0] * gradient.shape[1] + indices[1]], None


torch.Tensor.isinf = lambda _: _Never()  # type: ignore[assignment, return-value, method-assign]
torch.sparse_coo_tensor = _Sparse.apply  # type: ignore[assignment]

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
