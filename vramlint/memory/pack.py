"""Many profiles in one file, found by name without reading the others.

A pack is text: one JSON object a line, sorted by its first member ``key``, so that a profile is found by bisection and
a change of one model is a change of one line. The first line (its key is empty) holds what all profiles of the pack
have in common. A line with ``alias`` stands for another key.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterable, Mapping
from typing import Any

_START = b'{"key":"'

_ALIASES_FOLLOWED = 3


def pack_key(name: str) -> str:
    """What is left of a name without its separators: ``ResNet-50`` and ``resnet_50`` both give ``resnet50``."""
    return re.sub(r"[^a-z0-9]+", "", name.lower())


class Pack:
    """A pack's file, mapped into memory. Raises OSError where it cannot be opened, ValueError where it is empty."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._common: dict[str, Any] = json.loads(self._line(0))

    def find(self, key: str) -> dict[str, Any] | None:
        """The profile under ``key`` in its JSON form, aliases followed; None where there is none."""
        for _ in range(_ALIASES_FOLLOWED):
            line = self._find(key.encode())
            if line is None:
                return None
            data: dict[str, Any] = json.loads(line)
            if "alias" not in data:
                return {**self._common, **data}
            key = data["alias"]
        return None

    def names(self) -> tuple[str, ...]:
        """The names of all profiles, sorted by key, aliases left out. Reads the whole file."""
        lines = self._data[:].splitlines()[1:]
        return tuple(data["name"] for data in map(json.loads, lines) if "alias" not in data)

    def aliases(self) -> dict[str, str]:
        """Other keys and the keys they stand for. Reads the whole file."""
        found = (json.loads(line) for line in self._data[:].splitlines() if b'"alias"' in line)
        return {data["key"]: data["alias"] for data in found}

    def _line(self, start: int) -> bytes:
        end = self._data.find(b"\n", start)
        return self._data[start : end if end >= 0 else len(self._data)]

    def _find(self, key: bytes) -> bytes | None:
        low, high = 0, len(self._data)
        while low < high:
            start = self._data.rfind(b"\n", low, (low + high) // 2) + 1 or low
            line = self._line(start)
            found = line[len(_START) : line.index(b'"', len(_START))]
            if found == key:
                return line
            if found < key:
                low = start + len(line) + 1
            else:
                high = start
        return None


def pack_text(common: Mapping[str, Any], profiles: Mapping[str, Mapping[str, Any]], aliases: Mapping[str, str]) -> str:
    """A pack of the profiles and aliases by key. ``common`` members are left out of each profile that has the same."""
    rows: dict[str, Mapping[str, Any]] = {
        key: {name: value for name, value in data.items() if name not in common or common[name] != value}
        for key, data in profiles.items()
    }
    rows.update((key, {"alias": target}) for key, target in aliases.items() if key not in profiles)
    lines = [_json("", common), *(_json(key, rows[key]) for key in sorted(rows, key=str.encode))]
    return "\n".join(lines) + "\n"


def _json(key: str, data: Mapping[str, Any]) -> str:
    return json.dumps({"key": key, **data}, separators=(",", ":"))


def common_members(profiles: Iterable[Mapping[str, Any]], names: Iterable[str]) -> dict[str, Any]:
    """For each of ``names``, the value that most profiles have."""
    values = list(profiles)
    found: dict[str, Any] = {}
    for name in names:
        spelled = [json.dumps(data[name]) for data in values if name in data]
        if spelled:
            found[name] = json.loads(max(sorted(set(spelled)), key=spelled.count))
    return found
