"""Writing repaired files: atomic, and only over the bytes that were read."""

from __future__ import annotations

from collections.abc import Sequence

from vramlint.fix.loop import FileFix


def write_files(files: Sequence[FileFix], root: str | None = None) -> None:
    """Write every file or none, as far as the filesystem lets.

    Raises EditRefused where a file changed since it was read, is reached through a symlink that leaves ``root`` (the
    current directory where None), or its folder cannot be written.
    """
    raise NotImplementedError
