"""Models of segmentation_models_pytorch, named ``architecture_encoder`` (``unet_resnet34``), with one class."""

from __future__ import annotations

import importlib

from vramlint.trace.events import Shape
from vramlint.trace.families.images import forward, mask_loss, with_masks
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.targets import Target, UnknownModel
from vramlint.trace.tracer import Job

KINDS = (
    "Unet", "UnetPlusPlus", "FPN", "DeepLabV3", "DeepLabV3Plus", "PSPNet", "Linknet", "MAnet", "PAN", "UPerNet",
    "Segformer",
)  # fmt: skip
"""Architectures of the package that a catalogue is made of (DPT takes encoders of timm alone)."""

ENCODERS = (
    "resnet34", "resnet50", "efficientnet-b0", "mit_b0", "resnet18", "resnet101", "mobilenet_v2", "efficientnet-b4",
    "resnext50_32x4d", "se_resnext50_32x4d", "mit_b2", "vgg16_bn", "efficientnet-b3", "densenet121", "mit_b5",
    "efficientnet-b7",
)  # fmt: skip
"""The encoders that people use most, the usual ones first."""

_SCORE_TERMS = ("1", "B", "HW", "BHW", "B(HW)^2")
"""Mix Transformers hold their attention's scores, the square of the pixels."""

_SCORE_SHAPES = (Shape(2, 128, 128), Shape(3, 128, 128), Shape(2, 320, 320), Shape(3, 256, 192), Shape(2, 512, 512))


def names() -> list[str]:
    """Every architecture with every common encoder; pairs that the package refuses are among them."""
    return [f"{kind.lower()}_{encoder}" for encoder in ENCODERS for kind in KINDS]


def find(name: str) -> Target:
    """The model ``architecture_encoder``. Raises UnknownModel where the package has no such pair."""
    torchvision_schemas()
    smp = importlib.import_module("segmentation_models_pytorch")
    architecture, _, encoder = name.partition("_")
    kinds = {kind.lower(): kind for kind in KINDS}
    if architecture not in kinds or encoder not in smp.encoders.get_encoder_names():
        raise UnknownModel(f"segmentation_models_pytorch has no {name!r}")
    kind = kinds[architecture]

    def make(shape: Shape, checkpointing: bool) -> Job:
        del checkpointing
        model = getattr(smp, kind)(encoder, encoder_weights=None, classes=1)
        return Job(model, lambda: with_masks(shape), mask_loss, forward)

    target = Target(
        name,
        make,
        ("segmentation-models-pytorch", "timm", "torch"),
        ("one class, binary cross-entropy plus Dice",),
        confirm=(Shape(5, 320, 256), Shape(2, 512, 512)),  # batch norm on a pooled image needs a batch of 2
        real_second_step=False,
    )
    return target._replace(terms=_SCORE_TERMS, shapes=_SCORE_SHAPES) if encoder.startswith("mit") else target
