"""Text encoders and encoder-decoders in folders of the repository, known by the sizes in their ``config.json``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from vramlint.memory.local_models import local_profile
from vramlint.memory.profile import Profile

_DATA = os.path.join(os.path.dirname(__file__), "data", "encoders.json")


def local_encoder(name: str, config_path: str) -> Profile | None:
    """The traced profile whose sizes the folder ``name``, which the file ``config_path`` names, has in its config.

    None where any size differs: a vocabulary of its own is another model.
    """
    return local_profile(name, config_path, _alike)


def _alike(data: Mapping[str, Any]) -> str | None:
    """A config.json leaves out what is a default of its type, but not its type."""
    if not isinstance(data.get("model_type"), str):
        return None
    for name, sizes, spelled in _sizes():
        if all(key in data for key in ("model_type", *spelled)) and all(
            data.get(key, value) == value for key, value in sizes.items()
        ):
            return name
    return None


@lru_cache(maxsize=1)
def _sizes() -> list[tuple[str, dict[str, Any], list[str]]]:
    """Name, sizes, and the sizes that a config.json spells because they are no defaults of the type."""
    with open(_DATA, "rb") as file:
        return [(name, sizes, spelled) for name, sizes, spelled in json.load(file)["models"]]
