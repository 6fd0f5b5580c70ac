"""A repair as a unified diff."""

from __future__ import annotations

from vramlint.fix.loop import FileFix


def unified_diff(file: FileFix) -> bytes:
    """The change as a diff that ``patch -p1`` and ``git apply`` take: CRLF kept, missing newline at the end said so."""
    raise NotImplementedError
