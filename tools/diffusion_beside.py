"""What stands on the card beside a denoiser: its autoencoder and text encoders, counted on the meta device."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import torch
from diffusion_models import Denoiser

_KL = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
}
AUTOENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "kl-4": ("AutoencoderKL", {**_KL, "latent_channels": 4}),
    "kl-16": ("AutoencoderKL", {**_KL, "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}),
    "kl-flux2": ("AutoencoderKLFlux2", {}),
    "qwen-image": ("AutoencoderKLQwenImage", {}),
    "wan": ("AutoencoderKLWan", {}),
    "ltx": ("AutoencoderKLLTXVideo", {}),
    "cogvideox": ("AutoencoderKLCogVideoX", {}),
    "hunyuan-video": ("AutoencoderKLHunyuanVideo", {}),
    "dc-ae": ("AutoencoderDC", {
        "encoder_block_out_channels": (128, 256, 512, 512, 1024, 1024),
        "decoder_block_out_channels": (128, 256, 512, 512, 1024, 1024),
        "encoder_layers_per_block": (2, 2, 2, 3, 3, 3), "decoder_layers_per_block": (3, 3, 3, 3, 3, 3),
        "encoder_block_types": ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3,
        "decoder_block_types": ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3,
        "encoder_qkv_multiscales": ((), (), (), (5,), (5,), (5,)),
        "decoder_qkv_multiscales": ((), (), (), (5,), (5,), (5,)),
        "downsample_block_type": "conv", "upsample_block_type": "interpolate", "latent_channels": 32,
    }),
}  # fmt: skip
"""Class and arguments. Sources: diffusers 0.42's defaults, ``scripts/convert_diffusers_sdxl_to_original`` and
``convert_sd3_to_diffusers.py`` for the KL autoencoders, ``convert_dcae_to_diffusers.py`` (dc-ae-f32c32-sana)."""

_CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
_CLIP_H = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16}
_T5 = {"d_model": 4096, "d_kv": 64, "num_layers": 24, "num_heads": 64, "feed_forward_proj": "gated-gelu"}
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "clip-l": ("CLIPTextModel", {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}),
    "clip-h": ("CLIPTextModel", _CLIP_H),
    "clip-g": ("CLIPTextModelWithProjection", {**_CLIP_G, "projection_dim": 1280}),
    "t5-xxl": ("T5EncoderModel", {**_T5, "d_ff": 10240}),
    "t5-11b": ("T5EncoderModel", {
        "d_model": 1024, "d_kv": 128, "d_ff": 65536, "num_layers": 24, "num_heads": 128,
    }),
    "umt5-xxl": ("UMT5EncoderModel", {**_T5, "d_ff": 10240, "vocab_size": 256384}),
    "mt5-xl": ("MT5EncoderModel", {
        "d_model": 2048, "d_kv": 64, "d_ff": 5120, "num_layers": 24, "num_heads": 32, "vocab_size": 250112,
        "feed_forward_proj": "gated-gelu",
    }),
    "pile-t5-xl": ("UMT5EncoderModel", {
        "d_model": 2048, "d_kv": 64, "d_ff": 5120, "num_layers": 24, "num_heads": 32, "vocab_size": 32128,
        "feed_forward_proj": "gated-gelu",
    }),
}  # fmt: skip
"""Class and arguments in transformers, from the checkpoints' ``config.json``: openai/clip-vit-large-patch14,
stabilityai's OpenCLIP towers, google/t5-v1_1-xxl, google-t5/t5-11b, google/umt5-xxl, google/mt5-xl,
EleutherAI/pile-t5-xl."""

DECODERS = {
    "gemma-2-2b": "gemma-2-2b", "qwen3-4b": "Qwen3-4B", "qwen3-8b": "Qwen3-8B",
    "qwen2.5-vl-7b": "Qwen2.5-VL-7B-Instruct", "qwen3-vl-4b": "Qwen3-VL-4B-Instruct",
    "mistral-small-3": "Devstral-Small-2-24B-Instruct-2512",
    "glm-4-9b": "glm-4-9b-chat-hf", "llama-3-8b": "Meta-Llama-3-8B",
    "llama-3.1-8b": "Llama-3.1-8B-Instruct", "chatglm3-6b": "chatglm3-6b",
}  # fmt: skip
"""Language models that encode prompts, by their names in vramlint's own catalogue."""


def beside(denoiser: Denoiser) -> dict[str, Any]:
    """Parameters of the autoencoder and of each text encoder, 0 where none is known."""
    return {
        "vae": denoiser.vae,
        "vae_parameters": autoencoder_parameters(denoiser.vae),
        "text_encoders": {name: encoder_parameters(name) for name in denoiser.encoders},
    }


@cache
def autoencoder_parameters(name: str) -> int:
    kind, arguments = AUTOENCODERS[name]
    with torch.device("meta"):
        return _count(getattr(importlib.import_module("diffusers"), kind)(**arguments))


@cache
def encoder_parameters(name: str) -> int:
    if name in DECODERS:
        from vramlint.memory.catalogue import find_decoder

        found = find_decoder(DECODERS[name])
        return found.parameters if found is not None else 0
    kind, arguments = ENCODERS[name]
    transformers = importlib.import_module("transformers")
    model = getattr(transformers, kind)
    with torch.device("meta"):
        return _count(model(model.config_class(**arguments)))


def _count(model: Any) -> int:
    return sum({id(each): each.numel() for each in model.parameters()}.values())
