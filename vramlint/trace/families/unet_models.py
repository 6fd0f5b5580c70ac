"""Variants of the U-Net in plain torch, one class, binary cross-entropy plus Dice."""

from __future__ import annotations

from typing import NamedTuple

from vramlint.trace.events import Shape
from vramlint.trace.families.images import forward, mask_loss, with_masks
from vramlint.trace.targets import Target, UnknownModel
from vramlint.trace.tracer import Job
from vramlint.trace.unets import Block, RecurrentBlock, VariantUNet, plain_block


class _Variant(NamedTuple):
    block: Block
    base: int
    gated: bool
    words: str


_VARIANTS = {
    "unet_base32": _Variant(plain_block, 32, gated=False, words="32 to 512 channels"),
    "attention_unet": _Variant(plain_block, 64, gated=True, words="64 to 1024 channels, attention gates"),
    "r2unet": _Variant(RecurrentBlock, 64, gated=False, words="64 to 1024 channels, recurrent residual blocks, t = 2"),
}


def find(name: str) -> Target:
    """One of the variants by name. Raises UnknownModel for any other."""
    if name not in _VARIANTS:
        raise UnknownModel(f"no U-Net variant {name!r}")
    variant = _VARIANTS[name]

    def make(shape: Shape, checkpointing: bool) -> Job:
        model = VariantUNet(variant.block, variant.base, gated=variant.gated, checkpointing=checkpointing)
        return Job(model, lambda: with_masks(shape), mask_loss, forward)

    words = (
        f"{variant.words}, batch norm, one class, binary cross-entropy plus Dice",
        "checkpointing recomputes blocks",
    )
    return Target(name, make, ("torch",), words, has_checkpointing=True, size_multiple=16)
