"""Detectors and segmenters in folders of the repository, known by the sizes in their ``config.json``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from vramlint.memory.local_models import local_profile
from vramlint.memory.profile import Profile

_DATA = os.path.join(os.path.dirname(__file__), "data", "vision.json")

Values = Mapping[str, Any]


def local_vision(name: str, config_path: str) -> Profile | None:
    """The traced profile whose sizes the folder ``name``, which the file ``config_path`` names, has in its config.

    None where any size differs: another decoder or backbone is another model. Numbers of classes are of no matter.
    """
    return local_profile(name, config_path, _alike)


def _alike(data: Values) -> str | None:
    """The model that a config.json describes; it leaves out what is a default of its type or its backbone's."""
    kind = _types().get(str(data.get("model_type")))
    if kind is None:
        return None
    inside = data.get("backbone_config")
    inside = inside if isinstance(inside, Mapping) else {}
    spelled = inside.get("model_type")
    backbone = None if spelled is None else str(spelled)
    found = {**kind["defaults"], **inside, **data} if backbone == "timm_backbone" else {**kind["defaults"], **data}
    own = [found[key] for key in kind["defaults"]]
    usual = kind["backbones"].get(backbone)
    if usual is None and backbone not in (None, "timm_backbone"):
        return None
    described = [own, backbone if usual is not None else None, [inside.get(key, usual[key]) for key in usual or ()]]
    return next((name for name, values in kind["models"].items() if values == described), None)


@lru_cache(maxsize=1)
def _types() -> dict[str, Any]:
    """By model_type: defaults of the type and of its backbones, and each model's values in the same order."""
    with open(_DATA, "rb") as file:
        found: dict[str, Any] = json.load(file)
    return found
