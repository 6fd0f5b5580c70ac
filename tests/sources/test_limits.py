"""The worst files we could think of: each is read or refused quickly, none crashes or fills the memory."""

from __future__ import annotations

import time

import pytest

from vramlint import sources
from vramlint.errors import OversizeSource, SourceError
from vramlint.sources.decode import MAX_FILE_BYTES

SIZE = MAX_FILE_BYTES - 64

OVERSIZE = {
    "list.yaml": "- \n" * (SIZE // 3),
    "keys.yaml": "".join(f"k{number}: 1\n" for number in range(60_000)),
    "flow.yaml": "[" + "a," * (SIZE // 2 - 1) + "]",
    "open.yaml": "[" * SIZE,
    "question.yaml": "? " * (SIZE // 2),
    "documents.yaml": "---\n" * (SIZE // 4),
    "duplicates.yaml": "a: 1\n" * (SIZE // 5),
    "open.json": "[" * SIZE,
    "numbers.json": "[" + "1," * (SIZE // 2 - 2) + "1]",
    "duplicates.json": "{" + '"a":1,' * (SIZE // 6 - 2) + '"b":1}',
    "open.toml": "a=" + "[" * (SIZE - 4),
    "dotted.toml": ".".join("a" * (SIZE // 2 - 8)) + "=1",
    "array.toml": "a=[" + "1," * (SIZE // 2 - 4) + "]",
    "tables.toml": "[[a]]\n" * (SIZE // 6),
}
READ = {
    "comments.yaml": "# x\n" * (SIZE // 4),
    "hashes.yaml": "a: '" + " #" * (SIZE // 2 - 4) + "'",
    "no-comment.yaml": "a#" * (SIZE // 2),
    "aliases.yaml": "- &a x\n" + "- *a\n" * (SIZE // 5 - 3),
    "anchors.yaml": "".join(f"- &a{number} x\n" for number in range(SIZE // 16)),
    "base60.yaml": "a: 1" + ":59" * (SIZE // 3 - 4),
    "digits.yaml": "a: " + "9" * (SIZE - 4),
    "comments.json": "/**/" * (SIZE // 4),
    "text.json": '"' + "\\n" * (SIZE // 2 - 2) + '"',
    "tables.toml": "".join(f"[t{number}]\n" for number in range(30_000)),
}
SECONDS = 6.0
"""Alone on a machine each takes under a second; a test must hold on a busy one too. A quadratic walk takes minutes."""


@pytest.mark.parametrize("name", OVERSIZE)
def test_data_beyond_the_limits_is_refused_soon(name: str) -> None:
    started = time.process_time()
    with pytest.raises(OversizeSource) as caught:
        sources.read(name, OVERSIZE[name].encode())
    assert time.process_time() - started < SECONDS
    assert caught.value.help


@pytest.mark.parametrize("name", READ)
def test_large_files_within_the_limits_are_read_soon(name: str) -> None:
    started = time.process_time()
    sources.read(name, READ[name].encode())
    assert time.process_time() - started < SECONDS


@pytest.mark.parametrize("name", ["x.yaml", "x.json", "x.toml"])
def test_a_file_over_the_size_limit_is_not_parsed(name: str) -> None:
    with pytest.raises(OversizeSource, match="more than the limit"):
        sources.read(name, b" " * (MAX_FILE_BYTES + 1))


@pytest.mark.parametrize("name", ["x.yaml", "x.json", "x.toml"])
@pytest.mark.parametrize("data", [b"a\0", b"\xff\xfea\0", b"\xe9", b'"a" = "\x07"', b"{\x1b}"])
def test_bytes_that_are_no_text_are_refused(name: str, data: bytes) -> None:
    with pytest.raises(SourceError):
        sources.read(name, data)
