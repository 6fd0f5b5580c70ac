"""Encoder-decoders and encoders by name and by folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vramlint.cli.main import main
from vramlint.hardware import Target
from vramlint.memory import Workload, estimate
from vramlint.memory.networks.catalogue import find_network, local_network, networks
from vramlint.plan import Fact, ImageSize, Origin, Precision, TrainingPlan

PARAMETERS = {
    "google-t5/t5-small": 60_506_624,
    "t5-large": 737_668_096,
    "google/flan-t5-base": 247_577_856,
    "google/flan-t5-xxl": 11_135_332_352,
    "google/mt5-small": 300_176_768,
    "google/byt5-small": 299_637_760,
    "facebook/bart-base": 139_420_416,
    "facebook/bart-large-cnn": 406_290_432,
    "facebook/mbart-large-50-many-to-many-mmt": 610_879_488,
    "facebook/nllb-200-distilled-600M": 615_073_792,
    "facebook/m2m100_418M": 483_905_536,
    "openai/whisper-small": 241_734_912,
    "openai/whisper-large-v3": 1_543_490_560,
    "openai/whisper-large-v3-turbo": 808_878_080,
    "google-bert/bert-base-uncased": 109_483_778,
    "distilbert-base-uncased": 66_955_010,
    "FacebookAI/roberta-large": 355_361_794,
    "openai/clip-vit-base-patch32": 151_277_313,
    "openai/clip-vit-large-patch14": 427_616_513,
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": 986_109_441,
}
"""As counted in the checkpoints on the hub, of text encoders with a head of two labels."""


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_those_of_the_checkpoint(name: str) -> None:
    found = find_network(name)
    assert found is not None
    assert found.parameters == PARAMETERS[name]


def test_every_entry_is_worked_out() -> None:
    found = networks()
    assert len(found) >= 140
    assert all(network.parameters > 1_000_000 for network in found)


@pytest.mark.parametrize("name", ["flan-t5", "whisper", "google/flan-t5-base-finetuned-xsum", "whisper-small.pt", ""])
def test_what_is_no_entry(name: str) -> None:
    assert find_network(name) is None


def test_a_folder_with_a_config(tmp_path: Path) -> None:
    data = {
        "model_type": "whisper", "d_model": 256, "encoder_layers": 4, "decoder_layers": 2, "encoder_ffn_dim": 1024,
        "encoder_attention_heads": 4, "decoder_attention_heads": 4, "decoder_ffn_dim": 1024, "vocab_size": 1000,
        "num_mel_bins": 80, "max_source_positions": 1500, "max_target_positions": 448,
    }  # fmt: skip
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(json.dumps(data))
    found = local_network("mine", str(tmp_path / "train.yaml"))
    assert found is not None
    assert "config.json" in found.source
    (tmp_path / "mine" / "config.json").write_text(json.dumps({"model_type": "whisper", "d_model": "wide"}))
    assert local_network("mine", str(tmp_path / "train.yaml")) is None


def gib(**facts: Any) -> float:
    plan = TrainingPlan("hf-trainer", "x")
    given = {
        "model": "google/flan-t5-base", "micro_batch": 8, "seq_len": 512, "precision": Precision.BF16,
        "optimizer": "adamw_torch", "accumulation": 1, "grad_checkpointing": False, "adapter": "none",
        "decoder_seq_len": 128, "packing": True,
    }  # fmt: skip
    for name, value in {**given, **facts}.items():
        fact = Fact(value, Origin.FILE)
        if hasattr(plan, name):
            setattr(plan, name, fact)
        else:
            plan.extra[name] = fact
    found = estimate(plan, Target()).allocated
    assert found is not None
    return found.value / 2**30


def test_memory_moves_with_the_workload() -> None:
    usual = gib()
    assert gib(seq_len=1024) > usual
    assert gib(decoder_seq_len=512) > usual
    assert gib(precision=Precision.FP32) > usual
    assert gib(grad_checkpointing=True) < usual
    assert gib(attention="eager") > usual
    assert gib(adapter="lora", adapter_rank=16, adapter_targets=("q", "v")) < usual
    assert gib(adapter="lora", adapter_rank=16, adapter_targets="all-linear") > gib(
        adapter="lora", adapter_rank=16, adapter_targets=("q", "v")
    )


def test_whisper_takes_clips_of_thirty_seconds() -> None:
    small = {"model": "openai/whisper-small", "seq_len": None, "decoder_seq_len": 128}
    assert gib(**small) == gib(**{**small, "seq_len": 4096})
    assert gib(**{**small, "decoder_seq_len": 448}) > gib(**small)
    quantised = gib(**small, adapter="lora", adapter_rank=32, adapter_targets=("q_proj",), base_quantization="int8")
    assert quantised < gib(**small, adapter="lora", adapter_rank=32, adapter_targets=("q_proj",))


def test_heads_and_images() -> None:
    text = {"model": "bert-base-uncased", "decoder_seq_len": None}
    assert gib(**text, head="MaskedLM") > gib(**text) + 0.5
    assert gib(**text, attention="eager") > gib(**text)
    image = {"model": "facebook/dinov2-base", "seq_len": None, "decoder_seq_len": None}
    assert gib(**image) == gib(**image, image_size=ImageSize(224, 224)) < gib(**image, image_size=ImageSize(518, 518))


def test_a_contrastive_loss_over_all_ranks() -> None:
    pair = {"model": "ViT-B-32", "seq_len": None, "decoder_seq_len": None, "micro_batch": 512, "data_parallel": 64}
    like = {**pair, "architecture_like": "openai/clip-vit-base-patch32", "sharding": "ddp"}
    alone, local = gib(**like), gib(**like, gathered_features=True, local_loss=True)
    assert alone < local < gib(**like, gathered_features=True)
    assert gib(**like, frozen_parts=("image tower",)) < alone


def test_a_target_that_no_layer_has() -> None:
    plan = TrainingPlan("hf-trainer", "x")
    plan.model = Fact("google/flan-t5-base", Origin.FILE)
    plan.adapter = Fact("lora", Origin.FILE)
    plan.micro_batch, plan.seq_len = Fact(1, Origin.FILE), Fact(128, Origin.FILE)
    plan.extra["adapter_targets"] = Fact(("c_attn",), Origin.FILE)
    found = estimate(plan, Target())
    assert found.allocated is None
    assert "c_attn" in found.unknown_because


def test_an_evaluation_that_generates_may_be_the_peak() -> None:
    large = {
        "model": "openai/whisper-large-v3", "seq_len": None, "micro_batch": 1, "grad_checkpointing": True,
        "adapter": "lora", "adapter_rank": 8, "adapter_targets": ("q_proj",),
    }  # fmt: skip
    few, many = gib(**large, generation=(1, 128, 1)), gib(**large, generation=(64, 128, 4))
    assert few == gib(**large)
    keys = 2 * 32 * 64 * 4 * 1280 * 2 * (1500 + 128)
    assert many == pytest.approx(4 * 1_543_490_560 / 2**30 + keys / 2**30, rel=0.05)


def test_a_frozen_encoder_keeps_nothing() -> None:
    small = {"model": "openai/whisper-small", "seq_len": None, "decoder_seq_len": 128}
    assert gib(**small, frozen_parts=("encoder",)) < 0.7 * gib(**small)


def test_models_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "whisper-small"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("openai/whisper-small ")
    assert "241.7 M" in shown


@pytest.mark.parametrize("change", [{"dropout": None}, {"encoder_attention_heads": 0}, {"decoder_layers": -1}], ids=str)
def test_numbers_that_make_no_step_are_unknown(change: dict[str, object]) -> None:
    bart = find_network("facebook/bart-base")
    assert bart is not None
    workload = Workload(2, Precision.FP32, checkpointing=False, seq_len=64)
    assert bart.moments(workload)
    assert bart._replace(config={**bart.config, **change}).moments(workload) == ()
