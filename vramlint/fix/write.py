"""Writing repaired files: atomic, and only over the bytes that were read."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

from vramlint.errors import EditRefused
from vramlint.fix.loop import FileFix


class _Prepared(NamedTuple):
    """A file whose new bytes lie ready beside it. ``target`` is the real file, symlinks followed."""

    file: FileFix
    target: str
    temporary: str


def write_files(files: Sequence[FileFix], root: str | None = None) -> None:
    """Write every file or none, as far as the filesystem lets.

    All new files are written and synced beside the old ones before the first takes its place; when one cannot, those
    that already did are put back. Raises EditRefused where a file changed since it was read, is reached through a
    symlink that leaves ``root`` (the current folder where None), or its folder cannot be written.
    """
    inside = os.path.abspath(root or os.getcwd())
    prepared: list[_Prepared] = []
    replaced: list[_Prepared] = []
    try:
        for file in files:
            prepared.append(_prepare(file, inside))
        for ready in prepared:
            _replace(ready)
            replaced.append(ready)
    except (OSError, EditRefused) as error:
        _put_back(replaced)
        if isinstance(error, EditRefused):
            raise
        raise EditRefused(f"cannot be written: {error.strerror}", path=error.filename) from error
    finally:
        for ready in prepared:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(ready.temporary)


def _prepare(file: FileFix, inside: str) -> _Prepared:
    """Writes the new bytes beside the file. Raises EditRefused and OSError."""
    target = os.path.realpath(file.path)
    if _leaves(file.path, inside):
        raise EditRefused("a symlink leads out of the project", path=file.path, help="Fix the file where it lies.")
    _expect_unchanged(file, target)
    if not os.access(target, os.W_OK):
        raise EditRefused("the file is write-protected", path=file.path)
    try:
        handle, temporary = tempfile.mkstemp(prefix=".vramlint-", dir=os.path.dirname(target))
    except OSError as error:
        raise EditRefused(f"its folder cannot be written: {error.strerror}", path=file.path) from error
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(file.new)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, os.stat(target).st_mode & 0o7777)
    except OSError:
        os.unlink(temporary)
        raise
    return _Prepared(file, target, temporary)


def _leaves(path: str, root: str) -> bool:
    """Whether a symlink leads from ``root`` to a file outside; outside of ``root``, any linked file counts."""
    if _below(os.path.abspath(path), root):
        return not _below(os.path.realpath(path), os.path.realpath(root))
    return os.path.islink(path)


def _below(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(folder, ""))


def _replace(ready: _Prepared) -> None:
    _expect_unchanged(ready.file, ready.target)
    os.replace(ready.temporary, ready.target)


def _expect_unchanged(file: FileFix, target: str) -> None:
    with open(target, "rb") as now:
        if now.read() != file.old:
            raise EditRefused("the file changed while it was being checked", path=file.path, help="Run vramlint again.")


def _put_back(replaced: Sequence[_Prepared]) -> None:
    """Gives files that were already replaced their old bytes again; what fails here cannot be helped any more."""
    for ready in replaced:
        with contextlib.suppress(OSError), open(ready.target, "r+b") as out:
            out.write(ready.file.old)
            out.truncate()
