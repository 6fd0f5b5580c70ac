"""Bytes to text, strictly: a linter that guesses an encoding would write the guess back."""

from __future__ import annotations

from vramlint.errors import OversizeSource, SourceError

MAX_FILE_BYTES = 1024 * 1024
"""Larger files are data, not configuration: the largest of 1,285 published ones has 23,434 bytes."""

_UTF8_MARK = b"\xef\xbb\xbf"
_WIDE_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def decode_bytes(data: bytes, path: str = "<memory>", max_bytes: int = MAX_FILE_BYTES) -> tuple[str, bool]:
    """The text of ``data`` and whether it began with a UTF-8 byte-order mark, which is not part of the text.

    Line ends are kept. Raises OversizeSource for more than ``max_bytes`` bytes, and SourceError for UTF-16 and UTF-32,
    NUL bytes and bytes that are not UTF-8, each with the line and column where it happens.
    """
    if len(data) > max_bytes:
        raise OversizeSource(
            f"the file has more than the limit of {max_bytes:,} bytes",
            path=path,
            help="Exclude it: a training config is smaller.",
        )
    bom = data.startswith(_UTF8_MARK)
    body = data[len(_UTF8_MARK) :] if bom else data
    if b"\0" in body or body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise _wide_or_binary(body, path)
    try:
        return body.decode("utf-8"), bom
    except UnicodeDecodeError as error:
        line, column = _position(body, error.start)
        raise SourceError(
            f"byte 0x{body[error.start]:02x} is not valid UTF-8",
            path=path,
            line=line,
            column=column,
            help="Save the file as UTF-8.",
        ) from None


def _wide_or_binary(body: bytes, path: str) -> SourceError:
    for mark, name in _WIDE_MARKS.items():
        if body.startswith(mark):
            return SourceError(f"the file is {name}, not UTF-8", path=path, line=1, column=1, help="Save it as UTF-8.")
    if len(body) >= 4 and (body[1::2].count(0) == len(body) // 2 or body[0::2].count(0) == (len(body) + 1) // 2):
        return SourceError(
            "the file looks like UTF-16 without a byte-order mark",
            path=path,
            line=1,
            column=1,
            help="Save it as UTF-8.",
        )
    line, column = _position(body, body.index(0))
    return SourceError("the file holds a NUL byte", path=path, line=line, column=column, help="Remove the NUL byte.")


def _position(body: bytes, offset: int) -> tuple[int, int]:
    """1-based line and column in characters; everything before ``offset`` is valid UTF-8 or NUL."""
    before = body[:offset].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    line_start = before.rfind(b"\n") + 1
    return before.count(b"\n") + 1, len(before[line_start:].decode("utf-8", "replace")) + 1
