"""TOML: tomllib's values in exact places, and edits of tables."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sources.editing import deleted, find, inserted, replaced, values
from vramlint import sources
from vramlint.errors import EditRefused, SourceError
from vramlint.sources.model import Mapping, Plain, Scalar

READ = [
    'a = 1\n[t]\nb = "x" # c\n[t.s]\nc = [1, 2.5, # two\n true]\n',
    "[a.b]\nx = 1\n[a]\ny = 2\n",
    "[[l]]\nx = 1\n[[l]]\nx = 2\n[l.sub]\ny = 3\n",
    "a.b.c = 1\na.b.d = 2\na.e = 3\n",
    't = { a = 1, b.c = 2, d = { e = "x" } }\n',
    "a = 0x1F\nb = 0o17\nc = 1_000\nd = 1e-4\ne = inf\nf = -inf\ng = 0b11\nh = +1\ni = -0.0\n",
    'a = """x\n"quoted" \\\n   y"""\nb = \'\'\'raw\\n\'\'\'\nc = \'lit\\n\'\nd = "esc\\t\\u00e9"\n',
    '"a b".\'c.d\' = 1\n["x.y"]\nz = 1\n',
    "a = 1\r\n[t]\r\nb = 2\r\n",
    "a = \"\"\"x\"\"\"\"\"\nb = '''y'''''\n",
    "",
    "# only\n",
    "a = [\n  # c\n]\n",
]


@pytest.mark.parametrize("text", READ)
def test_values_are_those_of_tomllib(text: str) -> None:
    assert values("x.toml", text.encode()) == tomllib.loads(text)


def test_dates_stay_text() -> None:
    data = b"a = 1979-05-27T07:32:00Z\nb = 1979-05-27 07:32:00\nc = 07:32:00\nd = [1979-05-27]\n"
    assert values("x.toml", data) == {
        "a": "1979-05-27T07:32:00Z",
        "b": "1979-05-27 07:32:00",
        "c": "07:32:00",
        "d": ["1979-05-27"],
    }


def test_places() -> None:
    document = sources.read("x.toml", b"\xef\xbb\xbf[t]\r\na . b = 'x' # c\r\n")
    node = find(document, "t.a.b")
    assert isinstance(node, Scalar)
    assert (node.text, document.position(node.span.start)) == ("'x'", (2, 9))
    assert [comment.text for comment in document.comments] == ["# c"]
    table = find(document, "t")
    assert isinstance(table, Mapping)
    assert document.text[table.span.start : table.span.end] == "[t]\r\na . b = 'x'"


@pytest.mark.parametrize(
    ("text", "line", "column"), [("a = 1\nb = .5\n", 2, 5), ("a = True", 1, 5), ("a = 1\na = 2\n", 2, 6), ("a =", 1, 4)]
)
def test_errors_say_where(text: str, line: int, column: int) -> None:
    with pytest.raises(SourceError) as caught:
        sources.read("x.toml", text.encode())
    assert (caught.value.line, caught.value.column) == (line, column)


def test_depth_is_limited() -> None:
    for text in ("a = " + "[" * 50_000, "a = " + "[" * 150 + "]" * 150):
        with pytest.raises(SourceError, match="deep"):
            sources.read("x.toml", text.encode())


REPLACED: list[tuple[bytes, str, Plain, bytes]] = [
    (b"a = 65_536 # c\n", "a", 76800, b"a = 76_800 # c\n"),
    (b"a = 8e-4\n", "a", 4e-05, b"a = 4.0e-5\n"),
    (b"a = 'x'\n", "a", "y", b"a = 'y'\n"),
    (b"a = 'x'\n", "a", "it's", b'a = "it\'s"\n'),
    (b'[t]\na = "x"\n', "t.a", 'q"\\\n', b'[t]\na = "q\\"\\\\\\n"\n'),
    (b"a = true\r\n", "a", False, b"a = false\r\n"),
    (b"a = 1\n", "a", float("inf"), b"a = inf\n"),
    (b"a = [1, 2]\n", "a.1", 3, b"a = [1, 3]\n"),
    (b"a = { b = 1 }\n", "a.b", [1, {"c": 2}], b"a = { b = [1, { c = 2 }] }\n"),
]

INSERTED: list[tuple[bytes, str, str, Plain, str | None, bytes]] = [
    (b"a = 1\n\n[t]\nb = 2\n", "", "c", 3, None, b"a = 1\nc = 3\n\n[t]\nb = 2\n"),
    (b"# head\n\n[t]\nb = 2\n", "", "c", 3, None, b"# head\n\nc = 3\n\n[t]\nb = 2\n"),
    (b"", "", "c", 3, None, b"c = 3\n"),
    (b"[t]\nb = 2 # two\n\n# about s\n[t.s]\nx = 1\n", "t", "c", 3, None,
     b"[t]\nb = 2 # two\nc = 3\n\n# about s\n[t.s]\nx = 1\n"),
    (b"[t]\r\n[u]\r\n", "t", "c", 3, None, b"[t]\r\nc = 3\r\n[u]\r\n"),
    (b"[t] # table", "t", "c", 3, None, b"[t] # table\nc = 3"),
    (b"[t]\n  b=2\n  d=4\n", "t", "c", "x", "b", b'[t]\n  b=2\n  c="x"\n  d=4\n'),
    (b"[t.s]\nx = 1\n", "t", "c", 3, None, b"[t]\nc = 3\n\n[t.s]\nx = 1\n"),
    (b"a.b = 1\nz = 2\n", "a", "c", 3, None, b"a.b = 1\na.c = 3\nz = 2\n"),
    (b"[t]\na.b = 1\n", "t", "c", 3, None, b"[t]\na.b = 1\nc = 3\n"),
    (b"t = { a = 1 }\n", "t", "c", 3, None, b"t = { a = 1, c = 3 }\n"),
    (b"t = {}\n", "t", "c", 3, None, b"t = {c = 3}\n"),
    (b"[[l]]\na = 1\n[[l]]\na = 2\n", "l.0", "c", 3, None, b"[[l]]\na = 1\nc = 3\n[[l]]\na = 2\n"),
    (b"a = 1\n", "", "b c", 3, None, b'a = 1\n"b c" = 3\n'),
]  # fmt: skip

DELETED: list[tuple[bytes, str, str, bytes]] = [
    (b"a = 1 # one\nb = 2\n", "", "a", b"b = 2\n"),
    (b"[t]\na = [\n  1,\n]\nb = 2\n", "t", "a", b"[t]\nb = 2\n"),
    (b"t = { a = 1, b = 2 }\n", "t", "b", b"t = { a = 1 }\n"),
    (b"a.b = 1\na.c = 2\n", "a", "b", b"a.c = 2\n"),
]


@pytest.mark.parametrize(("before", "dotted", "value", "after"), REPLACED)
def test_a_value_is_replaced(before: bytes, dotted: str, value: Plain, after: bytes) -> None:
    assert replaced("x.toml", before, dotted, value) == after


@pytest.mark.parametrize(("before", "dotted", "key", "value", "behind", "after"), INSERTED)
def test_a_key_is_inserted_into_its_table(
    before: bytes, dotted: str, key: str, value: Plain, behind: str | None, after: bytes
) -> None:
    assert inserted("x.toml", before, dotted, key, value, behind) == after
    tomllib.loads(after.decode())


@pytest.mark.parametrize(("before", "dotted", "key", "after"), DELETED)
def test_an_entry_goes_with_its_line(before: bytes, dotted: str, key: str, after: bytes) -> None:
    assert deleted("x.toml", before, dotted, key) == after


def test_what_toml_cannot_say_is_refused() -> None:
    with pytest.raises(EditRefused, match="null"):
        replaced("x.toml", b"a = 1\n", "a", None)
    with pytest.raises(EditRefused, match="triple"):
        replaced("x.toml", b'a = """x"""\n', "a", "y")
    with pytest.raises(EditRefused, match="table of its own"):
        deleted("x.toml", b"[t]\na = 1\n", "", "t")
    with pytest.raises(EditRefused, match="dotted"):
        deleted("x.toml", b"a.b = 1\n", "a", "b")
    with pytest.raises(EditRefused, match="dotted"):
        inserted("x.toml", b"t = { a.b = 1 }\n", "t.a", "c", 1)


@given(st.text(st.sampled_from(list("ab1.=[]{}\"'#, \n\r_-+e:\\t")), max_size=30))
def test_any_text_reads_as_tomllib_or_is_refused(text: str) -> None:
    try:
        expected = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(SourceError):
            sources.read("x.toml", text.encode())
        return
    assert repr(values("x.toml", text.encode())) == repr(expected)
