"""Denoisers of diffusers, built from a config and never downloaded, trained whole on latents with a squared error.

``diffusers/stable-diffusion-v1-5`` and the other names below have the config of their checkpoint;
``diffusers/./folder`` takes the ``config.json`` of a folder, as ``save_pretrained`` writes it;
``diffusers/UNet2DModel`` is the class with its defaults. Sizes are of the image: a latent has an eighth of its side.
Text and other encoders are not part of it; what they give is there as inputs.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as functional
from torch import nn

from vramlint.errors import TraceError
from vramlint.trace.events import Shape
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.targets import Target, UnknownModel
from vramlint.trace.tracer import Job

_LATENT = 8
"""Pixels of the image a pixel of the latent, in the autoencoders of all of these."""

_PATCHED = 2
"""Latent pixels a token of the transformers here (``patch_size`` of their configs)."""

_TEXT_TOKENS = {"UNet2DConditionModel": 77, "SD3Transformer2DModel": 333, "FluxTransformer2DModel": 512}
"""Tokens of the prompt that diffusers' pipelines and training scripts give each class."""

_SD = {"block_out_channels": (320, 640, 1280, 1280), "sample_size": 64}
NAMED: dict[str, tuple[str, dict[str, Any]]] = {
    "stable-diffusion-v1-5": ("UNet2DConditionModel", {**_SD, "cross_attention_dim": 768, "attention_head_dim": 8}),
    "stable-diffusion-2-1": (
        "UNet2DConditionModel",
        {**_SD, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True},
    ),
    "stable-diffusion-xl-base-1.0": (
        "UNet2DConditionModel",
        {
            "sample_size": 128,
            "block_out_channels": (320, 640, 1280),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2, 10),
            "cross_attention_dim": 2048,
            "attention_head_dim": (5, 10, 20),
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
    ),
    "dit-xl-2-256": (
        "DiTTransformer2DModel",
        {"num_layers": 28, "num_attention_heads": 16, "attention_head_dim": 72, "out_channels": 8, "sample_size": 32},
    ),
    "stable-diffusion-3-medium": (
        "SD3Transformer2DModel",
        {
            "sample_size": 128, "num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536,
            "pos_embed_max_size": 192, "joint_attention_dim": 4096, "pooled_projection_dim": 2048, "out_channels": 16,
        },
    ),
}  # fmt: skip
"""Classes and arguments by name, from the ``config.json`` of each checkpoint's ``unet`` or ``transformer`` folder."""

Inputs = Callable[[Any, Shape], dict[str, Any]]


def find(name: str) -> Target:
    """The denoiser ``name``. Raises UnknownModel where diffusers has none of that name that is known here."""
    torchvision_schemas()
    kind, arguments = _config(name)
    if kind not in _INPUTS:
        raise UnknownModel(f"no inputs are known of diffusers' {kind}")
    diffusers = importlib.import_module("diffusers")
    cls = getattr(diffusers, kind)
    inputs = _INPUTS[kind]

    def make(shape: Shape, checkpointing: bool) -> Job:
        model = cls(**arguments)
        if checkpointing:
            model.enable_gradient_checkpointing()
        return Job(model, lambda: inputs(model.config, shape), _loss)

    target = Target(
        name.rstrip("/").rpartition("/")[2],
        make,
        ("diffusers", "torch"),
        ("all of the denoiser trained on latents, squared error of its output; no other part of the pipeline",),
        has_checkpointing=True,
        shapes=(Shape(2, 256, 256), Shape(3, 448, 320), Shape(3, 256, 256), Shape(4, 512, 512)),
        confirm=(Shape(1, 512, 512),),
        size_multiple=64,
        tolerance=0.02,
    )
    if kind != "DiTTransformer2DModel":
        return target
    side = arguments.get("sample_size", 32) * _LATENT  # its embedding of positions has one size
    return target._replace(
        terms=("1", "B"),
        shapes=tuple(Shape(batch, side, side) for batch in (2, 3)),
        confirm=(Shape(5, side, side),),
        fixed_size=(side, side),
    )


