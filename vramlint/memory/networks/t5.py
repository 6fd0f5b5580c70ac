"""T5, v1.1, FLAN-T5, mT5 and UMT5: norms without a mean, and scores with a learnt bias by relative position.

The bias makes attention take the memory-efficient kernel, with a bias of batch x heads x queries x keys once a mask is
in it. Sources: transformers 5.24 ``models/{t5,umt5}/modeling_*.py``, ``integrations/sdpa_attention.py``
(``create_position_bias_mask``); before transformers 5 the scores were spelled out (``eager``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.tape import Parameter, Tensor
from vramlint.memory.networks.knowledge import Config, Family
from vramlint.memory.networks.parts import (
    Attending,
    Embedding,
    Linear,
    RMSNorm,
    attend,
    cross_entropy,
    gelu_new,
    tied,
)
from vramlint.memory.networks.stepping import Run


class Attention:
    """Projections without biases; scores are not scaled."""

    def __init__(self, run: Run, config: Config) -> None:
        self.run, self.heads = run, int(config["num_heads"])
        width, inner = int(config["d_model"]), int(config["num_heads"]) * int(config["d_kv"])
        self.dropout = float(config.get("dropout_rate", 0.1))
        self.query, self.key, self.value = (Linear(run, name, width, inner, bias=False) for name in "qkv")
        self.out = Linear(run, "o", inner, width, bias=False)

    def __call__(self, x: Tensor, others: Tensor | None, how: Attending) -> Tensor:
        query, source = self.query(x), x if others is None else others
        key, value = self.key(source), self.value(source)
        found = attend(self.run, query, key, value, how)
        del query, key, value, source, x
        return self.out(found)


class Relative:
    """The table of biases by distance, one for each head."""

    def __init__(self, run: Run, config: Config) -> None:
        self.run, self.heads = run, int(config["num_heads"])
        self.weight: Parameter = run.weight(int(config.get("relative_attention_num_buckets", 32)) * self.heads)

    def __call__(self, queries: int, keys: int) -> Tensor:
        """(1, heads, queries, keys), the heads lying last."""
        size = self.run.way.weight_bytes
        buckets = self.run.tape.new(queries, keys, itemsize=8)
        return self.run.tape.record(
            (1, self.heads, queries, keys), size, (self.weight,), (size * self.weight.elements,), (buckets,)
        )


class Feed:
    """Two linear layers, or three where one gates the other."""

    def __init__(self, run: Run, config: Config) -> None:
        self.run = run
        words = str(config.get("feed_forward_proj", "relu")).split("-")
        self.gated, self.activation = words[0] == "gated", words[-1]
        width, inner = int(config["d_model"]), int(config["d_ff"])
        self.dropout = float(config.get("dropout_rate", 0.1))
        names = ("wi_0", "wi_1") if self.gated else ("wi",)
        self.up = [Linear(run, name, width, inner, bias=False) for name in names]
        self.down = Linear(run, "wo", inner, width, bias=False)

    def __call__(self, x: Tensor) -> Tensor:
        inner = ops.relu(self.up[0](x)) if self.activation == "relu" else self._smooth(self.up[0](x))
        if self.gated:
            inner = ops.mul(inner, self.up[1](x))
        del x
        inner = ops.dropout(inner, self.dropout)
        inner = self.run.tape.cast(inner, self.run.way.weight_bytes)
        return self.down(inner)

    def _smooth(self, x: Tensor) -> Tensor:
        """``gated-gelu`` stands for the GELU of the first T5 v1.1, spelled out in Python."""
        spelled = self.activation in ("gelu_new",) or (self.gated and self.activation == "gelu")
        return gelu_new(x) if spelled else ops.keeps_input(x)


class Layer:
    """Self-attention, in a decoder attention to the encoder's output, and the feed-forward layers."""

    def __init__(self, run: Run, config: Config, *, decodes: bool) -> None:
        self.run, self.decodes = run, decodes
        width = int(config["d_model"])
        self.rate = float(config.get("dropout_rate", 0.1))
        self.attention, self.relative = Attention(run, config), None
        if config["model_type"] == "umt5":
            self.relative = Relative(run, config)
        self.norm = RMSNorm(run, width)
        if decodes:
            self.cross, self.cross_norm = Attention(run, config), RMSNorm(run, width)
        self.feed, self.last_norm = Feed(run, config), RMSNorm(run, width)
        self.mask: Tensor | None = None
        self.cross_mask: Tensor | None = None

    def __call__(self, x: Tensor, *others: Tensor) -> Tensor:
        """``others``: the encoder's output in a decoder; but in UMT5 the bias, and that of attention across."""
        heads, dropout = self.attention.heads, self.attention.dropout
        states, biases = (others[:1], others[1:]) if self.decodes else ((), others)
        bias = biases[0] if self.relative is None else self.relative(x.shape[1], x.shape[1])
        how = Attending(heads, dropout, mask=self.mask, bias=bias, causal=self.decodes, permuted=True)
        del bias
        x = ops.add(x, ops.dropout(self.attention(self.norm(x), None, how), self.rate))
        if self.decodes:
            bias = biases[1] if self.relative is None else self._none(x, states[0])
            how = Attending(heads, dropout, mask=self.cross_mask, bias=bias)
            del bias
            x = ops.add(x, ops.dropout(self.cross(self.cross_norm(x), states[0], how), self.rate))
        return ops.add(x, ops.dropout(self.feed(self.last_norm(x)), self.rate))

    def _none(self, x: Tensor, states: Tensor) -> Tensor:
        """No bias, as zeros."""
        size = self.run.way.weight_bytes if not self.run.way.half else 2
        return self.run.tape.new(1, self.attention.heads, x.shape[1], states.shape[1], itemsize=size)


