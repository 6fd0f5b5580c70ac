"""Models in folders of the repository: config.json, adapters on them, fine-tunes that only name their base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vramlint.hardware import Target
from vramlint.memory import estimate
from vramlint.memory.local_models import local_decoder
from vramlint.memory.resolve import resolve
from vramlint.plan import Fact, Origin, Precision, TrainingPlan

QWEN = {
    "model_type": "qwen3",
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 96,
    "vocab_size": 1000,
    "tie_word_embeddings": True,
}
MIXTURE = {
    **QWEN,
    "model_type": "qwen3_moe",
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
}
LATENT = {
    **QWEN,
    "model_type": "deepseek_v3",
    "q_lora_rank": None,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
}
VISION = {
    "model_type": "llava",
    "text_config": {**QWEN, "model_type": "llama"},
    "vision_config": {
        "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64, "patch_size": 14, "image_size": 28,
    },
}  # fmt: skip


def write(folder: Path, name: str, data: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(data))


@pytest.mark.parametrize("place", ["", "configs", "configs/deep"])
def test_a_folder_is_found_from_the_files_own_and_those_above(tmp_path: Path, place: str) -> None:
    write(tmp_path / "models" / "ours", "config.json", QWEN)
    (tmp_path / ".git").mkdir()
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for spelled in ("models/ours", "./models/ours/", "models/ours/config.json"):
        found = local_decoder(spelled, str(tmp_path / place / "train.yaml"))
        assert found is not None
        assert found.config.shape.layers == 3
        assert found.source.endswith("models/ours/config.json")


@pytest.mark.parametrize(("data", "experts", "latent"), [(QWEN, 0, 0), (MIXTURE, 8, 0), (LATENT, 8, 16)])
def test_kinds_of_config(tmp_path: Path, data: dict[str, Any], experts: int, latent: int) -> None:
    write(tmp_path / "ours", "config.json", data)
    found = local_decoder("ours", str(tmp_path / "train.yaml"))
    assert found is not None
    assert (found.config.experts.number if found.config.experts else 0) == experts
    assert (found.config.latent.kv_rank if found.config.latent else 0) == latent


def test_a_vision_language_model(tmp_path: Path) -> None:
    write(tmp_path / "ours", "config.json", VISION)
    found = local_decoder("ours", str(tmp_path / "train.yaml"))
    assert found is not None
    assert found.tower is not None
    h, positions, text = 32, 5, 64
    block = 4 * h * h + 4 * h + 2 * h * 64 + 64 + h + 4 * h
    assert found.tower.parameters == (
        h + 3 * 14 * 14 * h + positions * h + 2 * block + 4 * h + h * text + text + text * text + text
    )


def test_an_adapter_names_its_base(tmp_path: Path) -> None:
    write(tmp_path / "adapter", "adapter_config.json", {"base_model_name_or_path": "Qwen/Qwen2.5-7B"})
    found = local_decoder("adapter", str(tmp_path / "train.yaml"))
    assert found is not None
    assert found.name == "Qwen/Qwen2.5-7B"


def test_an_adapter_on_a_local_base(tmp_path: Path) -> None:
    write(tmp_path / "base", "config.json", QWEN)
    write(tmp_path / "adapter", "adapter_config.json", {"base_model_name_or_path": "base"})
    found = local_decoder("adapter", str(tmp_path / "train.yaml"))
    assert found is not None
    assert found.config.shape.layers == 3


def test_a_config_without_a_shape_leads_to_its_base(tmp_path: Path) -> None:
    write(tmp_path / "tuned", "config.json", {"_name_or_path": "meta-llama/Llama-3.1-8B", "model_type": "llama"})
    found = local_decoder("tuned", str(tmp_path / "train.yaml"))
    assert found is not None
    assert found.name == "meta-llama/Llama-3.1-8B"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"model_type": "mamba"}', '{"model_type": 3}', "[" * 5000])
def test_what_cannot_be_read_gives_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "config.json").write_text(text)
    assert local_decoder("ours", str(tmp_path / "train.yaml")) is None


@pytest.mark.parametrize("name", ["", " ", "a\0b", "https://example.org/model", "no/such/folder", "~nobody/x"])
def test_what_is_no_folder_gives_nothing(tmp_path: Path, name: str) -> None:
    assert local_decoder(name, str(tmp_path / "train.yaml")) is None


def test_circles_end(tmp_path: Path) -> None:
    write(tmp_path / "one", "adapter_config.json", {"base_model_name_or_path": "two"})
    write(tmp_path / "two", "adapter_config.json", {"base_model_name_or_path": "one"})
    assert local_decoder("one", str(tmp_path / "train.yaml")) is None


def plan(path: Path, model: str, **facts: Any) -> TrainingPlan:
    made = TrainingPlan("generic", str(path))
    given = {"model": model, "micro_batch": 1, "seq_len": 512, "precision": Precision.PURE_BF16, **facts}
    for name, value in given.items():
        setattr(made, name, Fact(value, Origin.FILE))
    return made


def test_a_frozen_tower_costs_its_weights_and_a_trained_one_bounds_it(tmp_path: Path) -> None:
    vision = estimate(plan(tmp_path / "x", "Qwen/Qwen2.5-VL-7B-Instruct"), Target())
    text = estimate(plan(tmp_path / "x", "Qwen/Qwen2.5-7B-Instruct"), Target())
    assert vision.allocated is not None
    assert text.allocated is not None
    frozen = next(part for part in vision.components if part.name == "frozen parameters")
    assert frozen.bytes == 2 * 676_550_144
    assert vision.allocated.value - text.allocated.value == frozen.bytes
    assert vision.allocated.high - text.allocated.high > 3 * frozen.bytes


def test_a_folder_goes_before_a_name(tmp_path: Path) -> None:
    write(tmp_path / "Qwen" / "Qwen2.5-7B", "config.json", QWEN)
    found = resolve(plan(tmp_path / "train.yaml", "Qwen/Qwen2.5-7B"))
    assert found.knowledge is not None
    assert found.knowledge.parameters < 1_000_000
