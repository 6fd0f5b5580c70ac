"""BART and its kin, and Whisper: encoder-decoders with LayerNorms before or after, and learned or fixed positions.

Sources: transformers 5.24 ``models/{bart,mbart,pegasus,marian,m2m_100,whisper}/modeling_*.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.tape import Parameter, Tensor
from vramlint.memory.networks.knowledge import Config, Family
from vramlint.memory.networks.parts import (
    Attending,
    Convolution,
    Embedding,
    LayerNorm,
    Linear,
    attend,
    cross_entropy,
    tied,
)
from vramlint.memory.networks.stepping import Run


class Kin(NamedTuple):
    """What differs between the kin. ``before``: norms stand before attention and MLP, and one more ends each stack.

    ``positions``: ``learned``, ``fixed`` (a table that does not train) or ``computed`` (no parameter).
    """

    before: bool
    positions: str
    embedding_norm: bool
    by_head: bool = False
    """Whether queries, keys and values are copied head by head before attention."""
    key_bias: bool = True
    offset: int = 0
    """Rows of the table of positions beyond the longest sequence."""


KINDS = {
    "bart": Kin(before=False, positions="learned", embedding_norm=True, offset=2),
    "mbart": Kin(before=True, positions="learned", embedding_norm=True, offset=2),
    "pegasus": Kin(before=True, positions="fixed", embedding_norm=False),
    "marian": Kin(before=False, positions="fixed", embedding_norm=False),
    "m2m_100": Kin(before=True, positions="computed", embedding_norm=False),
    "whisper": Kin(before=True, positions="learned", embedding_norm=False, by_head=True, key_bias=False),
}


_COMPUTED_ROWS = 2
"""Rows of M2M100's buffer of sinusoids beyond the longest sequence (``offset``)."""


class Attention:
    """Four projections of ``width`` around a kernel."""

    def __init__(self, run: Run, kin: Kin, width: int, heads: int, dropout: float) -> None:
        self.run, self.kin, self.heads, self.dropout = run, kin, heads, dropout
        self.key = Linear(run, "k_proj", width, width, bias=kin.key_bias)
        self.value = Linear(run, "v_proj", width, width)
        self.query = Linear(run, "q_proj", width, width)
        self.out = Linear(run, "out_proj", width, width)

    def __call__(self, x: Tensor, others: Tensor | None, mask: Tensor | None, *, causal: bool = False) -> Tensor:
        query = self.query(x)
        if self.kin.by_head:
            query = ops.copy(ops.scaled(query))
        source = x if others is None else others
        key, value = self.key(source), self.value(source)
        if self.kin.by_head:
            key, value = ops.copy(key), ops.copy(value)
        how = Attending(self.heads, self.dropout, mask=mask, causal=causal)
        found = attend(self.run, query, key, value, how, by_head=self.kin.by_head)
        del query, key, value, source, x
        return self.out(found)


