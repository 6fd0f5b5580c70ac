"""BERT and its kin: text encoders with the heads that fine-tuning puts on them.

Sources: transformers 5.24 ``models/{bert,roberta,xlm_roberta,electra,albert,distilbert}/modeling_*.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.tape import Tensor
from vramlint.memory.networks.blocks import Block, Shape, activated, masked
from vramlint.memory.networks.knowledge import Config, Family
from vramlint.memory.networks.parts import Embedding, LayerNorm, Linear, cross_entropy, tied
from vramlint.memory.networks.stepping import RUN_BLOCKS, Run

HEAD = "head"
"""Key beside a config's own: the head's kind, ``SequenceClassification`` where nothing says another."""

_LABELS = 2


class Kin(NamedTuple):
    """What differs between the kin. ``head``: layers before the classifier."""

    head: str
    """``pooler`` (tanh of the first token, part of the model), ``dense`` (a layer of the head), ``relu``."""
    names: tuple[str, str, str, str, str, str] = ("query", "key", "value", "dense", "dense", "dense")
    sizes: tuple[str, str, str, str] = (
        "hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers",
    )  # fmt: skip
    types: bool = True
    drops: tuple[str, str] = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    query_value: tuple[str, ...] = ("query", "value")
    dropped: tuple[bool, bool] = (True, True)
    holds_inner: bool = True


KINDS = {
    "bert": Kin("pooler"),
    "roberta": Kin("dense"),
    "xlm-roberta": Kin("dense"),
    "camembert": Kin("dense"),
    "electra": Kin("dense"),
    "albert": Kin("pooler", ("query", "key", "value", "dense", "ffn", "ffn_output"), dropped=(True, False),
                  holds_inner=False),
    "distilbert": Kin(
        "relu", ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"), ("dim", "hidden_dim", "n_heads", "n_layers"),
        types=False, drops=("dropout", "attention_dropout"), query_value=("q_lin", "v_lin"),
        dropped=(False, True), holds_inner=False,
    ),
}  # fmt: skip


class Encoder:
    """Embeddings, a stack of blocks with norms after, and a head."""

    def __init__(self, run: Run, config: Config) -> None:
        self.run, self.config = run, config
        self.kin = kin = KINDS[str(config["model_type"])]
        self.width, ffn, heads, layers = (int(config[key]) for key in kin.sizes)
        self.rate, attention = (float(config.get(key, 0.1)) for key in kin.drops)
        activation = str(config.get("hidden_act") or config.get("activation") or "gelu")
        self.shape = Shape(
            self.width, ffn, heads, layers, before=False, activation=activation, dropout=self.rate,
            attention_dropout=attention, names=kin.names, drops=kin.dropped, holds_inner=kin.holds_inner,
        )  # fmt: skip
        widens = config["model_type"] in ("electra", "albert")
        self.narrow = int(config.get("embedding_size") or self.width) if widens else self.width
        self.vocabulary = int(config["vocab_size"])
        self.words = Embedding(run, self.vocabulary, self.narrow)
        self.positions = Embedding(run, int(config["max_position_embeddings"]), self.narrow)
        self.types = Embedding(run, int(config.get("type_vocab_size", 2)), self.narrow) if kin.types else None
        self.norm = LayerNorm(run, self.narrow)
        self.widen = Linear(run, "embeddings_project", self.narrow, self.width) if self.narrow != self.width else None
        if config["model_type"] == "albert":
            shared = Block(run, self.shape)  # every layer is the same one
            self.blocks: tuple[int, Sequence[Block]] = (layers, [shared] * min(layers, RUN_BLOCKS))
        else:
            self.blocks = run.built(layers, lambda _: Block(run, self.shape))
        self.head = _head(run, config, kin, self.width, self.narrow)

    def loss(self, sizes: Mapping[str, int]) -> Tensor:
        run, batch, length = self.run, sizes["batch"], sizes["length"]
        ids = run.given(batch, length)
        if run.way.padded:
            run.given(batch, length)
        x = self._embedded(ids)
        masked(self.blocks[1], run.padding(batch, length, length))
        x = run.stack(self.blocks, x)
        masked(self.blocks[1], None)
        return self.head(x, self.words)

    def _embedded(self, ids: Tensor) -> Tensor:
        tape = self.run.tape
        x = self.run.entering(self.words(ids))
        rows = tape.new(1, ids.shape[1], itemsize=8)
        if self.types is not None:
            x = ops.add(x, self.types(tape.new(*ids.shape, itemsize=8)))
        x = self.norm(ops.add(x, self.positions(rows)))
        x = ops.dropout(x, self.rate)
        return x if self.widen is None else self.widen(x)


class _Head:
    """A loss on the encoder's output."""

    def __init__(self, run: Run, config: Config) -> None:
        self.run = run
        self.labels = int(config.get("num_labels") or len(config.get("id2label") or ()) or _LABELS)
        self.rate = float(config.get("classifier_dropout") or config.get("seq_classif_dropout") or 0.1)


