"""Which sweep the command line asks for."""

from __future__ import annotations

from vramlint.errors import ProbeError
from vramlint.probe.backend import Setting
from vramlint.probe.sweep import Plan

QUICK = Plan(models=(("resnet50", 224), ("decoder", 512)), batches=(2, 8, 32), optimizers=("adamw",))
"""36 settings at most."""

_VISION = (
    ("timm/resnet50", 224), ("timm/vit_base_patch16_224", 224), ("timm/swin_tiny_patch4_window7_224", 224),
    ("timm/convnext_tiny", 224), ("timm/hrnet_w18", 224), ("plain/unet", 512), ("landmarks/hrnet_w32", 512),
    ("timm/resnet18", 224), ("timm/resnet101", 224), ("timm/vit_small_patch16_224", 224),
    ("timm/swin_base_patch4_window7_224", 224), ("timm/convnext_base", 224), ("timm/efficientnet_b0", 224),
    ("timm/mobilenetv3_large_100", 224), ("timm/densenet121", 224), ("timm/regnety_016", 224),
    ("transformers/segformer", 512), ("segmentation/unet_resnet34", 512), ("ultralytics/yolo12s", 640),
    ("ultralytics/yolo11n", 640), ("rfdetr/rfdetr_nano", 384),
)  # fmt: skip
_OTHER = (
    ("transformers/bert", 512, (8, 32), False, "adamw"), ("transformers/gpt2", 1024, (2, 8), False, "adamw"),
    ("transformers/gpt2", 1024, (8, 16), True, "adamw"), ("transformers/llama-3.2-1b", 2048, (1, 4), True, "adamw"),
    ("transformers/llama-3.2-1b+lora16", 2048, (1, 4), False, "adamw"),
    ("transformers/llama-3.1-8b+lora16", 2048, (1, 2), True, "adamw"),
    ("transformers/llama-3.1-8b", 1024, (1,), True, "sgd"), ("encoder/t5-base", 256, (4, 16), False, "adamw"),
    ("encoder/roberta-large", 256, (4, 16), False, "adamw"),
    ("diffusers/stable-diffusion-v1-5", 512, (1, 4), False, "adamw"),
    ("diffusers/dit-xl-2-256", 256, (4, 16), False, "adamw"),
    ("diffusers/stable-diffusion-xl-base-1.0", 1024, (1,), True, "adamw"),
)  # fmt: skip

STANDARD = Plan(
    lines=(
        *(
            tuple(Setting(model, batch, size, precision, False, "adamw") for batch in batches)  # noqa: FBT003
            for model, size in _VISION
            for precision, batches in (("bf16", (8, 32)), ("fp32", (4, 16)))
        ),
        *(
            tuple(Setting(model, batch, size, "bf16", checkpointing, optimizer) for batch in batches)
            for model, size, batches, checkpointing, optimizer in _OTHER
        ),
    )
)
"""The settings by which predictions are judged, of the usual families; those whose packages are here are measured."""


def chosen(models: tuple[str, ...], batches: tuple[int, ...], *, quick: bool = False, standard: bool = False) -> Plan:
    """The full sweep or the quick one, cut to the models and batches asked for. Raises ProbeError for other names."""
    if standard:
        lines = tuple(line for line in STANDARD.lines if not models or line[0].model in models)
        return STANDARD._replace(lines=lines)
    full = Plan()
    unknown = [name for name in models if name not in dict(full.models)]
    if unknown:
        raise ProbeError(f"the sweep has no model {unknown[0]!r}", help=f"Choose from {', '.join(dict(full.models))}.")
    plan = QUICK if quick else full
    if models:
        plan = plan._replace(models=tuple(pair for pair in full.models if pair[0] in models))
    return plan._replace(batches=tuple(sorted(set(batches)))) if batches else plan
