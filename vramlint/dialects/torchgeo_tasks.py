"""The models that torchgeo's Lightning tasks build from their arguments.

Sources: torchgeo 0.7 ``trainers/{segmentation,classification,regression}.py``: ``model`` with ``backbone`` is a model
of segmentation_models_pytorch, ``model`` alone one of timm; ``datamodules/geo.py``: ``patch_size`` is the side of a
sample.
"""

from __future__ import annotations

from typing import Any

from vramlint.dialects.draft import Draft
from vramlint.dialects.reading import Settings
from vramlint.plan import Fact, ImageSize, unknown

_PIXELS = ("SemanticSegmentationTask", "PixelwiseRegressionTask")
_IMAGES = ("ClassificationTask", "MultiLabelClassificationTask", "RegressionTask")
_OWN = ("fcn", "farseg")
"""Networks of torchgeo's own, which nothing here knows."""


def put_model(draft: Draft, settings: Settings[Any]) -> bool:
    """Puts the task's model, channels, classes and patch; False where the class is no such task.

    terratorch has tasks of the same names, which call their arguments ``model_args`` and ``model_factory``.
    """
    task = str(settings.values.model_class or "").rsplit(".", 1)[-1]
    model = settings.fact("network")
    if task not in (*_PIXELS, *_IMAGES) or not isinstance(model.value, str):
        return False
    draft.put("model", _model(task, model, settings))
    draft.put("task", _task(task, model))
    for name in ("in_channels", "num_classes"):
        fact = settings.fact(name)
        if fact.value is not None:
            draft.put(name, fact)
    patch = settings.fact("patch_size")
    if patch.value is not None and draft.plan.image_size.value is None:
        draft.put("image_size", _size(patch))
    return True


def _model(task: str, model: Fact[Any], settings: Settings[Any]) -> Fact[str]:
    frozen = [name for name in ("freeze_backbone", "freeze_decoder") if settings.fact(name).value]
    if frozen:
        return unknown(f"{frozen[0]}: what a frozen part saves is not worked out", model.location)
    if task in _IMAGES:
        return model
    backbone = settings.fact("backbone")
    if model.value in _OWN or backbone.value is None:
        return unknown(f"torchgeo's {model.value} is not known", model.location)
    return Fact(f"{model.value}_{backbone.value}", model.origin, model.location, f"backbone {backbone.value}")


def _task(task: str, model: Fact[Any]) -> Fact[str]:
    word = "segment" if task in _PIXELS else "classify"
    return Fact(word, model.origin, model.location, task)


def _size(patch: Fact[Any]) -> Fact[ImageSize]:
    """``patch_size: 256`` or ``[256, 256]``."""
    sides = [side for side in _listed(patch.value) if isinstance(side, int) and side > 0]
    if len(sides) not in (1, 2):
        return unknown(f"patch_size {patch.value} is no size", patch.location)
    return Fact(ImageSize(sides[0], sides[-1]), patch.origin, patch.location, "patch_size")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
