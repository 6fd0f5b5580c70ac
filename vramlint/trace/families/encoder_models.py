"""Text encoders and encoder-decoders of transformers, with the heads that fine-tuning scripts put on them.

A shape is a checkpoint's, taken from its model card and built without its weights; ``parameters`` of the model with its
head follows from it and is checked against transformers on the meta device by the tests of ``tools``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from vramlint.trace.events import Shape
from vramlint.trace.pairing import TOKEN_TERMS
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.targets import TOLERANCE, Target, UnknownModel
from vramlint.trace.tracer import Job

SHAPES = (
    Shape(2, seq_len=64),
    Shape(3, seq_len=160),
    Shape(3, seq_len=64),
    Shape(4, seq_len=256),
    Shape(5, seq_len=96),
    Shape(2, seq_len=320),
)
CONFIRM = (Shape(1, seq_len=384), Shape(6, seq_len=128))
_BUCKETED = {"deberta-v2": 0.02}
"""Tables of relative positions, one for the whole batch, grow with the logarithm of the distance, which no term is."""

TERMS = (*TOKEN_TERMS, "BS^2")
"""Attention with a bias or with dropout keeps its matrix of scores."""
PAIR_TERMS = (*TERMS, "S^2")
"""T5 has one table of relative positions for the whole batch."""

CLASSIFIED = "sequence classification with 2 labels, every sample as long as the length"
TRANSLATED = "source and target of the same length each, labels over the whole vocabulary"


class Encoder(NamedTuple):
    """A checkpoint: ``model_type`` of transformers, what differs from its defaults, other names it goes by."""

    kind: str
    differs: Mapping[str, Any]
    other: tuple[str, ...] = ()
    pair: bool = False
    """Whether it is an encoder-decoder, trained on source and target."""


_LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
_ROBERTA = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}
_XLMR = {**_ROBERTA, "vocab_size": 250002}
_DEBERTA3 = {
    "vocab_size": 128100, "relative_attention": True, "position_buckets": 256, "norm_rel_ebd": "layer_norm",
    "share_att_key": True, "pos_att_type": ["p2c", "c2p"], "max_relative_positions": -1,
    "position_biased_input": False, "type_vocab_size": 0,
}  # fmt: skip
ENCODERS: dict[str, Encoder] = {
    "bert-base-uncased": Encoder("bert", {}, ("google-bert/bert-base-uncased", "bert-base")),
    "bert-base-cased": Encoder("bert", {"vocab_size": 28996}),
    "bert-large-uncased": Encoder("bert", _LARGE, ("bert-large",)),
    "bert-base-multilingual-cased": Encoder("bert", {"vocab_size": 119547}),
    "distilbert-base-uncased": Encoder("distilbert", {}, ("distilbert-base",)),
    "roberta-base": Encoder("roberta", _ROBERTA),
    "roberta-large": Encoder("roberta", {**_ROBERTA, **_LARGE}),
    "xlm-roberta-base": Encoder("xlm-roberta", _XLMR),
    "xlm-roberta-large": Encoder("xlm-roberta", {**_XLMR, **_LARGE}),
    "deberta-v3-base": Encoder("deberta-v2", {
        **_DEBERTA3, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    }),
    "deberta-v3-small": Encoder("deberta-v2", {
        **_DEBERTA3, "hidden_size": 768, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 3072,
    }),
    "deberta-v3-large": Encoder("deberta-v2", {**_DEBERTA3, **_LARGE}),
    "modernbert-base": Encoder("modernbert", {}),
    "t5-small": Encoder("t5", {}, pair=True),
    "t5-base": Encoder("t5", {"d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12}, pair=True),
    "bart-large": Encoder("bart", {}, pair=True),
    "bart-base": Encoder("bart", {
        "d_model": 768, "encoder_layers": 6, "decoder_layers": 6, "encoder_attention_heads": 12,
        "decoder_attention_heads": 12, "encoder_ffn_dim": 3072, "decoder_ffn_dim": 3072,
    }, pair=True),
}  # fmt: skip
"""By name. Sources: the checkpoints' model cards and the defaults of transformers 5.24's config classes, which are
those of bert-base-uncased, distilbert-base-uncased, ModernBERT-base and bart-large."""


def names() -> tuple[str, ...]:
    """The models of the family, smallest uses first."""
    return tuple(ENCODERS)


def other_names() -> dict[str, str]:
    """Names beside the keys."""
    return {other: name for name, encoder in ENCODERS.items() for other in encoder.other}


def find(name: str) -> Target:
    """The encoder ``name``. Raises UnknownModel for any other."""
    torchvision_schemas()
    if name not in ENCODERS:
        raise UnknownModel(f"no encoder is called {name!r}")
    encoder = ENCODERS[name]
    transformers = importlib.import_module("transformers")
    config = transformers.AutoConfig.for_model(encoder.kind, **encoder.differs)
    config.decoder_start_token_id = 0  # T5's config class no longer has it; the shape does not depend on it
    auto = transformers.AutoModelForSeq2SeqLM if encoder.pair else transformers.AutoModelForSequenceClassification

    def make(shape: Shape, checkpointing: bool) -> Job:
        model = auto.from_config(config)
        model.tie_weights()  # which the skipped initialisation would have done
        if checkpointing:
            model.gradient_checkpointing_enable()
        return Job(model, lambda: _batch(shape, pair=encoder.pair), _loss)

    assumption = TRANSLATED if encoder.pair else CLASSIFIED
    return Target(
        name,
        make,
        ("transformers", "torch"),
        (assumption,),
        has_checkpointing=True,
        terms=PAIR_TERMS if encoder.pair else TERMS,
        shapes=SHAPES,
        confirm=CONFIRM,
        size_multiple=1,
        tolerance=_BUCKETED.get(encoder.kind, TOLERANCE),
    )


def _batch(shape: Shape, *, pair: bool) -> dict[str, torch.Tensor]:
    tokens = (shape.batch, shape.seq_len)
    labels = torch.zeros(tokens if pair else (shape.batch,), dtype=torch.long)
    return {
        "input_ids": torch.zeros(tokens, dtype=torch.long),
        "attention_mask": torch.ones(tokens, dtype=torch.long),
        "labels": labels,
    }


def _loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    loss: torch.Tensor = model(**batch).loss
    return loss
