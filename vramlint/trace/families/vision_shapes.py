"""Shapes of transformers' public detectors and segmenters: what each checkpoint's ``config.json`` has beside defaults.

Sources: transformers' conversion scripts (``convert_*_to_pytorch.py`` beside each model until 4.57), which write those
files, and the defaults of its 5.24 config classes, documented as the checkpoint's named in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

Options = Mapping[str, Any]


class Shape(NamedTuple):
    """Config and model class, options that differ from defaults, the backbone's config class and options.

    ``task`` says what it is trained on: boxes, masks, pixels, or classes. ``window`` is that of a Swin backbone, 0
    without one. ``checkpoints`` are the public names.
    """

    config: str
    model: str
    task: str
    checkpoints: tuple[str, ...]
    options: Options = MappingProxyType({})
    backbone: tuple[str, Options] | None = None
    window: int = 0


_STAGES = ["stage1", "stage2", "stage3", "stage4"]
_SWINS: Mapping[str, tuple[int, Options]] = {
    "tiny": (7, {"depths": [2, 2, 6, 2]}),
    "small": (7, {"depths": [2, 2, 18, 2]}),
    "base": (12, {"depths": [2, 2, 18, 2], "embed_dim": 128, "num_heads": [4, 8, 16, 32], "window_size": 12}),
    "large": (12, {"depths": [2, 2, 18, 2], "embed_dim": 192, "num_heads": [6, 12, 24, 48], "window_size": 12}),
}
"""Window and options by size (arXiv 2103.14030)."""

_CONVNEXTS: Mapping[str, Options] = {
    "tiny": {"depths": [3, 3, 9, 3], "hidden_sizes": [96, 192, 384, 768]},
    "small": {"depths": [3, 3, 27, 3], "hidden_sizes": [96, 192, 384, 768]},
    "base": {"depths": [3, 3, 27, 3], "hidden_sizes": [128, 256, 512, 1024]},
    "large": {"depths": [3, 3, 27, 3], "hidden_sizes": [192, 384, 768, 1536]},
    "xlarge": {"depths": [3, 3, 27, 3], "hidden_sizes": [256, 512, 1024, 2048]},
}
"""By size (arXiv 2201.03545)."""


def _swin(size: str, drop_path: float) -> tuple[tuple[str, Options], int]:
    window, options = _SWINS[size]
    return ("SwinConfig", {**options, "drop_path_rate": drop_path, "out_features": _STAGES}), window


def _mask2formers() -> dict[str, Shape]:
    found = {}
    sets = {
        "tiny": ("coco-instance", "coco-panoptic", "ade-semantic", "cityscapes-semantic", "cityscapes-instance",
                 "cityscapes-panoptic"),
        "small": ("coco-instance", "coco-panoptic", "ade-semantic", "cityscapes-semantic", "cityscapes-instance",
                  "cityscapes-panoptic"),
        "base": ("coco-instance", "coco-panoptic", "ade-semantic", "cityscapes-semantic"),
        "large": ("ade-semantic", "cityscapes-semantic", "mapillary-vistas-semantic"),
    }  # fmt: skip
    for size, trained in sets.items():
        backbone, window = _swin(size, 0.3)
        names = tuple(f"mask2former-swin-{size}-{each}" for each in trained)
        if size == "base":
            names += ("mask2former-swin-base-IN21k-ade-semantic", "mask2former-swin-base-IN21k-coco-panoptic")
        found[f"mask2former_swin_{size}"] = Shape(
            "Mask2FormerConfig", "Mask2FormerForUniversalSegmentation", "masks", names, {"num_labels": 150},
            backbone, window,
        )  # fmt: skip
    wide = ("coco-instance", "coco-panoptic", "ade-panoptic", "cityscapes-instance", "cityscapes-panoptic",
            "mapillary-vistas-panoptic")  # fmt: skip
    large = found["mask2former_swin_large"]
    found["mask2former_swin_large_200queries"] = large._replace(
        options={**large.options, "num_queries": 200},
        checkpoints=tuple(f"mask2former-swin-large-{each}" for each in wide),
    )
    return found


def _maskformers() -> dict[str, Shape]:
    found = {}
    kinds = ("MaskFormerConfig", "MaskFormerForInstanceSegmentation", "masks")
    for size in _SWINS:
        backbone, window = _swin(size, 0.3)
        named = (f"maskformer-swin-{size}-coco", f"maskformer-swin-{size}-ade")
        found[f"maskformer_swin_{size}"] = Shape(*kinds, named, {"num_labels": 150}, backbone, window)
    for depth, blocks in (("50", [3, 4, 6, 3]), ("101", [3, 4, 23, 3])):
        names = tuple(f"maskformer-resnet{depth}-{each}" for each in ("coco-stuff", "ade20k-full", "ade", "cityscapes"))
        found[f"maskformer_resnet{depth}"] = Shape(
            *kinds, names, {"num_labels": 150}, ("ResNetConfig", {"depths": blocks, "out_features": _STAGES})
        )
    return found


def _oneformers() -> dict[str, Shape]:
    kinds = ("OneFormerConfig", "OneFormerForUniversalSegmentation", "masks")
    tiny, seven = _swin("tiny", 0.3)
    large, twelve = _swin("large", 0.3)
    options = {"num_labels": 150, "is_training": True}
    wide = ("oneformer_ade20k_swin_large", "oneformer_cityscapes_swin_large")
    return {
        "oneformer_swin_tiny": Shape(*kinds, ("oneformer_ade20k_swin_tiny",), options, tiny, seven),
        "oneformer_swin_large": Shape(*kinds, ("oneformer_coco_swin_large",), options, large, twelve),
        "oneformer_swin_large_250queries": Shape(*kinds, wide, {**options, "num_queries": 250}, large, twelve),
    }


def _upernets() -> dict[str, Shape]:
    kinds = ("UperNetConfig", "UperNetForSemanticSegmentation", "pixels")
    found = {}
    inside = {"tiny": 384, "small": 384, "base": 512, "large": 768, "xlarge": 1024}
    for size in _SWINS:
        backbone, window = _swin(size, 0.1)
        options = {"num_labels": 150, "auxiliary_in_channels": inside[size]}
        found[f"upernet_swin_{size}"] = Shape(*kinds, (f"upernet-swin-{size}",), options, backbone, window)
    for size, convnext in _CONVNEXTS.items():
        options = {"num_labels": 150, "auxiliary_in_channels": inside[size]}
        backbone = ("ConvNextConfig", {**convnext, "out_features": _STAGES})
        found[f"upernet_convnext_{size}"] = Shape(*kinds, (f"upernet-convnext-{size}",), options, backbone)
    return found


_BASIC = {"hidden_sizes": [64, 128, 256, 512], "layer_type": "basic", "out_indices": [2, 3, 4]}
_NARROW = {"encoder_in_channels": [128, 256, 512], "hidden_expansion": 0.5}
_R101 = {"encoder_ffn_dim": 2048, "encoder_hidden_dim": 384, "decoder_in_channels": [384, 384, 384]}


def _rtdetrs() -> dict[str, Shape]:
    sizes: dict[str, tuple[Options, Options]] = {
        "r18vd": ({**_NARROW, "decoder_layers": 3}, {**_BASIC, "depths": [2, 2, 2, 2]}),
        "r34vd": ({**_NARROW, "decoder_layers": 4}, {**_BASIC, "depths": [3, 4, 6, 3]}),
        "r50vd_m": ({"hidden_expansion": 0.5}, {"out_indices": [2, 3, 4]}),
        "r50vd": ({}, {"out_indices": [2, 3, 4]}),
        "r101vd": (_R101, {"depths": [3, 4, 23, 3], "out_indices": [2, 3, 4]}),
    }
    found = {}
    for size, (options, backbone) in sizes.items():
        first = ("RTDetrConfig", "RTDetrForObjectDetection", "boxes")
        second = ("RTDetrV2Config", "RTDetrV2ForObjectDetection", "boxes")
        given = {"num_labels": 80, **options}
        if size not in ("r50vd", "r50vd_m"):
            names = (f"rtdetr_{size}", f"rtdetr_{size}_coco_o365")
            found[f"rtdetr_{size}"] = Shape(*first, names, given, ("RTDetrResNetConfig", backbone))
        found[f"rtdetr_v2_{size}"] = Shape(*second, (f"rtdetr_v2_{size}",), given, ("RTDetrResNetConfig", backbone))
    return found


def _hgnet(stem: list[int], stages: list[int], blocks: list[int], layers: int, **more: Any) -> dict[str, Any]:
    """HGNetV2: widths in and after the stem, the stages' channels, blocks a stage, layers a block."""
    return {
        "hidden_sizes": [2 * stages[0], *stages[1:]],
        "stem_channels": [3, *stem],
        "stage_in_channels": [stem[1], *stages[:-1]],
        "stage_mid_channels": [stem[1] * 2**stage for stage in range(4)],
        "stage_out_channels": stages,
        "stage_num_blocks": blocks,
        "stage_numb_of_layers": [layers] * 4,
        "embedding_size": 32,
        "out_indices": [2, 3, 4],
        **more,
    }


