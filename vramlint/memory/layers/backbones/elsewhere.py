"""Backbones of torchvision and timm that mmaction2's recognizers name by their library: one row an image.

Source: mmaction2 1.2.0 ``models/recognizers/base.py`` (the classifier is taken off), torchvision 0.28
``models/densenet.py``, timm 1.0 ``models/swin_transformer.py`` (with the attention of its time: scores exist).
"""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.swin import SwinTransformer
from vramlint.memory.layers.named import encoders
from vramlint.memory.layers.nn import chain
from vramlint.memory.layers.registry import Backbone, Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tensor


def _row(x: Tensor) -> Tensor:
    return ops.mean(x, x.shape[:2])


@backbone(
    "torchvision.densenet121", "torchvision.densenet161", "torchvision.densenet169", "torchvision.densenet201",
)  # fmt: skip
def densenet(build: Build, config: Config) -> Backbone:
    """DenseNet up to its pooling."""
    encoder = encoders.densenet(build.tape, str(config["type"]).rpartition(".")[2])
    trunk = chain(*encoder.stages)
    return lambda images: [_row(ops.relu(trunk(images), inplace=True))]


_SWINS = {
    "tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "small": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "base": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "large": (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}


@backbone(
    "timm.swin_tiny_patch4_window7_224", "timm.swin_small_patch4_window7_224", "timm.swin_base_patch4_window7_224",
    "timm.swin_large_patch4_window7_224",
)  # fmt: skip
def swin(build: Build, config: Config) -> Backbone:
    """Swin, its last map normed and averaged."""
    channels, depths, heads = _SWINS[str(config["type"]).split("_")[1]]
    options = {"embed_dims": channels, "depths": depths, "num_heads": heads, "out_indices": (3,)}
    made = SwinTransformer(build, {**options, "drop_path_rate": float(config.get("drop_path_rate", 0.1))})

    def run(images: Tensor) -> Maps:
        return [_row(made(images)[-1])]

    return run
