"""What each denoiser of diffusers reads: its inputs at a batch, an image size and a number of text tokens.

Video models get a single latent frame: their blocks only see how many tokens there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Inputs = Callable[[int, int, int, torch.dtype], dict[str, Any]]


def unet(text: int, tokens: int = 77, **added: int) -> Inputs:
    """A U-Net over 4 latent channels; ``added`` are SDXL's sizes of pooled text and of its six numbers."""

    def inputs(batch: int, height: int, width: int, dtype: torch.dtype) -> dict[str, Any]:
        given = {
            "sample": torch.zeros(batch, 4, height // 8, width // 8, dtype=dtype),
            "timestep": torch.zeros(batch, dtype=torch.long),
            "encoder_hidden_states": torch.zeros(batch, tokens, text, dtype=dtype),
        }
        if added:
            condition = {name: torch.zeros(batch, size, dtype=dtype) for name, size in added.items()}
            given["added_cond_kwargs"] = condition
        return given

    return inputs


def sd3(batch: int, height: int, width: int, dtype: torch.dtype) -> dict[str, Any]:
    """Two CLIP encoders and T5, 77 tokens each pair."""
    return {
        "hidden_states": torch.zeros(batch, 16, height // 8, width // 8, dtype=dtype),
        "encoder_hidden_states": torch.zeros(batch, 154, 4096, dtype=dtype),
        "pooled_projections": torch.zeros(batch, 2048, dtype=dtype),
        "timestep": torch.zeros(batch, dtype=dtype),
    }


def flux(channels: int, text: int, axes: int, pooled: int = 0, *, guidance: bool = True) -> Inputs:
    """Packed latents of 16 x 16 pixels a token and 512 text tokens."""

    def inputs(batch: int, height: int, width: int, dtype: torch.dtype) -> dict[str, Any]:
        tokens = (height // 16) * (width // 16)
        given = {
            "hidden_states": torch.zeros(batch, tokens, channels, dtype=dtype),
            "encoder_hidden_states": torch.zeros(batch, 512, text, dtype=dtype),
            "timestep": torch.zeros(batch, dtype=dtype),
            "img_ids": torch.zeros(tokens, axes, dtype=dtype),
            "txt_ids": torch.zeros(512, axes, dtype=dtype),
        }
        if guidance:
            given["guidance"] = torch.zeros(batch, dtype=dtype)
        return given | ({"pooled_projections": torch.zeros(batch, pooled, dtype=dtype)} if pooled else {})

    return inputs


def pixart(tokens: int) -> Inputs:
    """T5 at 120 (alpha) or 300 (sigma) tokens."""

    def inputs(batch: int, height: int, width: int, dtype: torch.dtype) -> dict[str, Any]:
        return {
            "hidden_states": torch.zeros(batch, 4, height // 8, width // 8, dtype=dtype),
            "encoder_hidden_states": torch.zeros(batch, tokens, 4096, dtype=dtype),
            "timestep": torch.zeros(batch, dtype=torch.long),
            "added_cond_kwargs": {"resolution": None, "aspect_ratio": None},
        }

    return inputs


def image(channels: int, side: int, text: int, tokens: int, **other: str) -> Inputs:
    """A picture of ``side`` pixels a latent, and text. ``other``: further inputs by what they hold."""

    def inputs(batch: int, height: int, width: int, dtype: torch.dtype) -> dict[str, Any]:
        return {
            "hidden_states": torch.zeros(batch, channels, height // side, width // side, dtype=dtype),
            "encoder_hidden_states": torch.zeros(batch, tokens, text, dtype=dtype),
            "timestep": torch.zeros(batch, dtype=dtype),
            **{name: _other(kind, batch, tokens, height, width, dtype) for name, kind in other.items()},
        }

    return inputs


def _other(kind: str, batch: int, tokens: int, height: int, width: int, dtype: torch.dtype) -> torch.Tensor:
    match kind:
        case "mask":
            return torch.ones(batch, tokens, dtype=torch.long)
        case "boolean":
            return torch.ones(batch, tokens, dtype=torch.bool)
        case "padding":
            return torch.zeros(1, 1, height, width, dtype=dtype)
        case "pair":
            return torch.zeros(batch, 2, dtype=dtype)
        case _:
            return torch.zeros(batch, int(kind), dtype=dtype)


def clip(channels: int, text: int, tokens: int, **other: str) -> Inputs:
    """One latent frame of a video of 8 x 8 pixels a latent, frames third."""

    def inputs(batch: int, height: int, width: int, dtype: torch.dtype) -> dict[str, Any]:
        given = image(channels, 8, text, tokens, **other)(batch, height, width, dtype)
        return {**given, "hidden_states": given["hidden_states"][:, :, None]}

    return inputs


def cogvideo(batch: int, height: int, width: int, dtype: torch.dtype) -> dict[str, Any]:
    """Frames second, 226 text tokens."""
    return {
        "hidden_states": torch.zeros(batch, 1, 16, height // 8, width // 8, dtype=dtype),
        "encoder_hidden_states": torch.zeros(batch, 226, 4096, dtype=dtype),
        "timestep": torch.zeros(batch, dtype=torch.long),
        "image_rotary_emb": _rotary((height // 16) * (width // 16), 64),
    }


def _rotary(tokens: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(tokens, width), torch.zeros(tokens, width)


def ltx(batch: int, height: int, width: int, dtype: torch.dtype) -> dict[str, Any]:
    """A token for 32 x 32 pixels, 128 text tokens."""
    rows, columns = height // 32, width // 32
    return {
        "hidden_states": torch.zeros(batch, rows * columns, 128, dtype=dtype),
        "encoder_hidden_states": torch.zeros(batch, 128, 4096, dtype=dtype),
        "timestep": torch.zeros(batch, dtype=dtype),
        "encoder_attention_mask": torch.ones(batch, 128, dtype=dtype),
        "num_frames": 1,
        "height": rows,
        "width": columns,
    }


def qwen_image(batch: int, height: int, width: int, dtype: torch.dtype) -> dict[str, Any]:
    """Packed latents and 512 text tokens."""
    rows, columns = height // 16, width // 16
    return {
        "hidden_states": torch.zeros(batch, rows * columns, 64, dtype=dtype),
        "encoder_hidden_states": torch.zeros(batch, 512, 3584, dtype=dtype),
        "encoder_hidden_states_mask": torch.ones(batch, 512, dtype=torch.long),
        "timestep": torch.zeros(batch, dtype=dtype),
        "img_shapes": [[(1, rows, columns)]] * batch,
    }


def z_image(batch: int, height: int, width: int, dtype: torch.dtype) -> dict[str, Any]:
    """Lists of pictures and of texts, 512 tokens each."""
    return {
        "x": [torch.zeros(16, 1, height // 8, width // 8, dtype=dtype) for _ in range(batch)],
        "t": torch.zeros(batch, dtype=dtype),
        "cap_feats": [torch.zeros(512, 2560, dtype=dtype) for _ in range(batch)],
    }


def ernie(batch: int, height: int, width: int, dtype: torch.dtype) -> dict[str, Any]:
    """Latents of 16 x 16 pixels, 512 text tokens."""
    return {
        "hidden_states": torch.zeros(batch, 128, height // 16, width // 16, dtype=dtype),
        "timestep": torch.zeros(batch, dtype=dtype),
        "text_bth": torch.zeros(batch, 512, 2560, dtype=dtype),
        "text_lens": torch.full((batch,), 512, dtype=torch.long),
    }


def krea(batch: int, height: int, width: int, dtype: torch.dtype) -> dict[str, Any]:
    """Packed latents; twelve layers of a text encoder at 512 tokens."""
    tokens = (height // 16) * (width // 16)
    return {
        "hidden_states": torch.zeros(batch, tokens, 64, dtype=dtype),
        "encoder_hidden_states": torch.zeros(batch, 512, 12, 2560, dtype=dtype),
        "timestep": torch.zeros(batch, dtype=dtype),
        "position_ids": torch.zeros(tokens + 512, 3, dtype=dtype),
    }


def hunyuan_dit(batch: int, height: int, width: int, dtype: torch.dtype) -> dict[str, Any]:
    """CLIP at 77 tokens and mT5 at 256."""
    return {
        "hidden_states": torch.zeros(batch, 4, height // 8, width // 8, dtype=dtype),
        "timestep": torch.zeros(batch, dtype=dtype),
        "encoder_hidden_states": torch.zeros(batch, 77, 1024, dtype=dtype),
        "text_embedding_mask": torch.ones(batch, 77, dtype=torch.bool),
        "encoder_hidden_states_t5": torch.zeros(batch, 256, 2048, dtype=dtype),
        "text_embedding_mask_t5": torch.ones(batch, 256, dtype=torch.bool),
        "image_meta_size": torch.zeros(batch, 6, dtype=dtype),
        "style": torch.zeros(batch, dtype=torch.long),
        "image_rotary_emb": _rotary((height // 16) * (width // 16), 88),
    }
