"""Megatron-LM's hybrid models: Mamba-2, attention, MLP and expert layers, each with a norm and a residual of its own.

Read in Megatron-LM 2026-08 ``core/ssm/mamba_mixer.py`` and mamba_ssm 2.2 ``ops/triton/ssd_combined.py``
(``MambaSplitConv1dScanCombinedFn`` keeps its input and its output and recomputes the scan).
"""

from __future__ import annotations

from typing import NamedTuple

from vramlint.memory.architecture import DecoderConfig
from vramlint.memory.arithmetic import Saved
from vramlint.memory.megatron_ledger import (
    HALF,
    MegatronOptions,
    attention_layer,
    dropout_mask,
    expert_layer,
    mlp_layer,
    norm_ledger,
)
from vramlint.memory.parallel import Parallelism

_CONVOLUTION = 4
"""Width of the convolution over a sequence (``mamba_mixer.py`` ``d_conv``)."""


class Mamba(NamedTuple):
    """A Mamba-2 layer: ``inner`` width in ``heads``, with ``groups`` of B and C of ``state`` elements each."""

    inner: int
    groups: int
    state: int
    heads: int

    @property
    def projected(self) -> int:
        """Width of z, x, B, C and dt."""
        return 2 * self.inner + 2 * self.groups * self.state + self.heads

    def parameters(self, hidden: int, tensor: int) -> int:
        """Of one rank: both projections, the convolution with its bias, A, D and dt's bias, the gated norm."""
        mixed = self.inner + 2 * self.groups * self.state
        local = hidden * (self.projected + self.inner) + mixed * (_CONVOLUTION + 1) + 3 * self.heads + self.inner
        return local // tensor


class Hybrid(NamedTuple):
    """The layers of each rank of the pipeline, a letter each: Mamba (``M``), attention (``*``), MLP (``-``), experts
    (``E``)."""

    stages: tuple[str, ...]
    mamba: Mamba

    def layers(self, stage: int) -> str:
        return self.stages[stage]


def hybrid_ledger(
    letter: str, hybrid: Hybrid, config: DecoderConfig, parallel: Parallelism, options: MegatronOptions, keys: int
) -> tuple[Saved, ...]:
    """What one layer keeps, in bytes per token."""
    match letter:
        case "*":
            return attention_layer(config, parallel, options, keys)
        case "E":
            return expert_layer(config, parallel, options)
        case "M":
            return (*norm_ledger("Mamba", config, parallel, options), *_mamba(hybrid.mamba, config, parallel, options))
        case _:
            return mlp_layer(config, parallel, options)


def _mamba(mamba: Mamba, config: DecoderConfig, parallel: Parallelism, options: MegatronOptions) -> tuple[Saved, ...]:
    t = parallel.tensor
    return (
        Saved("projected z, x, B, C and dt", HALF * mamba.projected // t),
        Saved("scan's output", HALF * mamba.inner // t),
        Saved("gated norm's output", options.input_bytes * mamba.inner // t),
        Saved("gated norm's statistics", 4 * mamba.groups // t),
        Saved("dropout mask", dropout_mask(config, parallel, options)),
    )