def _config(name: str) -> tuple[str, dict[str, Any]]:
    """The class and its arguments. Raises UnknownModel, and TraceError for a config that is none of a model."""
    if name in NAMED:
        return NAMED[name]
    file = os.path.join(name, "config.json")
    if os.path.isfile(file):
        with open(file, encoding="utf-8") as stream:
            data = json.load(stream)
        kind = data.get("_class_name", "")
        if not isinstance(kind, str) or kind not in _INPUTS:
            raise TraceError(f"{file} is of {kind or 'no model'}", help=f"Traced are {', '.join(_INPUTS)}.")
        known = inspect.signature(getattr(importlib.import_module("diffusers"), kind)).parameters
        return kind, {key: value for key, value in data.items() if key in known}
    if name in _INPUTS:
        return name, {}
    raise UnknownModel(f"diffusers/ knows {', '.join(NAMED)}, folders with a config.json and {', '.join(_INPUTS)}")


def _loss(model: nn.Module, given: dict[str, Any]) -> torch.Tensor:
    predicted = model(**given, return_dict=False)[0].float()
    return functional.mse_loss(predicted, torch.empty_like(predicted))


def _latent(channels: int, shape: Shape) -> torch.Tensor:
    return torch.empty(shape.batch, channels, shape.height // _LATENT, shape.width // _LATENT)


def _unconditional(config: Any, shape: Shape) -> dict[str, Any]:
    """UNet2DModel works on the image itself."""
    image = torch.empty(shape.batch, config.in_channels, shape.height, shape.width)
    return {"sample": image, "timestep": torch.zeros(shape.batch, dtype=torch.long)}


def _unet(config: Any, shape: Shape) -> dict[str, Any]:
    given: dict[str, Any] = {
        "sample": _latent(config.in_channels, shape),
        "timestep": torch.zeros(shape.batch, dtype=torch.long),
        "encoder_hidden_states": torch.empty(
            shape.batch, _TEXT_TOKENS["UNet2DConditionModel"], config.cross_attention_dim
        ),
    }
    if config.addition_embed_type == "text_time":
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        given["added_cond_kwargs"] = {
            "text_embeds": torch.empty(shape.batch, pooled),
            "time_ids": torch.empty(shape.batch, 6),
        }
    return given


def _dit(config: Any, shape: Shape) -> dict[str, Any]:
    return {
        "hidden_states": _latent(config.in_channels, shape),
        "timestep": torch.zeros(shape.batch, dtype=torch.long),
        "class_labels": torch.zeros(shape.batch, dtype=torch.long),
    }


def _sd3(config: Any, shape: Shape) -> dict[str, Any]:
    return {
        "hidden_states": _latent(config.in_channels, shape),
        "encoder_hidden_states": torch.empty(
            shape.batch, _TEXT_TOKENS["SD3Transformer2DModel"], config.joint_attention_dim
        ),
        "pooled_projections": torch.empty(shape.batch, config.pooled_projection_dim),
        "timestep": torch.empty(shape.batch),
    }


def _flux(config: Any, shape: Shape) -> dict[str, Any]:
    side = _LATENT * _PATCHED
    tokens, text = (shape.height // side) * (shape.width // side), _TEXT_TOKENS["FluxTransformer2DModel"]
    axes = len(config.axes_dims_rope)
    return {
        "hidden_states": torch.empty(shape.batch, tokens, config.in_channels),
        "encoder_hidden_states": torch.empty(shape.batch, text, config.joint_attention_dim),
        "pooled_projections": torch.empty(shape.batch, config.pooled_projection_dim),
        "timestep": torch.empty(shape.batch),
        "img_ids": torch.zeros(tokens, axes),
        "txt_ids": torch.zeros(text, axes),
        "guidance": torch.empty(shape.batch) if config.guidance_embeds else None,
    }


_INPUTS: dict[str, Inputs] = {
    "UNet2DModel": _unconditional,
    "UNet2DConditionModel": _unet,
    "DiTTransformer2DModel": _dit,
    "SD3Transformer2DModel": _sd3,
    "FluxTransformer2DModel": _flux,
}
