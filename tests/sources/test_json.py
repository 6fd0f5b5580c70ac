"""JSON: strict and comment-tolerant reading, and edits that keep it what it was."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sources.editing import deleted, inserted, replaced, values
from vramlint import sources
from vramlint.errors import EditRefused, SourceError, TemplateSource
from vramlint.sources.model import Plain

STRICT = [
    '{"a": [1, -2.5e3, true, null, "x\\u00e9\\n"], "b": {}}',
    "[]",
    "3",
    ' {"a" : 1 }\r\n',
    '"x"',
    '{"a":1,"a":2}',
]


@pytest.mark.parametrize("text", STRICT)
def test_strict_json_reads_as_json_does(text: str) -> None:
    assert values("x.json", text.encode()) == json.loads(text)


def test_numbers_json_has_not_read_as_python_does() -> None:
    assert repr(values("x.json", b'{"a": NaN, "b": -Infinity}')) == "{'a': nan, 'b': -inf}"


def test_comments_and_trailing_commas_are_read_and_named() -> None:
    data = b'{\n  // one\n  "a": 1, # two\n  b: [1, 2,], /* three\n */\n}\n'
    document = sources.read("ds_config.json", data)
    assert values("x.json", data) == {"a": 1, "b": [1, 2]}
    assert [comment.text for comment in document.comments] == ["// one", "# two", "/* three\n */"]
    kinds = [problem.kind for problem in document.problems]
    assert kinds == ["json-comment", "json-unquoted-key", "json-trailing-comma", "json-trailing-comma"]
    assert sources.read("x.jsonc", data).problems == []


def test_duplicate_keys_are_named() -> None:
    document = sources.read("x.json", b'{"a": 1,\n "a": 2}')
    assert [(found.kind, document.position(found.span.start)) for found in document.problems] == [
        ("duplicate-key", (2, 2))
    ]


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [('{"a": 1', 1, 8), ('{"a" 1}', 1, 6), ('{\n"a": tru}', 2, 6), ("{} x", 1, 4), ('{"a": "x\n"}', 1, 9),
     ("[1 2]", 1, 4), ('{"a": 01}', 1, 7), ("/* x", 1, 1), ("[,]", 1, 2), ("[1,,2]", 1, 4),
     ('{"a"}', 1, 5), ("{1: 2}", 1, 2)],
)  # fmt: skip
def test_errors_say_where(text: str, line: int, column: int) -> None:
    with pytest.raises(SourceError) as caught:
        sources.read("x.json", text.encode())
    assert (caught.value.line, caught.value.column) == (line, column)


def test_templates_and_depth() -> None:
    with pytest.raises(TemplateSource):
        sources.read("x.json", b'{"a": {{ batch }}}')
    with pytest.raises(SourceError, match="deep"):
        sources.read("x.json", b"[" * 100_000)
    with pytest.raises(SourceError, match="digits"):
        sources.read("x.json", b"9" * 10_000)


def test_many_keys_take_linear_time() -> None:
    text = "{" + ",".join(f'"k{i}": {i}' for i in range(50_000)) + "}"
    started = time.process_time()
    sources.read("x.json", text.encode())
    assert time.process_time() - started < 2


REPLACED: list[tuple[bytes, str, Plain, bytes]] = [
    (b'{"a": 4, "b": 1}', "a", 8, b'{"a": 8, "b": 1}'),
    (b'{"a": 5e8}', "a", 2e8, b'{"a": 2.0e+8}'),
    (b'{"a": 1e-4}', "a", 5e-05, b'{"a": 5.0e-5}'),
    (b'{"a": "auto"}', "a", 3, b'{"a": 3}'),
    (b'{"a": 3}', "a", 'it\'s "x"\n', b'{"a": "it\'s \\"x\\"\\n"}'),
    (b'{"a": "\\u00e9"}', "a", "\xfc", b'{"a": "\\u00fc"}'),
    ('{"a": "é"}'.encode(), "a", "\xfc", '{"a": "ü"}'.encode()),
    (b'{"a": true}', "a", False, b'{"a": false}'),
    (b'{"a": [1, 2]}', "a.1", None, b'{"a": [1, null]}'),
    (b'\xef\xbb\xbf{"a": 1}\r\n', "a", {"b": [1.0]}, b'\xef\xbb\xbf{"a": {"b": [1.0]}}\r\n'),
]

INSERTED: list[tuple[bytes, str, str, Plain, str | None, bytes]] = [
    (b'{"a": 1}', "", "b", 2, None, b'{"a": 1, "b": 2}'),
    (b'{"a":1,"c":3}', "", "b", 2, "a", b'{"a":1, "b":2,"c":3}'),
    (b"{}", "", "b", True, None, b'{"b": true}'),
    (b'{\n  "a": 1\n}\n', "", "b", 2, None, b'{\n  "a": 1,\n  "b": 2\n}\n'),
    (b'{\r\n\t"a": 1,\r\n\t"c": 3\r\n}', "", "b", 2, "a", b'{\r\n\t"a": 1,\r\n\t"b": 2,\r\n\t"c": 3\r\n}'),
    (b'{\n  "a": {\n    "x": 1\n  },\n  "c": 3\n}', "", "b", 2, "a",
     b'{\n  "a": {\n    "x": 1\n  },\n  "b": 2,\n  "c": 3\n}'),
    (b'{\n  "a": 1 // one\n}', "", "b", 2, None, b'{\n  "a": 1, // one\n  "b": 2\n}'),
    (b'{\n  "a": 1, // one\n}', "", "b", 2, None, b'{\n  "a": 1, // one\n  "b": 2,\n}'),
]  # fmt: skip

DELETED: list[tuple[bytes, str, str, bytes]] = [
    (b'{"a": 1, "b": 2}', "", "a", b'{"b": 2}'),
    (b'{"a": 1, "b": 2}', "", "b", b'{"a": 1}'),
    (b'{"a": 1}', "", "a", b"{}"),
    (b'{\n  "a": 1,\n  "b": 2\n}', "", "a", b'{\n  "b": 2\n}'),
    (b'{\n  "a": 1,\n  "b": 2\n}', "", "b", b'{\n  "a": 1\n}'),
]


@pytest.mark.parametrize(("before", "dotted", "value", "after"), REPLACED)
def test_a_value_is_replaced(before: bytes, dotted: str, value: Plain, after: bytes) -> None:
    assert replaced("x.json", before, dotted, value) == after


@pytest.mark.parametrize(("before", "dotted", "key", "value", "behind", "after"), INSERTED)
def test_a_key_is_inserted_with_its_comma(
    before: bytes, dotted: str, key: str, value: Plain, behind: str | None, after: bytes
) -> None:
    assert inserted("x.json", before, dotted, key, value, behind) == after


@pytest.mark.parametrize(("before", "dotted", "key", "after"), DELETED)
def test_an_entry_goes_with_its_comma(before: bytes, dotted: str, key: str, after: bytes) -> None:
    assert deleted("x.json", before, dotted, key) == after


def test_infinity_is_refused() -> None:
    with pytest.raises(EditRefused, match="infinity"):
        replaced("x.json", b'{"a": 1}', "a", float("inf"))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES, st.sampled_from([None, 1, 4]), st.booleans())
def test_whatever_json_writes_is_read_back(value: object, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    if "\0" not in text and not any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
        assert values("x.json", text.encode()) == json.loads(text)


@given(st.text(st.sampled_from(list('{}[]":,/*# \n\r\t\\u12e.-trufalsn')), max_size=30))
def test_any_text_reads_or_is_refused(text: str) -> None:
    try:
        document = sources.read("x.json", text.encode())
    except SourceError:
        with pytest.raises(ValueError, match=r"(?s).*"):
            json.loads(text)
        return
    if not document.problems and text.strip():
        assert repr(values("x.json", text.encode())) == repr(json.loads(text))
