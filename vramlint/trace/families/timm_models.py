"""Models of timm as classifiers with 1000 classes, or as many as they are defined with."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import torch

from vramlint.trace.events import Shape
from vramlint.trace.families.images import classification_loss, forward, labelled
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.targets import Target, UnknownModel
from vramlint.trace.tracer import Job

_FIXED_SHAPES = (2, 5, 3)
_FIXED_CONFIRM = 8

_STRIDE = 32
"""What most networks divide the image by; sizes that are no multiple of it are rounded up at some layers."""

_ROUNDED_TOLERANCE = 0.02
"""Largest difference at a default size that layers round, such as 300 or 299."""

_SHORT = {
    "convnext_t": "convnext_tiny",
    **{f"vit_{word}": "vit_base_patch16_224" for word in ("b_16", "base", "base_patch16")},
    **{f"vit_{word}": "vit_small_patch16_224" for word in ("s_16", "small", "small_patch16")},
}
"""Names that papers and other packages use."""


def names() -> list[str]:
    """All models of the installed timm but the tiny ones of its own tests, without the names of their weights."""
    torchvision_schemas()
    return [name for name in importlib.import_module("timm").list_models() if not name.startswith("test_")]


def other_names() -> dict[str, str]:
    """Names of earlier timm versions, which name the weights as well."""
    torchvision_schemas()
    registry = importlib.import_module("timm.models")
    return _SHORT | {old: now.partition(".")[0] for old, now in registry.get_deprecated_models().items() if now}


def find(name: str) -> Target:
    """The timm model ``name``. Raises UnknownModel where this timm has none of that name."""
    torchvision_schemas()
    timm = importlib.import_module("timm")
    if name not in timm.list_models():
        raise UnknownModel(f"timm {timm.__version__} has no model {name!r}")
    return _classifier(name, timm.models.model_entrypoint(name))


def _classifier(name: str, entrypoint: Any) -> Target:
    def make(shape: Shape, checkpointing: bool) -> Job:
        model = entrypoint(pretrained=False)
        if checkpointing:
            model.set_grad_checkpointing(True)
        return Job(model, lambda: labelled(shape), classification_loss, forward)

    built = _built(entrypoint)
    settings = importlib.import_module("timm.models").get_pretrained_cfg(name)
    classes = 1000 if settings is None else settings.num_classes
    target = Target(
        name,
        make,
        ("timm", "torch"),
        (f"{classes} classes, cross-entropy" if classes else "no classifier, cross-entropy of the features",),
        has_checkpointing=built.has_checkpointing,
        parameters=built.parameters,
        real_second_step=False,  # about 300 were confirmed with real ones, within the gate
    )
    if settings is None:
        return target
    _, height, width = settings.input_size
    target = target._replace(default_size=(height, width))
    fixed = target._replace(
        terms=("1", "B"),
        shapes=tuple(Shape(batch, height, width) for batch in _FIXED_SHAPES),
        confirm=(Shape(_FIXED_CONFIRM, height, width),),
        fixed_size=(height, width),
    )
    if settings.fixed_input_size:
        return fixed
    return _any_size(target, height, width)._replace(otherwise=fixed)


def _any_size(target: Target, height: int, width: int) -> Target:
    """The target at shapes that suit a model whose own size is height x width."""
    if height % _STRIDE == width % _STRIDE == 0:
        return target._replace(confirm=(Shape(5, height, width),))
    return target._replace(
        shapes=(
            Shape(2, height, width),
            Shape(3, height + 2 * _STRIDE, width + _STRIDE),  # the first two alone must tell batch and size apart
            Shape(2, height - 2 * _STRIDE, width - _STRIDE),
            Shape(4, height + 2 * _STRIDE, width + 2 * _STRIDE),
        ),
        confirm=(Shape(5, height, width), Shape(3, height + 4 * _STRIDE, width + 3 * _STRIDE)),
        tolerance=_ROUNDED_TOLERANCE,
        size_multiple=1,
    )


class _Built(NamedTuple):
    """What is learned from the model built without data, outside the trace."""

    parameters: int
    has_checkpointing: bool


def _built(entrypoint: Any) -> _Built:
    with torch.device("meta"):
        model = entrypoint(pretrained=False)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    try:
        model.set_grad_checkpointing(True)
    except (AssertionError, AttributeError):
        return _Built(parameters, has_checkpointing=False)
    return _Built(parameters, has_checkpointing=True)