class T5:
    """Encoder and decoder over one embedding."""

    def __init__(self, run: Run, config: Config) -> None:
        self.run, self.config = run, config
        self.width, self.vocabulary = int(config["d_model"]), int(config["vocab_size"])
        self.rate = float(config.get("dropout_rate", 0.1))
        self.shared = Embedding(run, self.vocabulary, self.width)
        shares = config["model_type"] != "umt5"
        layers = int(config["num_layers"]), int(config.get("num_decoder_layers") or config["num_layers"])
        self.encoder = run.built(layers[0], lambda _: Layer(run, config, decodes=False))
        self.decoder = run.built(layers[1], lambda _: Layer(run, config, decodes=True))
        self.relative = [Relative(run, config), Relative(run, config)] if shares else []
        self.norms = RMSNorm(run, self.width), RMSNorm(run, self.width)
        tied_head = config.get("tie_word_embeddings", True)
        self.head = None if tied_head else Linear(run, "lm_head", self.width, self.vocabulary, bias=False, head=True)

    def loss(self, sizes: Mapping[str, int]) -> Tensor:
        run, batch, source, target = self.run, sizes["batch"], sizes["source"], sizes["target"]
        ids, labels = run.given(batch, source), run.given(batch, target)
        if run.way.padded:
            run.given(batch, source)
        shifted = run.tape.new(batch, target, itemsize=8)
        found = self._encoded(ids, source)
        found = self._decoded(shifted, found)
        if self.head is None:
            logits = tied(run, ops.scaled(found), self.shared.weight, self.vocabulary)
        else:
            logits = self.head(found)
        del found
        return cross_entropy(logits, labels)

    def _encoded(self, ids: Tensor, source: int) -> Tensor:
        x = ops.dropout(self.run.entering(self.shared(ids)), self.rate)
        self._masked(self.encoder[1], self.run.padding(ids.shape[0], source, source), None)
        bias = [self.relative[0](source, source)] if self.relative else []
        x = self.run.stack(self.encoder, x, *bias)
        del bias
        return ops.dropout(self.norms[0](x), self.rate)

    def _decoded(self, ids: Tensor, states: Tensor) -> Tensor:
        batch, target, source = ids.shape[0], ids.shape[1], states.shape[1]
        x = ops.dropout(self.run.entering(self.shared(ids)), self.rate)
        self._masked(self.decoder[1], None, self.run.padding(batch, target, source))
        biases = []
        if self.relative:
            size = 2 if self.run.way.half else self.run.way.weight_bytes
            nothing = self.run.tape.new(1, int(self.config["num_heads"]), target, source, itemsize=size)
            if self.run.way.checkpointing:
                nothing = self.run.needing(nothing)
            biases = [self.relative[1](target, target), nothing]
            del nothing
        x = self.run.stack(self.decoder, x, states, *biases)
        del biases, states
        return ops.dropout(self.norms[1](x), self.rate)

    @staticmethod
    def _masked(blocks: list[Any], mask: Tensor | None, cross: Tensor | None) -> None:
        for block in blocks:
            block.mask, block.cross_mask = mask, cross


def family_of(config: Config) -> Family | None:
    """T5 as its config says; not the variants with local attention or experts, which have types of their own."""
    return None if config.get("num_sparse_encoder_layers") else Family(T5, "pair", ("q", "v"))
