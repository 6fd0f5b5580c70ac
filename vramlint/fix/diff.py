"""A repair as a unified diff."""

from __future__ import annotations

from collections.abc import Iterator

from vramlint.fix.loop import FileFix


def unified_diff(file: FileFix) -> bytes:
    """The change as a diff that ``patch -p1`` and ``git apply`` take: CRLF kept, missing newline at the end said so."""
    from difflib import unified_diff as lines_diff

    old, new = _lines(file.old), _lines(file.new)
    made = lines_diff(old, new, f"a/{file.path}", f"b/{file.path}")
    return "".join(_marked(made)).encode("utf-8", "surrogateescape")


def _lines(data: bytes) -> list[str]:
    """Lines as diff tools count them: only a line feed ends one, and a carriage return belongs to its line."""
    text = data.decode("utf-8", "surrogateescape")
    return [line + "\n" for line in text.split("\n")[:-1]] + ([last] if (last := text.rpartition("\n")[2]) else [])


def _marked(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
