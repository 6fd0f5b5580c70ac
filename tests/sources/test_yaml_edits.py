"""YAML edits as tables: the file before, what is asked, the file after, to the byte."""

from __future__ import annotations

import pytest

from tests.sources.editing import deleted, inserted, replaced
from vramlint.errors import EditRefused
from vramlint.sources.model import Plain

REPLACED: list[tuple[bytes, str, Plain, bytes]] = [
    (b"a: 4 # four\nb: 1\n", "a", 8, b"a: 8 # four\nb: 1\n"),
    (b"a: 65_536\n", "a", 76800, b"a: 76_800\n"),
    (b"a: true\n", "a", False, b"a: false\n"),
    (b"a: True\n", "a", False, b"a: False\n"),
    (b"a: YES\n", "a", False, b"a: NO\n"),
    (b"a: off\n", "a", True, b"a: on\n"),
    (b"x: True\na: 1\n", "a", False, b"x: True\na: False\n"),
    (b"a: 1e-4\n", "a", 2e-05, b"a: 2.0e-5\n"),
    (b"a: 1.0e-04\n", "a", 2.5e-05, b"a: 2.5e-05\n"),
    (b"a: 1.5E+3\n", "a", 20000.0, b"a: 2.0E+4\n"),
    (b"a: 0.1\n", "a", 5e-06, b"a: 0.000005\n"),
    (b"a: 0.1\n", "a", 5e-08, b"a: 5.0e-08\n"),
    (b"a: 1\n", "a", 1e-05, b"a: 0.00001\n"),
    (b"a: text\n", "a", 1e-05, b"a: 1.0e-05\n"),
    (b"a: .inf\n", "a", float("nan"), b"a: .nan\n"),
    (b"a: 'fp32'\n", "a", "fp16", b"a: 'fp16'\n"),
    (b'a: "fp32"\n', "a", "it's", b'a: "it\'s"\n'),
    (b"a: 'fp32'\n", "a", "it's", b"a: 'it''s'\n"),
    (b"a: fp32\n", "a", "no", b'a: "no"\n'),
    (b"a: fp32\n", "a", "1e-4", b'a: "1e-4"\n'),
    (b"a: 2e-4\n", "a", "1e-4", b"a: 1e-4\n"),
    (b"a: fp32\n", "a", "y", b'a: "y"\n'),
    (b"a: fp32\n", "a", "x: y #z", b'a: "x: y #z"\n'),
    (b"a: {b: x}\n", "a.b", "p, q", b'a: {b: "p, q"}\n'),
    (b"a: x, y\n", "a", "p, q", b"a: p, q\n"),
    (b"a: x\n", "a", "line\nbreak", b'a: "line\\nbreak"\n'),
    (b"a: ~\n", "a", 3, b"a: 3\n"),
    (b"a: 3\n", "a", None, b"a: null\n"),
    (b"a:\nb: 1\n", "a", 3, b"a: 3\nb: 1\n"),
    (b"a:   # none yet\nb: 1\n", "a", 3, b"a: 3   # none yet\nb: 1\n"),
    (b"a: {b: , c: 1}\n", "a.b", 3, b"a: {b: 3, c: 1}\n"),
    (b"a: \nb: 1\n", "a", 3, b"a: 3\nb: 1\n"),
    (b"- \n- 1\n", "0", 3, b"- 3\n- 1\n"),
    (b"a: [1, 2]\n", "a.1", 5, b"a: [1, 5]\n"),
    (b"a: 1\n", "a", [1, "x"], b"a: [1, x]\n"),
    (b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", "b", 5, b"\xef\xbb\xbfa: 1\r\nb: 5\r\n"),
    (b"a: 1\rb: 2\r", "b", 5, b"a: 1\rb: 5\r"),
    ("é: 日本 # ü\n𝕏: 2\n".encode(), "𝕏", 5, "é: 日本 # ü\n𝕏: 5\n".encode()),
    (b"a: &unused 1\n", "a", 5, b"a: &unused 5\n"),
]

INSERTED: list[tuple[bytes, str, str, Plain, str | None, bytes]] = [
    (b"a: 1\n", "", "b", 2, None, b"a: 1\nb: 2\n"),
    (b"a: 1", "", "b", 2, None, b"a: 1\nb: 2"),
    (b"a: 1\r\nc: 3\r\n", "", "b", 2, "a", b"a: 1\r\nb: 2\r\nc: 3\r\n"),
    (b"a: 1\r\nc: 3", "", "d", 4, None, b"a: 1\r\nc: 3\r\nd: 4"),
    (b"a: 1  # one\n\n# about c\nc: 3\n", "", "b", 2, "a", b"a: 1  # one\nb: 2\n\n# about c\nc: 3\n"),
    (b"a: 1\n# about c\nc: 3\n", "", "b", 2, "a", b"a: 1\nb: 2\n# about c\nc: 3\n"),
    (b"a:\n  x: 1\n  # y: 2\nc: 3\n", "", "b", 2, "a", b"a:\n  x: 1\n  # y: 2\nb: 2\nc: 3\n"),
    (b"a:\n  x: 1\n\n# about c\nc: 3\n", "a", "z", 2, None, b"a:\n  x: 1\n  z: 2\n\n# about c\nc: 3\n"),
    (b"- a: 1 # one\n  b: 2\n- c: 3\n", "0", "d", 4, "a", b"- a: 1 # one\n  d: 4\n  b: 2\n- c: 3\n"),
    (b"l:\n- - a: 1\n- 2\n", "l.0.0", "b", 2, None, b"l:\n- - a: 1\n    b: 2\n- 2\n"),
    (b"a : 1\nb : 2\n", "", "c", 3, None, b"a : 1\nb : 2\nc : 3\n"),
    (b"a:    1\nbcd:  2\n", "", "ef", 3, None, b"a:    1\nbcd:  2\nef:   3\n"),
    (b'"a": 1\n"b": 2\n', "", "c", 3, None, b'"a": 1\n"b": 2\n"c": 3\n'),
    (b"a: 'x'\nb: 'y'\n", "", "c", "z", None, b"a: 'x'\nb: 'y'\nc: 'z'\n"),
    (b"a: True\n", "", "b", False, None, b"a: True\nb: False\n"),
    (b"a: 1\n", "", "on", 1, None, b'a: 1\n"on": 1\n'),
    (b"a: |\n  x\n\n\nc: 1\n", "", "b", 2, "a", b"a: |\n  x\nb: 2\n\n\nc: 1\n"),
    (b"a: |+\n  x\n\n\nc: 1\n", "", "b", 2, "a", b"a: |+\n  x\n\n\nb: 2\nc: 1\n"),
    (b"a: one\n  two\nc: 1\n", "", "b", 2, "a", b"a: one\n  two\nb: 2\nc: 1\n"),
    (b"a:\nc: 1\n", "", "b", 2, "a", b"a:\nb: 2\nc: 1\n"),
    (b"a:\n  - 1\n  - 2\nc: 1\n", "", "b", 2, "a", b"a:\n  - 1\n  - 2\nb: 2\nc: 1\n"),
    (b"a: {b: 1}\n", "a", "c", 2, None, b"a: {b: 1, c: 2}\n"),
    (b'a: {"b":1,"d":2}\n', "a", "c", 2, "b", b'a: {"b":1, "c":2,"d":2}\n'),
    (b"a: {\n  b:   1,\n  cde: 2,\n}\n", "a", "f", 3, None, b"a: {\n  b:   1,\n  cde: 2,\n  f:   3,\n}\n"),
    (b"a: {}\n", "a", "c", 2, None, b"a: {c: 2}\n"),
    (b"a: {b: 1,}\n", "a", "c", 2, None, b"a: {b: 1, c: 2,}\n"),
    (b"a: {\n  b: 1, # one\n  d: 2 # two\n}\n", "a", "c", 3, None, b"a: {\n  b: 1, # one\n  d: 2, # two\n  c: 3\n}\n"),
    (b"a: {\n  b: 1, # one\n  d: 2,\n}\n", "a", "c", 3, "b", b"a: {\n  b: 1, # one\n  c: 3,\n  d: 2,\n}\n"),
    (b"a: {\n  b: 1,\n}\n", "a", "c", 3, None, b"a: {\n  b: 1,\n  c: 3,\n}\n"),
    (b"x: &x {b: 1}\na: {<<: *x}\n", "a", "c", 2, None, b"x: &x {b: 1}\na: {c: 2, <<: *x}\n"),
    (b"x: &x {b: 1}\na:\n  <<: *x\nz: 0\n", "a", "b", 2, None, b"x: &x {b: 1}\na:\n  <<: *x\n  b: 2\nz: 0\n"),
    (b"a:\n    b: 1\n", "", "c", {"d": 1, "e": [2]}, None, b"a:\n    b: 1\nc:\n    d: 1\n    e: [2]\n"),
    (b"", "", "a", 1, None, b"a: 1\n"),
    (b"# only\n", "", "a", 1, None, b"# only\na: 1\n"),
    (b"a: 1\n---\nb: 2\n", "", "c", 3, None, b"a: 1\nc: 3\n---\nb: 2\n"),
    (b"a: 1\n...\n", "", "c", 3, None, b"a: 1\nc: 3\n...\n"),
]

DELETED: list[tuple[bytes, str, str, bytes]] = [
    (b"a: 1 # one\nb: 2\n", "", "a", b"b: 2\n"),
    (b"a: 1\r\nb:\r\n  c: 1\r\n  d: 2\r\n", "", "b", b"a: 1\r\n"),
    (b"a: 1\nb: 2", "", "b", b"a: 1\n"),
    (b"- a: 1\n  b: 2\n", "0", "a", b"- b: 2\n"),
    (b"- a: 1\n  b: 2\n", "0", "b", b"- a: 1\n"),
    (b"a: {b: 1, c: 2}\n", "a", "b", b"a: {c: 2}\n"),
    (b"a: {b: 1, c: 2}\n", "a", "c", b"a: {b: 1}\n"),
    (b"a: {b: 1}\n", "a", "b", b"a: {}\n"),
    (b"a: {\n  b: 1, # one\n  c: 2\n}\n", "a", "b", b"a: {\n  c: 2\n}\n"),
    (b"a: {\n  b: 1,\n  c: 2\n}\n", "a", "c", b"a: {\n  b: 1\n}\n"),
    (b"a: |\n  x\n  y\nb: 2\n", "", "a", b"b: 2\n"),
]

REFUSED_REPLACE = [
    (b"a: &x 1\nb: *x\n", "a", "anchor"),
    (b"a: &x 1\nb: *x\n", "b", "alias"),
    (b"a: &x {c: 1}\nb: *x\n", "a.c", "anchor"),
    (b"a: &x {c: 1}\nb: {<<: *x}\n", "b.c", "anchor"),
    (b"a: |\n  x\n", "a", "block scalar"),
    (b"a: one\n  two\n", "a", "several lines"),
    (b"a: 'one\n  two'\n", "a", "several lines"),
    (b"a: !!float 3\n", "a", "tag"),
    (b"a: {b}\n", "a.b", "colon"),
]

REFUSED_INSERT = [
    (b"a: &x {c: 1}\nb: *x\n", "a", "k", "anchor"),
    (b"a: [b: 1]\n", "a.0", "k", "no braces"),
    (b"a: 1\nk: 2\n", "", "k", "there already"),
    (b"a: 1\n", "", "k\n", "one line"),
    (b"a: |\n  x", "", "k", "block scalar"),
]

REFUSED_DELETE = [
    (b"a: 1\n", "", "a", "only one"),
    (b"a: &x 1\nb: *x\n", "", "a", "anchor"),
    (b"x: &x {b: 1}\na:\n  <<: *x\n  c: 1\n  d: 2\n", "a", "b", "merge key"),
    (b"- a: 1\n  # about b\n  b: 2\n", "0", "a", "comments"),
]


@pytest.mark.parametrize(("before", "dotted", "value", "after"), REPLACED)
def test_a_value_is_replaced_in_the_style_of_the_old(before: bytes, dotted: str, value: Plain, after: bytes) -> None:
    assert replaced("x.yaml", before, dotted, value) == after


@pytest.mark.parametrize(("before", "dotted", "key", "value", "behind", "after"), INSERTED)
def test_a_key_is_inserted_as_its_neighbours_are_written(
    before: bytes, dotted: str, key: str, value: Plain, behind: str | None, after: bytes
) -> None:
    assert inserted("x.yaml", before, dotted, key, value, behind) == after


@pytest.mark.parametrize(("before", "dotted", "key", "after"), DELETED)
def test_an_entry_goes_with_its_line(before: bytes, dotted: str, key: str, after: bytes) -> None:
    assert deleted("x.yaml", before, dotted, key) == after


@pytest.mark.parametrize(("data", "dotted", "reason"), REFUSED_REPLACE)
def test_replacing_is_refused_with_the_reason(data: bytes, dotted: str, reason: str) -> None:
    with pytest.raises(EditRefused, match=reason):
        replaced("x.yaml", data, dotted, 5)


@pytest.mark.parametrize(("data", "dotted", "key", "reason"), REFUSED_INSERT)
def test_inserting_is_refused_with_the_reason(data: bytes, dotted: str, key: str, reason: str) -> None:
    with pytest.raises(EditRefused, match=reason):
        inserted("x.yaml", data, dotted, key, 5)


@pytest.mark.parametrize(("data", "dotted", "key", "reason"), REFUSED_DELETE)
def test_deleting_is_refused_with_the_reason(data: bytes, dotted: str, key: str, reason: str) -> None:
    with pytest.raises(EditRefused, match=reason):
        deleted("x.yaml", data, dotted, key)
