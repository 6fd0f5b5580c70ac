"""What some blocks of a hybrid have in place of attention, or beside it: gated delta nets, short convolutions, Mamba 2.

Each runs in a kernel of its own where that kernel's package is installed, and in plain torch where it is not, which
keeps many times more: ``kept`` and ``transient`` are of the kernels. What a kernel keeps for backward was read off its
autograd function: ``ChunkGatedDeltaRuleFunction`` of fla-core 0.6.0, ``CausalConv1dFn`` of causal-conv1d,
``MambaSplitConv1dScanCombinedFn`` of mamba-ssm. The rest of a block was traced in transformers 5.24 with those
functions stood in for (``tools/check_decoders.py``).
"""

from __future__ import annotations

from typing import NamedTuple

from vramlint.memory.arithmetic import Saved
from vramlint.memory.linear import Linear

CHUNK = 64
"""Tokens that a gated delta net works on at a time (fla-core 0.6.0, ``chunk_gated_delta_rule``'s ``chunk_size``)."""


class GatedDelta(NamedTuple):
    """A gated delta net (Qwen3-Next, Qwen3.5): heads and their widths, taps of the convolution before it.

    ``joint``: one projection makes queries, keys, values and gates, another both scalars of each head (Qwen3-Next).
    """

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    taps: int
    joint: bool = False

    @property
    def keys(self) -> int:
        return self.key_heads * self.key_dim

    @property
    def values(self) -> int:
        return self.value_heads * self.value_dim

    def linears(self, hidden: int) -> tuple[Linear, ...]:
        """The projections, by the names that transformers gives them."""
        mixed, values, scalars = 2 * self.keys + self.values, self.values, self.value_heads
        out = Linear("out_proj", values, hidden, "mixed")
        widths = {"in_proj_qkv": mixed, "in_proj_z": values, "in_proj_b": scalars, "in_proj_a": scalars}
        if self.joint:
            widths = {"in_proj_qkvz": mixed + values, "in_proj_ba": 2 * scalars}
        return (*(Linear(name, hidden, width, "attention") for name, width in widths.items()), out)

    @property
    def extras(self) -> int:
        """Parameters beside the projections: the convolution, each head's decay and its bias, the norm."""
        return (2 * self.keys + self.values) * self.taps + 2 * self.value_heads + self.value_dim

    def kept(self, weight: int, c: int, *, trains: bool) -> list[Saved]:
        """Bytes per token that one block keeps for backward; bytes of a weight, and ``c`` of an element."""
        heads, values = self.value_heads, self.values
        # The norm's fp32 input, its gate and the gate's activation in fp32, the normalised product.
        norm = 12 * values + weight * values + 4 * heads + (c * values if trains else 0)
        return [
            Saved("convolution's input", c * (2 * self.keys + values)),
            Saved("normalised queries and keys, values", c * (2 * self.keys + values) + 8 * self.key_heads),
            Saved("chunks' triangular systems", c * CHUNK * heads),
            Saved("decays and rates", (4 + 8 + c) * heads),
            Saved("gated norm", norm),
            Saved("input of out_proj", c * values if trains else 0),
        ]

    def transient(self, c: int) -> int:
        """Bytes per token alive inside the kernel's backward, beyond what was kept and the gated norm has not freed.

        ``chunk_gated_delta_rule_bwd``: w, u, new values, both passes' states of each chunk, and the gradients.
        """
        keys, values = self.value_heads * self.key_dim, self.values
        states = 2 * values * self.key_dim // CHUNK
        freed = 12 * values + 2 * c * values
        return c * (2 * keys + 4 * values + states) + c * 3 * self.keys - freed


class ShortConv(NamedTuple):
    """LFM2's gated short convolution over the hidden width: one projection to three, one back."""

    hidden: int
    taps: int
    biases: bool = False

    def linears(self, hidden: int) -> tuple[Linear, ...]:
        return (Linear("in_proj", hidden, 3 * hidden, "attention"), Linear("out_proj", hidden, hidden, "mixed"))

    @property
    def extras(self) -> int:
        return self.hidden * self.taps + (5 * self.hidden if self.biases else 0)

    def kept(self, weight: int, c: int, *, trains: bool) -> list[Saved]:
        """The projection's three parts, the gated input and the convolved one; the product that is projected back."""
        del weight
        return [
            Saved("both gates and their input", 3 * c * self.hidden),
            Saved("convolution's input and output", 2 * c * self.hidden),
            Saved("input of out_proj", c * self.hidden if trains else 0),
        ]

    def transient(self, c: int) -> int:
        return 3 * c * self.hidden


class Mamba2(NamedTuple):
    """A Mamba 2 mixer: heads, their width, groups, state, taps; ``conv_bias``; ``norm``: a gated norm before the
    output projection."""

    heads: int
    head_dim: int
    groups: int
    state: int
    taps: int
    conv_bias: bool = True
    biases: bool = False
    norm: bool = True

    @property
    def inner(self) -> int:
        return self.heads * self.head_dim

    @property
    def convolved(self) -> int:
        return self.inner + 2 * self.groups * self.state

    def linears(self, hidden: int) -> tuple[Linear, ...]:
        inputs = Linear("in_proj", hidden, self.inner + self.convolved + self.heads, "attention")
        return (inputs, Linear("out_proj", self.inner, hidden, "mixed"))

    @property
    def extras(self) -> int:
        norm = self.inner if self.norm else 0
        return self.convolved * (self.taps + self.conv_bias) + 3 * self.heads + norm

    def kept(self, weight: int, c: int, *, trains: bool) -> list[Saved]:
        """The projection's output, the scan's, and the norm's statistics, trained or not: the kernel makes the rest
        again."""
        del weight, trains
        return [
            Saved("projected input of the scan", c * (self.inner + self.convolved + self.heads)),
            Saved("output of the scan", c * self.inner),
            Saved("statistics of the gated norm", 4 * self.groups if self.norm else 0),
        ]

    def transient(self, c: int) -> int:
        """The gradient of the projection's output, the convolved input and its gradient, the scan's in and out."""
        return c * (self.inner + self.convolved + self.heads) + 2 * c * self.convolved + 3 * c * self.inner


Mixer = GatedDelta | ShortConv | Mamba2
