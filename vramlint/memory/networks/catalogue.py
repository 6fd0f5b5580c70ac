"""Encoders, encoder-decoders and towers by name and by folder: what their ``config.json`` says."""

from __future__ import annotations

import json
import os
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from vramlint.memory.local_models import folders_of, read_json
from vramlint.memory.names import last_of

if TYPE_CHECKING:
    from vramlint.memory.networks.knowledge import Network

_DATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data", "networks.json")


@lru_cache(maxsize=64)
def find_network(name: str) -> Network | None:
    """The model called ``name`` on the hub, whoever uploaded it; None where that is no entry's name."""
    path = name.strip().lower()
    if path.endswith((".pt", ".pth", ".yaml", ".bin")):
        return None
    found = _keys().get(last_of(path))
    if found is None:
        return None
    from vramlint.memory.networks.families import network_from_config  # most names are no entry's

    entry, config, source = found
    return network_from_config(entry, config, f"the catalogue ({source})")


def local_network(name: str, config_path: str) -> Network | None:
    """The model in the folder ``name``, which the file ``config_path`` names; None where there is none known here."""
    for folder in folders_of(name, config_path):
        data = read_json(os.path.join(folder, "config.json"))
        if data is None or not isinstance(data.get("model_type"), str):
            continue
        from vramlint.memory.networks.families import network_from_config  # most names are no folder's

        shown = os.path.join(os.path.relpath(folder), "config.json").replace(os.sep, "/")
        found = network_from_config(os.path.basename(folder), data, shown)
        if found is not None:
            return found
    return None


def networks() -> tuple[Network, ...]:
    """Every entry of the catalogue, by name."""
    return tuple(found for name in _rows() if (found := find_network(name)) is not None)


@cache
def _keys() -> dict[str, tuple[str, dict[str, Any], str]]:
    keys: dict[str, tuple[str, dict[str, Any], str]] = {}
    for name, entry in _rows().items():
        for spelled in (name, *entry[2]):
            keys.setdefault(last_of(spelled.lower()), (name, entry[0], entry[1]))
    return keys


@lru_cache(maxsize=1)
def _rows() -> dict[str, tuple[dict[str, Any], str, list[str]]]:
    """Configs by name, each with where its numbers are from, and further names; ``like`` another with changes."""
    with open(_DATA, "rb") as file:
        document = json.load(file)
    rows: dict[str, tuple[dict[str, Any], str, list[str]]] = {}
    for name, source, data, *others in document["models"]:
        config = {**rows[data["like"]][0], **data} if "like" in data else data
        rows[name] = (
            {key: value for key, value in config.items() if key != "like"},
            document["sources"][source],
            others,
        )
    return rows
