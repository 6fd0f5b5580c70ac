"""Detectors and segmenters in folders: the sizes of a config.json against those that were traced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vramlint.memory.local_vision import _alike, _types, local_vision
from vramlint.memory.profile_catalogue import find_profile

# As `save_pretrained` of transformers 5 writes them, defaults left out; version 4 spells backbones in full.
MASK2FORMER = {
    "model_type": "mask2former", "architectures": ["Mask2FormerForUniversalSegmentation"], "num_queries": 100,
    "id2label": {"0": "cell"}, "transformers_version": "5.24.0",
    "backbone_config": {
        "model_type": "swin", "depths": [2, 2, 6, 2], "drop_path_rate": 0.3,
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    },
}  # fmt: skip
RTDETR_R18 = {
    "model_type": "rt_detr_v2", "d_model": 256, "decoder_layers": 3, "encoder_in_channels": [128, 256, 512],
    "hidden_expansion": 0.5, "num_denoising": 100, "num_queries": 300,
    "backbone_config": {
        "model_type": "rt_detr_resnet", "depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512],
        "layer_type": "basic", "embedding_size": 64, "num_channels": 3,
    },
}  # fmt: skip
DETR_OF_VERSION_4 = {
    "model_type": "detr", "backbone": "resnet50", "backbone_config": None, "use_timm_backbone": True, "d_model": 256,
    "dilation": False, "num_queries": 100, "encoder_layers": 6, "decoder_layers": 6,
}  # fmt: skip
DETR_OF_VERSION_5 = {
    "model_type": "detr", "backbone_config": {"model_type": "timm_backbone", "backbone": "resnet101", "num_channels": 3}
}  # fmt: skip


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (MASK2FORMER, "mask2former_swin_tiny"),
        (RTDETR_R18, "rtdetr_v2_r18vd"),
        (DETR_OF_VERSION_4, "detr_resnet50"),
        (DETR_OF_VERSION_5, "detr_resnet101"),
    ],
)
def test_the_model_of_a_config(tmp_path: Path, data: dict[str, Any], name: str) -> None:
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "config.json").write_text(json.dumps(data))
    found, known = local_vision("tuned", str(tmp_path / "train.py")), find_profile(name)
    assert found is not None
    assert known is not None
    assert found.parameters == known.parameters
    assert found.assumptions[0].endswith(f"config.json are those of {name}")


@pytest.mark.parametrize(
    "data",
    [
        {**MASK2FORMER, "num_queries": 300},
        {**MASK2FORMER, "decoder_layers": 4},
        {**MASK2FORMER, "backbone_config": {"model_type": "swin", "embed_dim": 128}},
        {**MASK2FORMER, "backbone_config": {"model_type": "resnet"}},
        {**MASK2FORMER, "backbone_config": None},
        {**RTDETR_R18, "decoder_layers": 4},
        {**DETR_OF_VERSION_4, "backbone": "resnet34"},
        {**DETR_OF_VERSION_5, "backbone_config": {"model_type": "resnet"}},
        {"model_type": "mask2former2"},
        {"model_type": ["detr"]},
        {},
    ],
)
def test_another_decoder_or_backbone_is_another_model(data: dict[str, Any]) -> None:
    assert _alike(data) is None


def test_every_profiled_model_is_told_from_the_others_of_its_type() -> None:
    for kind, known in _types().items():
        described = [json.dumps(values) for values in known["models"].values()]
        assert len(set(described)) == len(described), kind
        for name, (own, backbone, inside) in known["models"].items():
            data: dict[str, Any] = {"model_type": kind, **dict(zip(known["defaults"], own, strict=True))}
            if backbone is not None:
                keys = known["backbones"][backbone]
                data["backbone_config"] = {"model_type": backbone, **dict(zip(keys, inside, strict=True))}
            assert _alike(data) == name
