"""The small models that ``tools/check_networks.py`` traces: config classes of transformers, and a batch for each."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

Batch = dict[str, torch.Tensor]

_HEADS = ("MaskedLM", "TokenClassification", "QuestionAnswering", "SequenceClassification")


class Case(NamedTuple):
    """A config class with small sizes, the model class on top, and the sizes of the batch."""

    kind: str
    differs: dict[str, Any]
    model: str
    sizes: dict[str, int]
    make: Callable[[dict[str, int], torch.dtype], Batch]
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    untied: bool = False
    """Whether the checkpoint has a head of its own, which transformers 5's T5 configs no longer say."""

    def config(self) -> Any:
        transformers = importlib.import_module("transformers")
        config = getattr(transformers, self.kind)(**self.differs)
        if self.untied:
            config.scale_decoder_outputs = False
        if config.is_encoder_decoder:
            config.decoder_start_token_id = config.pad_token_id = 0
        if hasattr(config, "use_cache"):
            config.use_cache = False
        return config

    def built(self, config: Any, **options: Any) -> Any:
        transformers = importlib.import_module("transformers")
        kind = getattr(transformers, self.model)
        return kind._from_config(config, **options)

    def meta_parameters(self, config: Any) -> int:
        with torch.device("meta"):
            model = self.built(config)
        model.tie_weights()
        self.untie(model)
        return sum(parameter.numel() for parameter in model.parameters())

    @property
    def said(self) -> dict[str, Any]:
        """What the checkpoint's config.json says and the config class does not keep."""
        head = self.model.partition("For")[2]
        return {"tie_word_embeddings": False} if self.untied else {"head": head} if head in _HEADS else {}

    def untie(self, model: Any) -> None:
        if self.untied:
            model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))

    def batch(self, dtype: torch.dtype) -> Batch:
        return self.make(self.sizes, dtype)

    def loss(self, model: Any, batch: Batch) -> torch.Tensor:
        found: torch.Tensor = model(**batch).loss
        return found


def _pair(sizes: dict[str, int], dtype: torch.dtype) -> Batch:
    del dtype
    source, target = (sizes["batch"], sizes["source"]), (sizes["batch"], sizes["target"])
    return {
        "input_ids": torch.zeros(source, dtype=torch.long),
        "attention_mask": torch.ones(source, dtype=torch.long),
        "labels": torch.zeros(target, dtype=torch.long),
    }


def _speech(sizes: dict[str, int], dtype: torch.dtype) -> Batch:
    return {
        "input_features": torch.zeros(sizes["batch"], sizes["mels"], sizes["frames"], dtype=dtype),
        "labels": torch.zeros(sizes["batch"], sizes["target"], dtype=torch.long),
    }


def _text(sizes: dict[str, int], dtype: torch.dtype) -> Batch:
    del dtype
    ids = (sizes["batch"], sizes["length"])
    return {
        "input_ids": torch.zeros(ids, dtype=torch.long),
        "attention_mask": torch.ones(ids, dtype=torch.long),
        "labels": torch.zeros(sizes["batch"], dtype=torch.long),
    }


def _labelled(sizes: dict[str, int], dtype: torch.dtype) -> Batch:
    batch = _text(sizes, dtype)
    return {**batch, "labels": torch.zeros_like(batch["input_ids"])}


def _answered(sizes: dict[str, int], dtype: torch.dtype) -> Batch:
    batch = _text(sizes, dtype)
    ends = batch.pop("labels")
    return {**batch, "start_positions": ends, "end_positions": torch.zeros_like(ends)}


def _images(sizes: dict[str, int], dtype: torch.dtype) -> Batch:
    batch = sizes["batch"]
    images = torch.zeros(batch, 3, sizes["height"], sizes["width"], dtype=dtype)
    return {"pixel_values": images, "labels": torch.zeros(batch, dtype=torch.long)}


def _matched(sizes: dict[str, int], dtype: torch.dtype) -> Batch:
    batch, length = sizes["batch"], sizes["length"]
    return {
        "input_ids": torch.zeros(batch, length, dtype=torch.long),
        "attention_mask": torch.ones(batch, length, dtype=torch.long),
        "pixel_values": torch.zeros(batch, 3, sizes["height"], sizes["width"], dtype=dtype),
        "return_loss": True,  # type: ignore[dict-item]
    }


