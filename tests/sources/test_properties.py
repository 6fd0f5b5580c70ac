"""Generated documents in every layout people write: after an edit only the edited value differs, to every parser."""

from __future__ import annotations

import json
import tomllib
import warnings
from typing import NamedTuple

import ruamel.yaml
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ruamel.yaml.error import MantissaNoDotYAML1_1Warning

from tools.roundtrip import Before, Counts, check_file, edits_of, empty_counts, prove, same_value
from vramlint import sources
from vramlint.errors import SourceError
from vramlint.sources.model import TextEdit, apply_edits, plain

KEYS = st.sampled_from(
    ["batch_size", "lr", "model", "a b", "x-y", "on", "64", "é", "optimizer.name", "fp16", "it's", "#k", "<<x", "k:v"]
)
SCALARS = st.sampled_from(
    ["1", "65_536", "1e-4", "1.0e-04", "true", "False", "yes", "null", "~", "", "fp16", "'q # r'", "'it''s'", "a b",
     '"d: \\t e"', "/data/x", "http://x/y", "-1", ".5", "2024-01-01", "!!str 5", "&anc 7", "[1, 2]", "{}", "[]", "- ",
     "{p: 1, q: [x]}", "${a.b}", "é日𝕏", "x#y", "'@at'"]
)  # fmt: skip
COMMENTS = st.sampled_from(["", "", "", " # note", "   # it's: {x, [y]"])


class Layout(NamedTuple):
    """How one generated YAML file is laid out."""

    step: int
    newline: str
    bom: bool
    final_newline: bool
    quote: str
    dash_indent: bool


LAYOUTS = st.builds(
    Layout,
    st.sampled_from([1, 2, 4, 7]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "'", '"']),
    st.booleans(),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=4) | st.lists(inner, min_size=1, max_size=3),
    max_leaves=10,
)


def written(tree: dict[str, object], layout: Layout, draw: st.DrawFn) -> str:
    """The tree as a person might write it: comments, blank lines, the chosen indent."""
    lines: list[str] = []
    if draw(st.booleans()):
        lines.append("# head: 'of file")
    _mapping(tree, 0, "", layout, draw, lines)
    if draw(st.booleans()):
        lines.append("# foot")
    return layout.newline.join(lines) + (layout.newline if layout.final_newline else "")


def _mapping(
    tree: dict[str, object], depth: int, first: str, layout: Layout, draw: st.DrawFn, lines: list[str]
) -> None:
    indent = " " * depth
    for number, (key, value) in enumerate(tree.items()):
        lead = first if first and number == 0 else indent
        name = f"{layout.quote}{key.replace(chr(39), '')}{layout.quote}" if layout.quote else _safe(key)
        if draw(st.integers(0, 5)) == 0 and not (first and number == 0):
            lines.append(draw(st.sampled_from(["", f"{indent}# about {number}", f"{indent}    # old: 1"])))
        _value(f"{lead}{name}:", value, depth, layout, draw, lines)


def _value(lead: str, value: object, depth: int, layout: Layout, draw: st.DrawFn, lines: list[str]) -> None:
    match value:
        case dict():
            lines.append(lead + draw(COMMENTS))
            _mapping(value, depth + layout.step, "", layout, draw, lines)
        case list():
            lines.append(lead + draw(COMMENTS))
            column = depth + (layout.step if layout.dash_indent else 0)
            for item in value:
                _item(item, column, layout, draw, lines)
        case _:
            text = "'-'" if value == "- " else str(value)
            anchored = text.replace("&anc", f"&a{len(lines)}")
            lines.append((f"{lead} {anchored}" if text else lead) + draw(COMMENTS))


def _item(item: object, column: int, layout: Layout, draw: st.DrawFn, lines: list[str]) -> None:
    dash = " " * column + "- "
    if isinstance(item, dict):
        _mapping(item, column + 2, dash, layout, draw, lines)
    elif isinstance(item, list):
        lines.append(dash + "[1, 'two']" + draw(COMMENTS))
    else:
        _value(dash.rstrip(), item, column, layout, draw, lines)


def _safe(key: str) -> str:
    return key if key.replace("_", "").isalnum() else json.dumps(key, ensure_ascii=False)


@st.composite
def yaml_files(draw: st.DrawFn) -> bytes:
    tree = draw(st.dictionaries(KEYS, TREES, min_size=1, max_size=5))
    layout = draw(LAYOUTS)
    text = written(tree, layout, draw)
    return (b"\xef\xbb\xbf" if layout.bom else b"") + text.encode()


@settings(max_examples=150, deadline=None)
@given(yaml_files(), st.sampled_from(["replace", "insert", "delete"]))
def test_every_edit_of_a_generated_yaml_file(data: bytes, operation: str) -> None:
    counts = empty_counts()
    check_file("generated.yaml", data, operation, counts, second=True)
    assert not counts.failed, "\n".join([data.decode(), *counts.failed])
    assert not any("unreadable" in reason for reason in counts.refused), data


