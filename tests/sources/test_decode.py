"""Strict decoding: every refusal says where."""

from __future__ import annotations

import pytest

from vramlint.errors import SourceError
from vramlint.sources.decode import decode_bytes

ACCEPTED = [
    (b"", "", False),
    (b"\xef\xbb\xbf", "", True),
    (b"\xef\xbb\xbfa: 1\r\n", "a: 1\r\n", True),
    (b"a\rb\r\nc\n", "a\rb\r\nc\n", False),
    ("é: 日本".encode(), "é: 日本", False),
]

REFUSED = [
    ("a: 1".encode("utf-16"), "UTF-16", 1, 1),
    ("a: 1".encode("utf-16-be"), "UTF-16 without", 1, 1),
    ("a: 1".encode("utf-16-le"), "UTF-16 without", 1, 1),
    ("a: 1".encode("utf-32"), "UTF-32", 1, 1),
    (b"a: 1\nb: \0\n", "NUL", 2, 4),
    (b"a: 1\r\nb: caf\xe9\r\n", "0xe9", 2, 7),
    ("é: \xff".encode("latin-1"), "0xe9", 1, 1),
    (b"a: \xed\xa0\x80", "0xed", 1, 4),
    (b"\xef\xbb\xbfx\0", "NUL", 1, 2),
]


@pytest.mark.parametrize(("data", "text", "bom"), ACCEPTED)
def test_line_ends_stay_and_the_mark_is_taken_off(data: bytes, text: str, bom: bool) -> None:
    assert decode_bytes(data) == (text, bom)


@pytest.mark.parametrize(("data", "message", "line", "column"), REFUSED)
def test_what_is_not_utf8_is_refused_at_its_place(data: bytes, message: str, line: int, column: int) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        decode_bytes(data, "config.yml")
    assert (caught.value.path, caught.value.line, caught.value.column) == ("config.yml", line, column)
    assert caught.value.help


def test_the_size_limit_counts_bytes() -> None:
    assert decode_bytes(b"x" * 10, max_bytes=10) == ("x" * 10, False)
    with pytest.raises(SourceError, match="limit of 10 bytes"):
        decode_bytes(b"x" * 11, max_bytes=10)