_IMAGES = {"batch": 8, "height": 224, "width": 224}
_VIT = {"hidden_size": 512, "num_hidden_layers": 5, "num_attention_heads": 8, "intermediate_size": 2048}
_CLIP = {
    "text_config": {
        "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024,
        "vocab_size": 4000,
    },
    "vision_config": {
        "hidden_size": 512, "num_hidden_layers": 5, "num_attention_heads": 8, "intermediate_size": 2048,
        "patch_size": 16,
    },
}  # fmt: skip
_QV = ("q_proj", "v_proj")
_TEXT = {"batch": 8, "length": 384}
_BERT = {
    "hidden_size": 512, "num_hidden_layers": 5, "num_attention_heads": 8, "intermediate_size": 2048,
    "vocab_size": 8000,
}  # fmt: skip
_DISTILBERT = {"dim": 512, "n_layers": 5, "n_heads": 8, "hidden_dim": 2048, "vocab_size": 8000}
_QUERY = ("query", "value")
_PAIR = {"batch": 4, "source": 384, "target": 160}
_BART = {
    "d_model": 512, "encoder_layers": 5, "decoder_layers": 4, "encoder_attention_heads": 8,
    "decoder_attention_heads": 8, "encoder_ffn_dim": 2048, "decoder_ffn_dim": 2048, "vocab_size": 8000,
}  # fmt: skip
_M2M = {**_BART, "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0}
_T5 = {
    "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 5, "num_decoder_layers": 4, "num_heads": 8,
    "vocab_size": 8000,
}  # fmt: skip
_FLAN = {**_T5, "num_heads": 6, "d_ff": 1024, "feed_forward_proj": "gated-gelu"}
_WHISPER = {
    **_BART, "num_mel_bins": 80, "max_source_positions": 500, "max_target_positions": 448, "vocab_size": 9000,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip

CASES: dict[str, Case] = {
    "t5": Case("T5Config", _T5, "T5ForConditionalGeneration", _PAIR, _pair, ("q", "v")),
    "flan-t5": Case("T5Config", _FLAN, "T5ForConditionalGeneration", _PAIR, _pair, ("q", "v"), untied=True),
    "mt5": Case("MT5Config", _FLAN, "MT5ForConditionalGeneration", _PAIR, _pair, ("q", "v"), untied=True),
    "umt5": Case("UMT5Config", _FLAN, "UMT5ForConditionalGeneration", _PAIR, _pair, ("q", "v"), untied=True),
    "bart": Case("BartConfig", _BART, "BartForConditionalGeneration", _PAIR, _pair),
    "mbart": Case("MBartConfig", _BART, "MBartForConditionalGeneration", _PAIR, _pair),
    "pegasus": Case("PegasusConfig", _BART, "PegasusForConditionalGeneration", _PAIR, _pair),
    "marian": Case("MarianConfig", {**_BART, "pad_token_id": 0}, "MarianMTModel", _PAIR, _pair),
    "m2m_100": Case("M2M100Config", _M2M, "M2M100ForConditionalGeneration", _PAIR, _pair),
    "bert": Case("BertConfig", _BERT, "BertForSequenceClassification", _TEXT, _text, _QUERY),
    "bert-mlm": Case("BertConfig", _BERT, "BertForMaskedLM", _TEXT, _labelled, _QUERY),
    "bert-ner": Case("BertConfig", _BERT, "BertForTokenClassification", _TEXT, _labelled, _QUERY),
    "bert-qa": Case("BertConfig", _BERT, "BertForQuestionAnswering", _TEXT, _answered, _QUERY),
    "roberta": Case("RobertaConfig", _BERT, "RobertaForSequenceClassification", _TEXT, _text, _QUERY),
    "roberta-mlm": Case("RobertaConfig", _BERT, "RobertaForMaskedLM", _TEXT, _labelled, _QUERY),
    "electra": Case("ElectraConfig", {**_BERT, "embedding_size": 128}, "ElectraForSequenceClassification", _TEXT,
                    _text, _QUERY),
    "albert": Case("AlbertConfig", {**_BERT, "embedding_size": 128}, "AlbertForSequenceClassification", _TEXT, _text,
                   _QUERY),
    "distilbert": Case("DistilBertConfig", _DISTILBERT, "DistilBertForSequenceClassification", _TEXT, _text,
                       ("q_lin", "v_lin")),
    "vit": Case("ViTConfig", _VIT, "ViTForImageClassification", _IMAGES, _images, _QV),
    "deit": Case("DeiTConfig", _VIT, "DeiTForImageClassification", _IMAGES, _images, _QV),
    "dinov2": Case("Dinov2Config", {**_VIT, "image_size": 224}, "Dinov2ForImageClassification", _IMAGES, _images, _QV),
    "dinov2-swiglu": Case("Dinov2Config", {**_VIT, "image_size": 224, "use_swiglu_ffn": True},
                          "Dinov2ForImageClassification", _IMAGES, _images, _QV),
    "dinov2-registers": Case("Dinov2WithRegistersConfig", {**_VIT, "image_size": 224},
                             "Dinov2WithRegistersForImageClassification", _IMAGES, _images, _QV),
    "clip": Case("CLIPConfig", _CLIP, "CLIPModel", {**_IMAGES, "batch": 32, "length": 77}, _matched, _QV),
    "whisper": Case(
        "WhisperConfig", _WHISPER, "WhisperForConditionalGeneration",
        {"batch": 4, "mels": 80, "frames": 1000, "target": 160}, _speech,
    ),
}  # fmt: skip