class _Sequence(_Head):
    """One label a sample, from its first token."""

    def __init__(self, run: Run, config: Config, kin: Kin, width: int) -> None:
        super().__init__(run, config)
        self.kin, self.smooth = kin, config["model_type"] == "electra"
        self.dense = Linear(run, "pre_classifier" if kin.head == "relu" else "dense", width, width)
        self.out = Linear(run, "classifier", width, self.labels, head=True)

    def __call__(self, x: Tensor, words: Embedding) -> Tensor:
        del words
        first = ops.select(x, (x.shape[0], x.shape[2]))
        del x
        if self.kin.head == "dense":
            first = ops.dropout(first, self.rate)
        first = self.dense(first)
        first = activated(first, "relu") if self.kin.head == "relu" else self._bent(first)
        logits = self.out(ops.dropout(first, self.rate))
        del first
        return cross_entropy(logits, self.run.given(logits.shape[0]))

    def _bent(self, x: Tensor) -> Tensor:
        """Through a tanh; ELECTRA's head has a GELU."""
        return ops.keeps_input(x) if self.smooth else ops.keeps_result(x)


class _Tokens(_Head):
    """A label, or two ends of an answer, for every token."""

    def __init__(self, run: Run, config: Config, width: int, *, ends: bool) -> None:
        super().__init__(run, config)
        self.ends = ends
        self.out = Linear(run, "classifier", width, _LABELS if ends else self.labels, head=True)

    def __call__(self, x: Tensor, words: Embedding) -> Tensor:
        del words
        logits = self.out(x if self.ends else ops.dropout(x, self.rate))
        del x
        if not self.ends:
            return cross_entropy(logits, self.run.given(*logits.shape[:2]))
        batch, length = logits.shape[:2]
        pair = [ops.copy(each, (batch, length)) for each in ops.split(logits, (1, 1), axis=-1)]
        losses = [cross_entropy(each, self.run.given(batch)) for each in pair]
        return ops.scaled(ops.add(*losses))


class _Masked(_Head):
    """Logits over the vocabulary for every token, through the embedding's own weights."""

    def __init__(self, run: Run, config: Config, width: int, narrow: int) -> None:
        super().__init__(run, config)
        self.activation = str(config.get("hidden_act") or config.get("activation") or "gelu")
        self.dense, self.norm = Linear(run, "dense", width, narrow), LayerNorm(run, narrow)
        self.vocabulary = int(config["vocab_size"])
        self.bias = run.weight(self.vocabulary)

    def __call__(self, x: Tensor, words: Embedding) -> Tensor:
        x = self.norm(activated(self.dense(x), self.activation))
        logits = tied(self.run, x, words.weight, self.vocabulary, self.bias)
        del x
        return cross_entropy(logits, self.run.given(*logits.shape[:2]))


def _head(run: Run, config: Config, kin: Kin, width: int, narrow: int) -> _Sequence | _Tokens | _Masked:
    match str(config.get(HEAD) or _of_architecture(config)):
        case "MaskedLM":
            return _Masked(run, config, width, narrow)
        case "TokenClassification":
            return _Tokens(run, config, width, ends=False)
        case "QuestionAnswering":
            return _Tokens(run, config, width, ends=True)
        case _:
            return _Sequence(run, config, kin, width)


def _of_architecture(config: Config) -> str:
    """``BertForTokenClassification`` in a fine-tune's own config; a pretrained model's head is not what is trained."""
    named = config.get("architectures")
    word = str(named[0]).partition("For")[2] if isinstance(named, (list, tuple)) and named else ""
    return word if word in ("TokenClassification", "QuestionAnswering") else ""


def family_of(config: Config) -> Family | None:
    """How a config of these types is built; None for encoders that cross-attend or decode."""
    if int(config.get("num_hidden_groups", 1)) > 1 or int(config.get("inner_group_num", 1)) > 1:
        return None
    if config.get("is_decoder") or config.get("add_cross_attention"):
        return None
    kind = str(config["model_type"])
    return Family(Encoder, "text", KINDS[kind].query_value, checkpoints=kind != "albert")
