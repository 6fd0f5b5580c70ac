"""Configs inside a wheel, read as a user's would be: by the dialect that claims them, with their base files."""

from __future__ import annotations

import difflib
import json
import posixpath
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from vramlint import sources
from vramlint.dialects.registry import claims, dialect
from vramlint.errors import SourceError
from vramlint.hardware import Target
from vramlint.plan import TrainingPlan
from vramlint.sources.model import Command, Document

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "wheels"
"""Where ``tools/fetch_wheels.sh`` puts the wheels."""

_CONFIGS = "/.mim/configs/"

SHIPPED = {"detectron2": Path(__file__).with_name("detectron2_configs.json")}
"""Configs of projects that publish no wheel with them, written by ``tools/make_detectron2_configs.py``."""


class Wheel:
    """Configs by their path: of one OpenMMLab wheel below ``configs/``, or of a repository below its root."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files
        self._read: dict[str, Document | None] = {}

    def configs(self) -> Iterator[str]:
        """Every config that is no base file, sorted."""
        return (name for name in sorted(self._files) if "_base_" not in name)

    def near(self, path: str) -> str:
        """``path``, or the one file of its folder whose name differs by a letter or two, as slips of the pen do."""
        if path in self._files:
            return path
        folder = posixpath.dirname(path)
        beside = [name for name in self._files if posixpath.dirname(name) == folder]
        found = difflib.get_close_matches(path, beside, n=2, cutoff=0.98)
        return found[0] if len(found) == 1 else path

    def document(self, path: str) -> Document | None:
        """The file at ``path``; None where the wheel has none or it cannot be read."""
        if path not in self._read:
            data = self._files.get(path)
            try:
                self._read[path] = None if data is None else sources.read(path, data)
            except SourceError:
                self._read[path] = None
        return self._read[path]

    def plan(self, path: str, target: Target) -> TrainingPlan | None:
        """The plan of the config at ``path``, launched on the target's GPUs; None where no one dialect claims it."""
        document = self.document(path)
        if document is None:
            return None
        context = _Beside(self, path, target)
        found = [dialect(claim.dialect).read(claim, document, context).plan for claim in claims(document)]
        return found[0] if len(found) == 1 else None


class _Beside:
    """A wheel as the context of one file: other files are named from that file's folder."""

    def __init__(self, wheel: Wheel, path: str, target: Target) -> None:
        self.target = target
        self._wheel, self._folder = wheel, posixpath.dirname(path)

    def document(self, path: str) -> Document | None:
        return self._wheel.document(posixpath.normpath(posixpath.join(self._folder, path)))

    def launches(self, _document: Document) -> list[tuple[Document, Command]]:
        return []


def _unpacked(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if _CONFIGS in name and name.endswith(".py")]
        return {name.partition(_CONFIGS)[2]: archive.read(name) for name in names}


def _shipped(path: Path) -> dict[str, bytes]:
    configs: dict[str, str] = json.loads(path.read_text())["configs"]
    return {name: text.encode() for name, text in configs.items()}


@lru_cache(maxsize=8)
def wheel(project: str) -> Wheel | None:
    """The configs of ``project`` (``mmsegmentation``, ``mmaction2-0.24.1``); None where they are not in the cache."""
    if project in SHIPPED:
        return Wheel(_shipped(SHIPPED[project]))
    found = sorted(CACHE.glob(f"{project}-*.whl"))
    return Wheel(_unpacked(found[-1])) if found else None