@settings(max_examples=60, deadline=None)
@given(yaml_files())
def test_generated_files_read_as_pyyaml_and_ruamel_read_them(data: bytes) -> None:
    document = sources.read("generated.yaml", data)
    assume(not document.problems)
    assert same_value(plain(document.root), yaml.load(document.text, Loader=yaml.CSafeLoader))
    reader = ruamel.yaml.YAML(typ="safe", pure=True)
    reader.version = (1, 1)  # type: ignore[assignment]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MantissaNoDotYAML1_1Warning)
        assert same_value(plain(document.root), reader.load(document.text))


@settings(max_examples=60, deadline=None)
@given(yaml_files(), st.data())
def test_two_edits_in_one_pass_are_two_changes(data: bytes, draw: st.DataObject) -> None:
    document = sources.read("generated.yaml", data)
    edits = [made.edit for made in edits_of(document, "replace") if isinstance(made.edit, TextEdit)]
    assume(len(edits) > 1)
    chosen = draw.draw(st.lists(st.sampled_from(edits), min_size=2, max_size=4, unique=True))
    text = apply_edits(document.text, chosen)
    again = sources.read("generated.yaml", sources.encode(document, text))
    assert [comment.text for comment in again.comments] == [comment.text for comment in document.comments]
    changed = sum(
        left != right
        for (_path, left), (_same, right) in zip(Before(document).leaves, Before(again).leaves, strict=True)
    )
    assert changed == len(chosen)


JSON_LEAVES = st.none() | st.booleans() | st.integers() | st.text('ab"\\é\n/#', max_size=6)
JSON_LEAVES |= st.floats(allow_nan=False, allow_infinity=False)
JSON_TREES = st.recursive(
    JSON_LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('ab é"', min_size=1, max_size=3), inner, max_size=4)
    ),
    max_leaves=8,
)
TOML_SCALARS = st.sampled_from(
    ["1", "65_536", "1e-4", "true", "'lit'", '"a # b"', "[1, 2]", "{ p = 1, q.r = 2 }", "1979-05-27", "inf"]
)
TOML_TABLES = st.dictionaries(st.sampled_from(["a", "b", "c.d", "c.e", '"f g"', "h"]), TOML_SCALARS, max_size=4)


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), JSON_TREES, max_size=4),
    st.sampled_from([None, 2, "\t"]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.sampled_from(["replace", "insert", "delete"]),
)
def test_every_edit_of_a_generated_json_file(
    tree: dict[str, object], indent: int | str | None, newline: str, comments: bool, operation: str
) -> None:
    text = json.dumps(tree, indent=indent, ensure_ascii=False)
    if comments and indent is not None:
        text = text.replace(",\n", ", // c, {\n").replace("{\n", "{\n/* ] */", 1)
    assert_every_edit("generated.json", text.replace("\n", newline).encode(), operation)


@settings(max_examples=80, deadline=None)
@given(
    TOML_TABLES,
    st.lists(TOML_TABLES, max_size=3),
    st.sampled_from([" = ", "=", "   = "]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.sampled_from(["replace", "insert", "delete"]),
)
def test_every_edit_of_a_generated_toml_file(
    root: dict[str, str], tables: list[dict[str, str]], equals: str, newline: str, final: bool, operation: str
) -> None:
    lines = ["# head"] + [f"{key}{equals}{value}" for key, value in root.items()]
    headers = ["[t]", "[u.v]", "[[w]]"]
    for header, table in zip(headers, tables, strict=False):
        lines += ["", "# about", header] + [f"  {key}{equals}{value}  # note" for key, value in table.items()]
    text = newline.join(lines) + (newline if final else "")
    tomllib.loads(text)
    assert_every_edit("generated.toml", text.encode(), operation)


def assert_every_edit(name: str, data: bytes, operation: str) -> Counts:
    counts = empty_counts()
    check_file(name, data, operation, counts, second=True)
    assert not counts.failed, "\n".join([data.decode(), *counts.failed])
    assert not any("unreadable" in reason for reason in counts.refused), data
    return counts


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.sampled_from(list("ab1:-?#&*!|>'\"[]{}, \n\r~<=.")), max_size=40),
    st.sampled_from(["replace", "insert", "delete"]),
)
def test_edits_of_any_text_that_reads_are_right_or_unprovable(text: str, operation: str) -> None:
    """Odd YAML may defeat an edit, but never silently: the proof sees that the text no longer reads as asked."""
    try:
        document = sources.read("odd.yaml", text.encode())
    except SourceError:
        return
    before = Before(document)
    for made in edits_of(document, operation):
        if not isinstance(made.edit, TextEdit):
            continue
        try:
            prove(before, made, operation)
        except (AssertionError, SourceError):
            continue
        again = sources.read("odd.yaml", sources.encode(document, apply_edits(text, [made.edit])))
        assert len(again.comments) <= len(document.comments)
