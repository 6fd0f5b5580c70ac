"""Models of segmentation_models_pytorch, named ``architecture_encoder`` (``unet_resnet34``), with one class."""

from __future__ import annotations

import importlib

from vramlint.trace.events import Shape
from vramlint.trace.families.images import forward, mask_loss, with_masks
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.targets import Target, UnknownModel
from vramlint.trace.tracer import Job


def find(name: str) -> Target:
    """The model ``architecture_encoder``. Raises UnknownModel where the package has no such pair."""
    torchvision_schemas()
    smp = importlib.import_module("segmentation_models_pytorch")
    architecture, _, encoder = name.partition("_")
    kinds = {kind.lower(): kind for kind in ("Unet", "UnetPlusPlus", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus")}
    if architecture not in kinds or encoder not in smp.encoders.get_encoder_names():
        raise UnknownModel(f"segmentation_models_pytorch has no {name!r}")
    kind = kinds[architecture]

    def make(shape: Shape, checkpointing: bool) -> Job:
        del checkpointing
        model = getattr(smp, kind)(encoder, encoder_weights=None, classes=1)
        return Job(model, lambda: with_masks(shape), mask_loss, forward)

    return Target(
        name,
        make,
        ("segmentation-models-pytorch", "timm", "torch"),
        ("one class, binary cross-entropy plus Dice",),
    )
