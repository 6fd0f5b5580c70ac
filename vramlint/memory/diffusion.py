"""Diffusion denoisers by name: traced profiles of U-Nets and diffusion transformers, trained whole or through LoRA.

Three ways to train were traced (``tools/make_diffusion.py``): ``lora`` keeps the base in 16 bits and fp32 adapters
under autocast, as diffusers' and kohya's scripts do; ``full`` trains fp32 weights under autocast; ``pure`` 16-bit
weights.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

from vramlint.memory.knowledge import Moment, Workload
from vramlint.memory.profile import TERMS, Variant, read_variant
from vramlint.memory.states import WeightGroup
from vramlint.plan import Precision

_DATA = os.path.join(os.path.dirname(__file__), "data", "diffusion.json")
_SUFFIX = re.compile(r"\.(safetensors|ckpt|pt|gguf)$")
_RANK = 16
"""Rank of the traced adapters."""

VAE = 83_653_863
"""Parameters of AutoencoderKL as Stable Diffusion 1 to XL use it; the later ones differ little."""
CLIP_TEXT = {"stable-diffusion-v1-5": 123_060_480, "stable-diffusion-2-1": 340_387_840, "sdxl": 817_720_320}
"""Text encoders that training scripts keep on the card: CLIP ViT-L, OpenCLIP ViT-H, and ViT-L with bigG (SDXL)."""

SPREAD = 0.15
"""Half-width on the activations: what a trace cannot see, and how scripts adapt more than the attention."""


class Denoiser(NamedTuple):
    """A denoiser trained one way: a form of :class:`~vramlint.memory.knowledge.ModelKnowledge`.

    ``adapters``: LoRA parameters, 0 where the model itself trains. ``resident``: parameters of the VAE and of CLIP text
    encoders, frozen in 16 bits beside it.
    """

    name: str
    base: int
    variants: Mapping[str, Variant]
    made: str
    adapters: int = 0
    traced_adapters: int = 0
    resident: int = 0

    @property
    def parameters(self) -> int:
        """All parameters, adapters included."""
        return self.base + self.adapters

    @property
    def trainable(self) -> int:
        """Those that receive gradients."""
        return self.adapters or self.base

    @property
    def buffer_bytes(self) -> int:
        """VAE and text encoders, which run without a graph."""
        return 2 * self.resident

    @property
    def workspace_share(self) -> float:
        """Nothing on top for old stacks' convolution workspaces: denoisers are trained by today's."""
        return 0.0

    @property
    def source(self) -> str:
        """Where the knowledge comes from, in words for the report."""
        return f"traced profile of {self.name} ({self.made})"

    @property
    def spread(self) -> float:
        """Half-width of the interval as a share of the activations."""
        return SPREAD

    def moments(self, workload: Workload) -> tuple[Moment, ...]:
        """The moments that can be the peak; empty without an image size, and in full fp32, which was not traced."""
        variant = self.variants.get(self._mode(workload))
        if variant is None or not (workload.height and workload.width and workload.micro_batch):
            return ()
        factors = tuple(TERMS[term](workload) for term in variant.terms)
        training = variant.kept if workload.gradients_kept else variant.fresh
        share = self.adapters / self.traced_adapters if self.adapters and self.traced_adapters else 1.0
        moments = (moment.at(factors) for moment in training)
        return tuple(moment._replace(gradient_elements=round(moment.gradient_elements * share)) for moment in moments)

    def adapted_groups(self) -> tuple[WeightGroup, ...]:
        """Parameters by storage where adapters train: the base in 16 bits, the adapters in fp32."""
        return (
            WeightGroup("frozen parameters", self.base, 2, "16-bit base model (weight_dtype of the training scripts)"),
            WeightGroup("adapters", self.adapters, 4, "LoRA in fp32", trainable=True),
        )

    def _mode(self, workload: Workload) -> str:
        mode = "full"
        if self.adapters:
            mode = "lora"
        elif workload.precision in (Precision.PURE_BF16, Precision.PURE_FP16):
            mode = "pure"
        elif workload.precision is Precision.FP32:
            return ""
        return f"{mode}+checkpointing" if workload.checkpointing else mode


def find_denoiser(name: str) -> Denoiser | None:
    """The denoiser of the checkpoint called ``name``, as hubs and files spell it, trained whole."""
    key = _key(name)
    found = _by_name().get(key)
    return None if found is None else _denoiser(found)


def denoisers() -> tuple[Denoiser, ...]:
    """Every denoiser of the catalogue."""
    return tuple(_denoiser(number) for number in range(len(_models())))


def with_adapters(denoiser: Denoiser, rank: int, *, everywhere: bool) -> Denoiser:
    """The denoiser frozen, with LoRA on the attention's projections, or on every linear layer of its blocks."""
    data = next(data for data in _models() if data["names"][0] == denoiser.name)
    per_rank = data["lora_per_rank_all"] if everywhere else data["lora_per_rank"]
    return denoiser._replace(adapters=rank * per_rank, traced_adapters=_RANK * data["lora_per_rank"])


def _key(name: str) -> str:
    last = _SUFFIX.sub("", name.strip().rstrip("/").replace("\\", "/").rpartition("/")[2].lower())
    return re.sub(r"[^a-z0-9]+", "", last)


@lru_cache(maxsize=1)
def _models() -> list[dict[str, Any]]:
    with open(_DATA, "rb") as file:
        models: list[dict[str, Any]] = json.load(file)["models"]
    return models


@lru_cache(maxsize=1)
def _by_name() -> dict[str, int]:
    return {_key(name): number for number, data in enumerate(_models()) for name in data["names"]}


@cache
def _denoiser(number: int) -> Denoiser:
    data = _models()[number]
    name = data["names"][0]
    built = ", ".join(f"{package} {version}" for package, version in data["built_by"].items())
    encoders = CLIP_TEXT.get("sdxl" if "xl-base" in name else name, 0)
    return Denoiser(
        name,
        data["parameters"],
        {key: read_variant(value) for key, value in data["variants"].items()},
        f"{built}, {data['date']}",
        resident=VAE + encoders,
    )