class Layer:
    """A block of encoder or decoder; the decoder's attends to the encoder's output too."""

    def __init__(self, run: Run, kin: Kin, config: Config, side: str) -> None:
        self.run, self.kin, self.config = run, kin, config
        self.decodes = side == "decoder"
        width, heads = int(config["d_model"]), int(config[f"{side}_attention_heads"])
        ffn, dropout = int(config[f"{side}_ffn_dim"]), float(config.get("attention_dropout", 0.0))
        self.attention = Attention(run, kin, width, heads, dropout)
        self.norm = LayerNorm(run, width)
        if self.decodes:
            self.cross, self.cross_norm = Attention(run, kin, width, heads, dropout), LayerNorm(run, width)
        self.up, self.down = Linear(run, "fc1", width, ffn), Linear(run, "fc2", ffn, width)
        self.last_norm = LayerNorm(run, width)
        self.mask: Tensor | None = None
        self.cross_mask: Tensor | None = None

    def __call__(self, x: Tensor, others: Tensor | None = None) -> Tensor:
        rate = float(self.config.get("dropout", 0.0))
        before = self.kin.before
        inner = self.norm(x) if before else x
        inner = self.attention(inner, None, self.mask, causal=self.decodes)
        x = ops.add(x, ops.dropout(inner, rate))
        del inner
        x = x if before else self.norm(x)
        if others is not None:
            inner = self.cross_norm(x) if before else x
            inner = self.cross(inner, others, self.cross_mask)
            x = ops.add(x, ops.dropout(inner, rate))
            del inner
            x = x if before else self.cross_norm(x)
        inner = self.last_norm(x) if before else x
        inner = ops.keeps_input(self.up(inner)) if _smooth(self.config) else ops.relu(self.up(inner))
        inner = ops.dropout(inner, float(self.config.get("activation_dropout", 0.0)))
        inner = self.down(inner)
        x = ops.add(x, ops.dropout(inner, rate))
        del inner
        return x if before else self.last_norm(x)

    def pending_bytes(self, x: Tensor) -> int:
        """Where dropout is off, an adapter's last gradients come before what they need is worked out again."""
        drops = float(self.config.get("dropout", 0.0)) > 0 or not self.kin.before
        return 0 if drops else self.down.pending_bytes(x)


def _smooth(config: Config) -> bool:
    """Whether the activation keeps its input, as GELU and SiLU do, not its result, as ReLU does."""
    return str(config.get("activation_function", "gelu")) != "relu"


class Positions:
    """Position embeddings: a table, or numbers worked out anew."""

    def __init__(self, run: Run, kin: Kin, config: Config, *, entries: int | None = None) -> None:
        self.run, self.kin = run, kin
        self.width = int(config["d_model"])
        length = int(config["max_position_embeddings"]) if entries is None else entries
        self.weight: Parameter | None = None
        if kin.positions == "computed":
            run.given(length + _COMPUTED_ROWS, self.width, itemsize=run.way.weight_bytes)  # a buffer
        else:
            with run.tape.frozen(active=kin.positions == "fixed"):
                self.weight = run.weight((length + kin.offset) * self.width)

    def __call__(self, x: Tensor) -> Tensor:
        """``x`` plus its positions."""
        size = self.run.way.weight_bytes
        if self.weight is None:
            table = self.run.tape.new(*x.shape, itemsize=self.run.way.weight_bytes)
            return ops.add(x, table)
        ids = self.run.tape.new(x.shape[1], itemsize=8)
        table = self.run.tape.record(
            (x.shape[1], self.width), size, (self.weight,), (size * self.weight.elements,), (ids,)
        )
        return ops.add(x, table)


