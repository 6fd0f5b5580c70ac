"""The diffusion models of the catalogue: how diffusers builds each, what it reads, where its shape was read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

ATTENTION = r".*\.(to_q|to_k|to_v|to_out\.0)"
"""Attention projections: what diffusers' LoRA training scripts adapt (``train_text_to_image_lora.py`` and others)."""


class Denoiser(NamedTuple):
    """A denoiser: class and arguments in diffusers, its inputs at batch and image size, and the names it goes by.

    ``parameters`` is what the checkpoint has, to check the arguments with; ``latent`` pixels a latent's side.
    """

    names: tuple[str, ...]
    kind: str
    arguments: dict[str, Any]
    inputs: Callable[[int, int, int, torch.dtype], dict[str, Any]]
    parameters: int
    source: str
    multiple: int = 64


def _unet(batch: int, height: int, width: int, dtype: torch.dtype, text: int, tokens: int = 77) -> dict[str, Any]:
    return {
        "sample": torch.zeros(batch, 4, height // 8, width // 8, dtype=dtype),
        "timestep": torch.zeros(batch, dtype=torch.long),
        "encoder_hidden_states": torch.zeros(batch, tokens, text, dtype=dtype),
    }


def _sd(text: int) -> Callable[[int, int, int, torch.dtype], dict[str, Any]]:
    return lambda batch, height, width, dtype: _unet(batch, height, width, dtype, text)


def _sdxl(batch: int, height: int, width: int, dtype: torch.dtype) -> dict[str, Any]:
    added = {"text_embeds": torch.zeros(batch, 1280, dtype=dtype), "time_ids": torch.zeros(batch, 6, dtype=dtype)}
    return {**_unet(batch, height, width, dtype, 2048), "added_cond_kwargs": added}


def _sd3(batch: int, height: int, width: int, dtype: torch.dtype) -> dict[str, Any]:
    return {
        "hidden_states": torch.zeros(batch, 16, height // 8, width // 8, dtype=dtype),
        "encoder_hidden_states": torch.zeros(batch, 154, 4096, dtype=dtype),
        "pooled_projections": torch.zeros(batch, 2048, dtype=dtype),
        "timestep": torch.zeros(batch, dtype=dtype),
    }


def _flux(channels: int, text: int, axes: int) -> Callable[[int, int, int, torch.dtype], dict[str, Any]]:
    def inputs(batch: int, height: int, width: int, dtype: torch.dtype) -> dict[str, Any]:
        tokens = (height // 16) * (width // 16)
        given = {
            "hidden_states": torch.zeros(batch, tokens, channels, dtype=dtype),
            "encoder_hidden_states": torch.zeros(batch, 512, text, dtype=dtype),
            "timestep": torch.zeros(batch, dtype=dtype),
            "img_ids": torch.zeros(tokens, axes, dtype=dtype),
            "txt_ids": torch.zeros(512, axes, dtype=dtype),
            "guidance": torch.zeros(batch, dtype=dtype),
        }
        return given if axes == 4 else {**given, "pooled_projections": torch.zeros(batch, 768, dtype=dtype)}

    return inputs


def _pixart(batch: int, height: int, width: int, dtype: torch.dtype) -> dict[str, Any]:
    return {
        "hidden_states": torch.zeros(batch, 4, height // 8, width // 8, dtype=dtype),
        "encoder_hidden_states": torch.zeros(batch, 120, 4096, dtype=dtype),
        "timestep": torch.zeros(batch, dtype=torch.long),
        "added_cond_kwargs": {"resolution": None, "aspect_ratio": None},
    }


_SD = {"block_out_channels": (320, 640, 1280, 1280), "sample_size": 64}
MODELS = (
    Denoiser(
        ("stable-diffusion-v1-5", "stable-diffusion-v1-4", "sd15", "sd1.5", "sd-v1-5", "dreamshaper-7", "dreamshaper"),
        "UNet2DConditionModel",
        {**_SD, "cross_attention_dim": 768, "attention_head_dim": 8},
        _sd(768),
        859_520_964,
        "unet/config.json of stable-diffusion-v1-5",
    ),
    Denoiser(
        ("stable-diffusion-2-1", "stable-diffusion-2", "stable-diffusion-2-1-base", "stable-diffusion-2-base"),
        "UNet2DConditionModel",
        {**_SD, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True},
        _sd(1024),
        865_910_724,
        "unet/config.json of stable-diffusion-2-1",
    ),
    Denoiser(
        ("stable-diffusion-xl-base-1.0", "sdxl", "sd-xl-base-1.0", "sd_xl_base_1.0"),
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
        _sdxl,
        2_567_463_684,
        "unet/config.json of stable-diffusion-xl-base-1.0",
    ),
    Denoiser(
        ("stable-diffusion-3-medium", "stable-diffusion-3-medium-diffusers", "sd3-medium"),
        "SD3Transformer2DModel",
        {
            "sample_size": 128,
            "num_layers": 24,
            "num_attention_heads": 24,
            "caption_projection_dim": 1536,
            "pos_embed_max_size": 192,
            "joint_attention_dim": 4096,
            "pooled_projection_dim": 2048,
            "out_channels": 16,
        },
        _sd3,
        0,
        "transformer/config.json of stable-diffusion-3-medium-diffusers",
    ),
    Denoiser(
        ("stable-diffusion-3.5-large", "sd3.5-large"),
        "SD3Transformer2DModel",
        {
            "sample_size": 128,
            "num_layers": 38,
            "num_attention_heads": 38,
            "caption_projection_dim": 2432,
            "pos_embed_max_size": 192,
            "joint_attention_dim": 4096,
            "pooled_projection_dim": 2048,
            "out_channels": 16,
            "qk_norm": "rms_norm",
        },
        _sd3,
        0,
        "transformer/config.json of stable-diffusion-3.5-large",
    ),
    Denoiser(
        ("flux.1-dev", "flux1-dev", "flux-dev", "flux.1-dev-diffusers"),
        "FluxTransformer2DModel",
        {"guidance_embeds": True},
        _flux(64, 4096, 3),
        11_901_408_320,
        "defaults of diffusers' FluxTransformer2DModel with guidance",
    ),
    Denoiser(
        ("flux.2-klein-base-4b", "flux.2-klein-4b", "flux2-klein-4b"),
        "Flux2Transformer2DModel",
        {
            "num_layers": 5,
            "num_single_layers": 20,
            "num_attention_heads": 24,
            "joint_attention_dim": 7680,
            "guidance_embeds": False,
        },
        _flux(128, 7680, 4),
        3_875_544_576,
        "parameters of FLUX.2-klein-base-4B in peft's method_comparison results",
    ),
    Denoiser(
        ("pixart-xl-2-512x512", "pixart-xl-2-1024-ms", "pixart-sigma-xl-2-1024-ms", "pixart-sigma-xl-2-512-ms"),
        "PixArtTransformer2DModel",
        {"use_additional_conditions": False, "caption_channels": 4096, "sample_size": 64},
        _pixart,
        0,
        "defaults of diffusers' PixArtTransformer2DModel",
    ),
)