_AFFINE = {"use_learnable_affine_block": True}
_DEEP = {"out_indices": [3, 4]}
_POINTS = {"decoder_n_points": [3, 6, 3]}
_NANO = {
    "num_feature_levels": 2, "encoder_ffn_dim": 512, "encode_proj_layers": [1], "d_model": 128,
    "encoder_hidden_dim": 128, "decoder_ffn_dim": 512, "encoder_in_channels": [512, 1024], "decoder_n_points": [6, 6],
    "decoder_in_channels": [128, 128], "feat_strides": [16, 32], "depth_mult": 0.5, "decoder_layers": 3,
    "hidden_expansion": 0.34,
}  # fmt: skip
_DFINES: Mapping[str, tuple[Options, Options]] = {
    "nano": (_NANO, _hgnet([16, 16], [64, 256, 512, 1024], [1, 1, 2, 1], 3, **_AFFINE, **_DEEP)),
    "small": (
        {**_POINTS, "decoder_layers": 3, "hidden_expansion": 0.5, "depth_mult": 0.34,
         "encoder_in_channels": [256, 512, 1024]},
        _hgnet([16, 16], [64, 256, 512, 1024], [1, 1, 2, 1], 3, **_AFFINE),
    ),
    "medium": (
        {**_POINTS, "decoder_layers": 4, "depth_mult": 0.67, "encoder_in_channels": [384, 768, 1536]},
        _hgnet([24, 32], [96, 384, 768, 1536], [1, 1, 3, 1], 4, **_AFFINE),
    ),
    "large": (_POINTS, _hgnet([32, 48], [128, 512, 1024, 2048], [1, 1, 3, 1], 6)),
    "xlarge": (
        {**_POINTS, **_R101},
        _hgnet([32, 64], [128, 512, 1024, 2048], [1, 2, 5, 2], 6),
    ),
}  # fmt: skip