class Encoder:
    """Embeddings or features in, a stack of blocks, and the last norm where norms stand before."""

    def __init__(self, run: Run, kin: Kin, config: Config) -> None:
        self.run, self.kin, self.config = run, kin, config
        width = int(config["d_model"])
        self.blocks = run.built(int(config["encoder_layers"]), lambda _: Layer(run, kin, config, "encoder"))
        self.last = LayerNorm(run, width) if kin.before else None

    def __call__(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for block in self.blocks[1]:
            assert isinstance(block, Layer)
            block.mask = mask
        x = self.run.stack(self.blocks, x)
        return x if self.last is None else self.last(x)


class Decoder:
    """The same over what was said so far, attending to the encoder's output."""

    def __init__(self, run: Run, kin: Kin, config: Config) -> None:
        self.run, self.kin, self.config = run, kin, config
        width = int(config["d_model"])
        self.blocks = run.built(int(config["decoder_layers"]), lambda _: Layer(run, kin, config, "decoder"))
        self.last = LayerNorm(run, width) if kin.before else None

    def __call__(self, x: Tensor, others: Tensor, cross_mask: Tensor | None) -> Tensor:
        for block in self.blocks[1]:
            assert isinstance(block, Layer)
            block.cross_mask = cross_mask
        x = self.run.stack(self.blocks, x, others)
        return x if self.last is None else self.last(x)


class Bart:
    """Source and target tokens; the head shares the embedding."""

    def __init__(self, run: Run, config: Config) -> None:
        self.run, self.config = run, config
        self.kin = kin = KINDS[str(config["model_type"])]
        self.width, self.vocabulary = int(config["d_model"]), int(config["vocab_size"])
        self.shared = Embedding(run, self.vocabulary, self.width)
        self.positions = Positions(run, kin, config), Positions(run, kin, config)
        self.embedding_norms = tuple(LayerNorm(run, self.width) for _ in range(2)) if kin.embedding_norm else ()
        self.encoder, self.decoder = Encoder(run, kin, config), Decoder(run, kin, config)

    def loss(self, sizes: Mapping[str, int]) -> Tensor:
        run, batch, source, target = self.run, sizes["batch"], sizes["source"], sizes["target"]
        ids, labels = run.given(batch, source), run.given(batch, target)
        if run.way.padded:
            run.given(batch, source)
        shifted = run.tape.new(batch, target, itemsize=8)
        found = self.encoder(self._embedded(ids, 0), run.padding(batch, source, source))
        found = self.decoder(self._embedded(shifted, 1), found, run.padding(batch, target, source))
        del ids, shifted
        logits = tied(self.run, found, self.shared.weight, self.vocabulary)
        del found
        logits = ops.shifted(logits)
        return cross_entropy(logits, labels)

    def _embedded(self, ids: Tensor, side: int) -> Tensor:
        x = self.run.entering(self.shared(ids))
        if self.config.get("scale_embedding"):
            x = ops.scaled(x)
        x = self.positions[side](x)
        if self.embedding_norms:
            x = self.embedding_norms[side](x)
        return ops.dropout(x, float(self.config.get("dropout", 0.0)))


class Whisper:
    """Thirty seconds of log-mel frames through two convolutions, and tokens that attend to them."""

    def __init__(self, run: Run, config: Config) -> None:
        self.run, self.config = run, config
        kin = KINDS["whisper"]
        self.width, self.vocabulary = int(config["d_model"]), int(config["vocab_size"])
        self.mels, self.frames = int(config["num_mel_bins"]), int(config["max_source_positions"])
        self.shared = Embedding(run, self.vocabulary, self.width)
        with run.part("encoder"):
            sides = ((self.mels, 1), (self.width, 2))
            self.convolutions = [Convolution(run, inside, self.width, 3, stride) for inside, stride in sides]
            fixed = Positions(run, kin._replace(positions="fixed"), config, entries=self.frames)
            self.encoder = Encoder(run, kin, config)
        learnt = Positions(run, kin, config, entries=int(config["max_target_positions"]))
        self.positions = fixed, learnt
        self.decoder = Decoder(run, kin, config)

    def loss(self, sizes: Mapping[str, int]) -> Tensor:
        """Every clip is padded to the length of the table of positions."""
        run, batch, target = self.run, sizes["batch"], sizes["target"]
        features = run.given(batch, self.mels, 2 * self.frames, itemsize=run.way.weight_bytes)
        labels, ids = run.given(batch, target), run.tape.new(batch, target, itemsize=8)
        x = ops.keeps_input(self.run.entering(self.convolutions[0](features)))
        x = ops.keeps_input(self.convolutions[1](x))
        x = self.positions[0](x.view(batch, self.frames, self.width))
        found = self.encoder(ops.dropout(x, float(self.config.get("dropout", 0.0))), None)
        del x
        x = self.positions[1](self.run.entering(self.shared(ids)))
        x = ops.dropout(x, float(self.config.get("dropout", 0.0)))
        found = self.decoder(x, found, None)
        del x, ids
        logits = tied(self.run, found, self.shared.weight, self.vocabulary)
        del found
        return cross_entropy(logits, labels)


def family_of(config: Config) -> Family:
    """How a config of these types is built."""
    if config["model_type"] == "whisper":
        return Family(Whisper, "speech", masks=False)
    return Family(Bart, "pair")
