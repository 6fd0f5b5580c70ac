"""The frameworks' published archives (``tools/fetch_wheels.sh``): their texts, and their files unpacked to import."""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

WHEELS = Path(__file__).parents[3] / ".cache" / "wheels"
_KEPT = (".py", ".yaml", ".json", ".so", ".info", "/version", "METADATA")


def found(pattern: str) -> Path | None:
    """The archive that ``pattern`` names; None where it was not fetched."""
    return next(iter(sorted(WHEELS.glob(pattern))), None)


def unpacked(pattern: str, folder: Path) -> Path:
    """The folder to import an archive from, under ``folder``; the archive has to be there."""
    archive = found(pattern)
    assert archive is not None, pattern
    place = folder / archive.name
    if not place.is_dir():
        _unpack(archive, place)
    return _root(place)


@lru_cache(maxsize=64)
def text_of(pattern: str, member: str) -> str:
    """The text of the file whose path in the archive ends in ``member``."""
    archive = found(pattern)
    assert archive is not None, pattern
    for name, read in _members(archive):
        if name == member or name.endswith(f"/{member}"):
            return read().decode("utf-8")
    raise AssertionError(f"{archive.name} holds no {member}")


def texts_of(pattern: str, files: str) -> list[str]:
    """The texts of all files whose paths end in what the regular expression ``files`` matches."""
    archive = found(pattern)
    assert archive is not None, pattern
    wanted = re.compile(rf"(?:.*/)?(?:{files})")
    return [read().decode("utf-8") for name, read in _members(archive) if wanted.fullmatch(name)]


def _members(archive: Path) -> Iterator[tuple[str, object]]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                yield name, lambda name=name: wheel.read(name)
        return
    with tarfile.open(archive) as sources:
        for member in sources:
            if member.isfile():
                yield member.name, lambda member=member: sources.extractfile(member).read()


def _unpack(archive: Path, place: Path) -> None:
    for name, read in _members(archive):
        if name.endswith(_KEPT) and ".." not in name:
            target = place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(read())


def _root(place: Path) -> Path:
    """Where the packages begin: below ``NAME.data/purelib`` or the one folder of a source archive, or at the top."""
    inner = next(iter(place.glob("*.data/purelib")), None)
    if inner is not None:
        return inner
    entries = [entry for entry in place.iterdir() if entry.is_dir()]
    return entries[0] if len(entries) == 1 and not (entries[0] / "__init__.py").exists() else place