def _dfines() -> dict[str, Shape]:
    found = {}
    for size, (options, backbone) in _DFINES.items():
        names = tuple(f"dfine-{size}-{each}" for each in ("coco", "obj365", "obj2coco", "obj2coco-e25"))
        found[f"dfine_{size}"] = Shape(
            "DFineConfig", "DFineForObjectDetection", "boxes", (*names, f"dfine_{size[0]}_coco"),
            {"num_labels": 80, **options}, ("HGNetV2Config", backbone),
        )  # fmt: skip
    return found


def _boxes() -> dict[str, Shape]:
    labels = {"num_labels": 91}
    deformable = ("DeformableDetrConfig", "DeformableDetrForObjectDetection", "boxes")
    table = ("TableTransformerConfig", "TableTransformerForObjectDetection", "boxes")
    refined = {**labels, "with_box_refine": True}
    yolos = ("YolosConfig", "YolosForObjectDetection", "boxes")
    return {
        "deformable_detr": Shape(*deformable, ("deformable-detr",), labels),
        "deformable_detr_with_box_refine": Shape(*deformable, ("deformable-detr-with-box-refine",), refined),
        "deformable_detr_two_stage": Shape(
            *deformable, ("deformable-detr-with-box-refine-two-stage",), {**refined, "two_stage": True}
        ),
        "deformable_detr_single_scale": Shape(
            *deformable, ("deformable-detr-single-scale",), {**labels, "num_feature_levels": 1}
        ),
        "conditional_detr_resnet50": Shape(
            "ConditionalDetrConfig", "ConditionalDetrForObjectDetection", "boxes", ("conditional-detr-resnet-50",),
            labels,
        ),
        "dab_detr_resnet50": Shape(
            "DabDetrConfig", "DabDetrForObjectDetection", "boxes", ("dab-detr-resnet-50",), labels
        ),
        "table_transformer_detection": Shape(
            *table, ("table-transformer-detection",), {"backbone": "resnet18", "num_queries": 15, "num_labels": 2}
        ),
        "table_transformer_structure_recognition": Shape(
            *table,
            ("table-transformer-structure-recognition", "table-transformer-structure-recognition-v1.1-all",
             "table-transformer-structure-recognition-v1.1-fin", "table-transformer-structure-recognition-v1.1-pub"),
            {"backbone": "resnet18", "num_queries": 125, "num_labels": 6},
        ),
        "yolos_tiny": Shape(*yolos, ("yolos-tiny",), {
            **labels, "hidden_size": 192, "intermediate_size": 768, "num_attention_heads": 3,
            "image_size": [800, 1333], "use_mid_position_embeddings": False,
        }),
        "yolos_small": Shape(*yolos, ("yolos-small", "yolos-small-300"), {
            **labels, "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6,
        }),
        "yolos_base": Shape(*yolos, ("yolos-base",), {**labels, "image_size": [800, 1344]}),
    }  # fmt: skip


