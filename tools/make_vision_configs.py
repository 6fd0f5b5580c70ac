"""Sizes by which a ``config.json`` tells which detector or segmenter it is: ``python tools/make_vision_configs.py``.

Needs transformers. For each type of model, the keys in which the profiled ones differ, the values that a config.json
leaves out because they are the class's defaults, and each model's own values.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).parents[1] / "vramlint" / "memory" / "data" / "vision.json"
LEFT_OUT = ("num_labels", "is_training", "use_mid_position_embeddings", "drop_path_rate", "out_features", "out_indices")
"""Options that change little or nothing of the memory."""

STRUCTURE = (
    "num_queries", "encoder_layers", "decoder_layers", "num_hidden_layers", "num_attention_heads", "d_model",
    "hidden_dim", "hidden_size", "encoder_ffn_dim", "decoder_ffn_dim", "dim_feedforward", "encoder_feedforward_dim",
    "feature_size", "mask_feature_size", "fpn_feature_size", "num_feature_levels", "auxiliary_loss",
    "use_auxiliary_loss", "num_denoising", "num_channels", "patch_size", "num_detection_tokens", "pool_scales",
    "train_num_points", "num_encoder_blocks", "sr_ratios", "mlp_ratios", "num_patterns", "dilation",
)  # fmt: skip
"""Keys that decide memory in any of the types; ``decoder_config`` is a model of its own."""

INSIDE = ("embed_dim", "mlp_ratio", "patch_size", "num_channels", "depths", "hidden_sizes", "num_stages")
"""The same of backbones."""


def main() -> int:
    from vramlint.trace.families import detr_models, vision_shapes

    transformers = importlib.import_module("transformers")
    shapes = {name: shape for name, shape in vision_shapes.SHAPES.items() if shape.task != "classes"}
    for name, (widths, depths, decoder) in detr_models._SEGFORMERS.items():
        options = {"hidden_sizes": list(widths), "depths": list(depths), "decoder_hidden_size": decoder}
        shapes[name] = vision_shapes.Shape("SegformerConfig", "", "pixels", (), options)
    for name, one in detr_models._DETECTORS.items():
        backbone = ("RTDetrResNetConfig", {}) if one.config == "RTDetrConfig" else None
        shapes[name] = vision_shapes.Shape(one.config, "", "boxes", (), one.options, backbone)
    found: dict[str, Any] = {}
    for kind in dict.fromkeys(shape.config for shape in shapes.values()):
        alike = {name: shape for name, shape in shapes.items() if shape.config == kind}
        found[getattr(transformers, kind).model_type] = _type(transformers, kind, alike)
    text = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in found.items())
    OUTPUT.write_text("{\n" + text + "\n}\n", encoding="utf-8", newline="\n")
    return 0


def _type(transformers: Any, kind: str, shapes: dict[str, Any]) -> dict[str, Any]:
    keys = list(dict.fromkeys(key for shape in shapes.values() for key in shape.options if key not in LEFT_OUT))
    inner = [key for shape in shapes.values() for key in (shape.backbone or ("", {}))[1] if key not in LEFT_OUT]
    inner = list(dict.fromkeys((*inner, *INSIDE)))
    defaults = getattr(transformers, kind)().to_dict()
    keys = list(dict.fromkeys((*keys, *(key for key in STRUCTURE if key in defaults))))
    backbones = {}
    for shape in shapes.values():
        if shape.backbone is not None:
            config = getattr(transformers, shape.backbone[0])
            given = config().to_dict()
            backbones[config.model_type] = {key: given[key] for key in inner if key in given}
    return {
        "defaults": {key: _plain(defaults.get(key, {"backbone": "resnet50"}.get(key))) for key in keys},
        "backbones": {name: {key: _plain(value) for key, value in each.items()} for name, each in backbones.items()},
        "models": {
            name: _values(transformers, shape, keys, inner, defaults, backbones) for name, shape in shapes.items()
        },
    }


def _values(
    transformers: Any, shape: Any, keys: list[str], inner: list[str], defaults: Any, backbones: Any
) -> list[Any]:
    own = [_plain(shape.options.get(key, defaults.get(key, {"backbone": "resnet50"}.get(key)))) for key in keys]
    if shape.backbone is None:
        return [own, None, []]
    kind = getattr(transformers, shape.backbone[0]).model_type
    inside = [_plain(shape.backbone[1].get(key, backbones[kind].get(key))) for key in inner if key in backbones[kind]]
    return [own, kind, inside]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


if __name__ == "__main__":
    sys.exit(main())
