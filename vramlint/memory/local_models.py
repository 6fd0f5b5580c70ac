"""Models in folders of the repository: a ``config.json`` beside the weights, or an adapter that names its base."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vramlint.memory.catalogue import NamedDecoder, find_decoder, named_decoder
from vramlint.memory.profile import Profile
from vramlint.memory.profile_catalogue import find_profile

_LARGEST_BYTES = 1 << 20
_MOST_STEPS = 4
"""Adapters on adapters, or configs that name others, are followed this far."""
_MOST_PARENTS = 8


def local_decoder(name: str, config_path: str) -> NamedDecoder | None:
    """The decoder in the folder ``name``, which the file ``config_path`` names; None where there is none.

    A relative path counts from the working directory, from the file's folder, and from the folders above it within the
    repository: which of them the job starts in is not known. ``adapter_config.json`` leads to its
    ``base_model_name_or_path``, a config.json without a shape to its ``_name_or_path``.
    """
    for folder in folders_of(name, config_path):
        found = _in_folder(folder, config_path, _MOST_STEPS)
        if found is not None:
            return found
    return None


def _in_folder(folder: str, config_path: str, steps: int) -> NamedDecoder | None:
    if steps == 0:
        return None
    data = read_json(os.path.join(folder, "config.json"))
    shown = os.path.join(os.path.relpath(folder), "config.json").replace(os.sep, "/")
    found = named_decoder(os.path.basename(folder), data, f"shape of {shown}") if data else None
    if found is not None:
        return found
    adapter = read_json(os.path.join(folder, "adapter_config.json")) or {}
    base = adapter.get("base_model_name_or_path") or (data or {}).get("_name_or_path")
    if not isinstance(base, str) or not base:
        return None
    for inside in folders_of(base, config_path):
        if os.path.realpath(inside) != os.path.realpath(folder):
            further = _in_folder(inside, config_path, steps - 1)
            if further is not None:
                return further
    return find_decoder(base)


def local_profile(name: str, config_path: str, recognised: Callable[[Mapping[str, Any]], str | None]) -> Profile | None:
    """The traced profile of the model that ``recognised`` names from the config.json of a folder that ``name`` means.

    None where there is no such folder, or its sizes are no traced model's.
    """
    for folder in folders_of(name, config_path):
        data = read_json(os.path.join(folder, "config.json"))
        known = None if data is None else recognised(data)
        profile = None if known is None else find_profile(known)
        if profile is not None:
            shown = os.path.relpath(folder).replace(os.sep, "/")
            text = f"sizes of {shown}/config.json are those of {profile.name}"
            return profile._replace(assumptions=(text, *profile.assumptions))
    return None


def folders_of(name: str, config_path: str) -> Iterator[str]:
    """Existing folders that ``name`` may mean, each once."""
    path = os.path.expanduser(name.strip())
    if not path or "\0" in path or "://" in path:
        return
    path = os.path.dirname(path) if path.endswith(".json") else path
    seen = set()
    for start in (os.getcwd(), *_above(os.path.dirname(os.path.abspath(config_path)))):
        folder = os.path.normpath(os.path.join(start, path))
        if folder not in seen and os.path.isdir(folder):
            seen.add(folder)
            yield folder


def _above(folder: str) -> Iterator[str]:
    """``folder`` and those above it, up to the repository's root."""
    for _ in range(_MOST_PARENTS):
        yield folder
        parent = os.path.dirname(folder)
        if parent == folder or os.path.exists(os.path.join(folder, ".git")):
            return
        folder = parent


def read_json(path: str) -> dict[str, Any] | None:
    """The JSON object in the file ``path``; None where there is no such file or it holds none."""
    try:
        if os.path.getsize(path) > _LARGEST_BYTES:
            return None
        with open(path, "rb") as file:
            data = json.load(file)
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