def _classifiers() -> dict[str, Shape]:
    found = {}
    labels = {"num_labels": 1000}
    resnets: dict[str, tuple[list[int], str]] = {
        "18": ([2, 2, 2, 2], "basic"), "34": ([3, 4, 6, 3], "basic"), "50": ([3, 4, 6, 3], "bottleneck"),
        "101": ([3, 4, 23, 3], "bottleneck"), "152": ([3, 8, 36, 3], "bottleneck"),
    }  # fmt: skip
    for depth, (blocks, kind) in resnets.items():
        widths = [64, 128, 256, 512] if kind == "basic" else [256, 512, 1024, 2048]
        found[f"microsoft-resnet-{depth}"] = Shape(
            "ResNetConfig", "ResNetForImageClassification", "classes", (),
            {**labels, "depths": blocks, "layer_type": kind, "hidden_sizes": widths},
        )  # fmt: skip
    for size, options in _CONVNEXTS.items():
        names = (f"convnext-{size}-224", f"convnext-{size}-384", f"convnext-{size}-224-22k-1k",
                 f"convnext-{size}-384-22k-1k", f"convnext-{size}-224-22k")  # fmt: skip
        found[f"facebook-convnext-{size}"] = Shape(
            "ConvNextConfig", "ConvNextForImageClassification", "classes", names, {**labels, **options}
        )
    for size, options in _CONVNEXTS.items():
        if size not in ("small", "xlarge"):
            second = (f"convnextv2-{size}-1k-224", f"convnextv2-{size}-22k-224", f"convnextv2-{size}-22k-384")
            found[f"facebook-convnextv2-{size}"] = Shape(
                "ConvNextV2Config", "ConvNextV2ForImageClassification", "classes", second, {**labels, **options}
            )
    for number, (width, deep, dropout) in enumerate(_EFFICIENTNETS):
        factors = {"width_coefficient": width, "depth_coefficient": deep, "dropout_rate": dropout}
        found[f"google-efficientnet-b{number}"] = Shape(
            "EfficientNetConfig", "EfficientNetForImageClassification", "classes", (),
            {**labels, **factors, "hidden_dim": _EFFICIENT_WIDTHS[number]},
        )  # fmt: skip
    return found


_EFFICIENTNETS = (
    (1.0, 1.0, 0.2), (1.0, 1.1, 0.2), (1.1, 1.2, 0.3), (1.2, 1.4, 0.3), (1.4, 1.8, 0.4), (1.6, 2.2, 0.4),
    (1.8, 2.6, 0.5), (2.0, 3.1, 0.5),
)  # fmt: skip
"""Factors of width and depth, and dropout, of B0 to B7 (arXiv 1905.11946)."""
_EFFICIENT_WIDTHS = (1280, 1280, 1408, 1536, 1792, 2048, 2304, 2560)

SHAPES: Mapping[str, Shape] = {
    **_mask2formers(), **_maskformers(), **_oneformers(), **_upernets(), **_rtdetrs(), **_dfines(), **_boxes(),
    **_classifiers(),
}  # fmt: skip
"""By the name a profile has."""
