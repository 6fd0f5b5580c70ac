"""What ``vramlint probe`` measured of a card, where its result names the target: instead of the tables."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from vramlint.errors import SettingsError
from vramlint.hardware.model import Gpu

FILE = ".vramlint/probe.json"
"""Where ``vramlint probe`` leaves its result, relative to the repository's root."""

SCHEMA = "vramlint.probe/1"

_SAME_SIZE = 0.02
_KINDS = frozenset({"ti", "super", "laptop", "max", "mobile", "ada", "blackwell"})
"""Words that make another card of the same number."""


class Calibration(NamedTuple):
    """A measured card: its name as the driver says it, bytes in all, and for one process.

    ``usable_bytes`` is what a process gets beside its context, ``context_bytes`` the context with cuBLAS and cuDNN.
    """

    card: str
    total_bytes: int
    usable_bytes: int
    context_bytes: int
    date: str

    def names(self, gpu: Gpu) -> bool:
        """Whether ``gpu`` is the card that was measured: of its size, and every word of its name in the card's."""
        if abs(self.total_bytes / gpu.total_bytes - 1) > _SAME_SIZE:
            return False
        wanted, there = _words(gpu.name), _words(self.card)
        return wanted <= there and not (there - wanted) & _KINDS

    def applied(self, gpu: Gpu) -> Gpu:
        """``gpu`` with the measured figures."""
        source = f"measured by vramlint probe, {self.date}"
        return gpu._replace(
            usable_bytes=self.usable_bytes + self.context_bytes, context_bytes=self.context_bytes, source=source
        )


def _words(name: str) -> frozenset[str]:
    """The words that tell cards apart: without the maker, and without the size, which is compared on its own."""
    found = re.findall(r"[a-z]+|\d+", re.sub(r"\b\d+ ?gb\b", " ", name.lower()))
    return frozenset(found) - {"nvidia", "geforce", "tesla", "quadro", "gpu", "generation"}


def read_calibration(text: str, path: str) -> Calibration:
    """The calibration in a result of ``vramlint probe``. Raises SettingsError where it is none."""
    try:
        data: Mapping[str, Any] = json.loads(text)
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']!r}, this vramlint reads {SCHEMA!r}")
        card, stages = data["card"], data["stages"]
        return Calibration(
            card=str(card["name"]),
            total_bytes=int(card["total_bytes"]),
            usable_bytes=int(data["usable_bytes"]),
            context_bytes=max(int(stage["outside_torch_bytes"]) for stage in stages),
            date=str(data["date"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"no result of a probe: {error}", path=path, help="Make it with `vramlint probe`."
        ) from error
