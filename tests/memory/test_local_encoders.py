"""Encoders in folders: the sizes of a config.json against those that were traced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vramlint.hardware import Target
from vramlint.memory import estimate
from vramlint.memory.local_encoders import _sizes, local_encoder
from vramlint.memory.profile_catalogue import find_profile
from vramlint.plan import Fact, Origin, Precision, TrainingPlan

# As `save_pretrained` of transformers 4 writes it for a fine-tuned classifier.
BERT = {
    "architectures": ["BertForSequenceClassification"], "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1, "hidden_size": 768, "initializer_range": 0.02, "intermediate_size": 3072,
    "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "model_type": "bert", "num_attention_heads": 12,
    "num_hidden_layers": 12, "pad_token_id": 0, "position_embedding_type": "absolute", "type_vocab_size": 2,
    "use_cache": True, "vocab_size": 30522,
}  # fmt: skip


def folder(tmp_path: Path, data: Any) -> str:
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "config.json").write_text(json.dumps(data))
    return str(tmp_path / "tuned")


def test_a_fine_tuned_bert(tmp_path: Path) -> None:
    found = local_encoder(folder(tmp_path, BERT), str(tmp_path / "train.yaml"))
    assert found is not None
    assert found.name == "bert-base-uncased"
    assert "config.json" in found.assumptions[0]


@pytest.mark.parametrize(("name", "sizes", "spelled"), _sizes(), ids=[name for name, _, _ in _sizes()])
def test_every_traced_encoder_is_found_by_its_own_sizes(
    tmp_path: Path, name: str, sizes: dict[str, Any], spelled: list[str]
) -> None:
    found = local_encoder(folder(tmp_path, sizes), str(tmp_path / "x.yaml"))
    known = find_profile(name)
    assert found is not None
    assert known is not None
    assert found.parameters == known.parameters
    (tmp_path / "short").mkdir()
    short = {key: sizes[key] for key in ("model_type", *spelled)}
    (tmp_path / "short" / "config.json").write_text(json.dumps(short))
    assert local_encoder(str(tmp_path / "short"), str(tmp_path / "x.yaml")) == found._replace(
        assumptions=(found.assumptions[0].replace("tuned", "short"), *found.assumptions[1:])
    )


@pytest.mark.parametrize(
    "changed",
    [{"vocab_size": 31090}, {"num_hidden_layers": 6}, {"model_type": "electra"}, {"model_type": 3}, {"hidden_size": 7}],
)
def test_other_sizes_are_another_model(tmp_path: Path, changed: dict[str, Any]) -> None:
    assert local_encoder(folder(tmp_path, {**BERT, **changed}), str(tmp_path / "x.yaml")) is None


def test_no_sizes(tmp_path: Path) -> None:
    assert local_encoder(folder(tmp_path, {"model_type": "deberta-v2"}), str(tmp_path / "x.yaml")) is None
    assert local_encoder("no/such/folder", str(tmp_path / "x.yaml")) is None


def test_an_estimate_of_the_folder(tmp_path: Path) -> None:
    plan = TrainingPlan("hf_trainer", str(tmp_path / "x.yaml"))
    facts = {"micro_batch": 8, "seq_len": 256, "precision": Precision.BF16, "grad_checkpointing": False}
    plan.model = Fact(folder(tmp_path, BERT), Origin.FILE)
    for name, value in facts.items():
        setattr(plan, name, Fact(value, Origin.FILE))
    by_folder = estimate(plan, Target()).allocated
    plan.model = Fact("bert-base-uncased", Origin.FILE)
    assert by_folder is not None
    assert by_folder == estimate(plan, Target()).allocated
