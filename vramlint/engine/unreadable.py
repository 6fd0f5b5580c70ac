"""Files that a walk meets and cannot read: which of them are worth a word.

A folder holds templates, fixtures of other tools and half-written notes; to report each of them would be noise. A
training config that is broken would pass unchecked in silence, and that is worse. So what can be read of a broken file
decides: where a dialect claims that part, the file is reported (exit code 2), else it is passed over. Templates and
files beyond the limits are never reported, and a file that is named always is.
"""

from __future__ import annotations

from collections.abc import Iterator

from vramlint.dialects.registry import claims
from vramlint.errors import OversizeSource, SourceError, TemplateSource
from vramlint.sources import read

MOST_CUTS = 40
"""Lines in front of an error that are given up, one after the other, until the rest reads."""
_CLOSERS = {"{": "}", "[": "]"}


def is_training_config(path: str, data: bytes, error: SourceError) -> bool:
    """Whether a dialect claims what can be read of a file that as a whole cannot."""
    if isinstance(error, (TemplateSource, OversizeSource)):
        return False
    for part in _readable(path, data, error):
        try:
            document = read(path, part.encode())
        except SourceError:
            continue
        return bool(claims(document))
    return False


def narrow(data: bytes) -> bytes:
    """Text of two bytes a character as UTF-8; what is no text loses the characters that are none."""
    encoding = "utf-16-be" if data[:2] == b"\xfe\xff" else "utf-16-le"
    return data.decode(encoding, "ignore").lstrip("\ufeff").encode("utf-8", "ignore")


def _readable(path: str, data: bytes, error: SourceError) -> Iterator[str]:
    """The whole text with its encoding mended, then ever shorter parts that end in front of the error."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = narrow(data)
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").replace("\0", "")
    yield text
    lines = text.splitlines(keepends=True)
    last = min(error.line or len(lines), len(lines))
    for count in range(last, max(0, last - MOST_CUTS), -1):
        part = "".join(lines[:count])
        yield _closed(part) if path.endswith((".json", ".jsonc")) else part


def _closed(text: str) -> str:
    """JSON that ends early, with its last comma gone and its brackets closed."""
    open_brackets: list[str] = []
    quoted = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif quoted:
            escaped = character == "\\"
            quoted = character != '"'
        elif character == '"':
            quoted = True
        elif character in _CLOSERS:
            open_brackets.append(_CLOSERS[character])
        elif character in "}]" and open_brackets:
            open_brackets.pop()
    return text.rstrip().rstrip(",") + "".join(reversed(open_brackets))
