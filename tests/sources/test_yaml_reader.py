"""Reading YAML: values as PyYAML's, places exact, limits kept."""

from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vramlint.errors import SourceError, TemplateSource
from vramlint.sources import yaml_reader
from vramlint.sources.model import Mapping, Node, Scalar, Sequence, Style, Unknown, lookup, plain
from vramlint.sources.yaml_reader import parse

SAME_AS_PYYAML = [
    "a: 1\n",
    "a: 1e-4\nb: 1.0e-4\nc: no\nd: 017\ne: 1:30\nf: None\ng: 1_000\nh: ~\ni:\nj: 0x10\nk: .inf\n",
    "a: '1'\nb: \"x\\ty\"\nc: 'it''s'\n",
    "a: |\n  one\n  two # no comment\nb: >-\n  folded\n  text\nc: 1\n",
    "a: [1, two, {b: 3}]\nb: {c: , d: 1}\n",
    "- 1\n- - 2\n  - 3\n- a: 1\n  b: 2\n-\n",
    "base: &b {x: 1, y: 2}\na:\n  <<: *b\n  y: 3\n",
    "b1: &p {x: 1}\nb2: &q {x: 2, z: 3}\na:\n  <<: [*p, *q]\n  w: 0\n",
    "a: &x 8\nb: *x\nc: [*x, *x]\n",
    "a: 1\na: 2\n",
    "\"a b\": 1\n'c': 2\n? d\n: 3\n",
    "a: first\n  second\n  third\nb: 1\n",
    "a: !!str 5\nb: !!float 3\nc: !!int '7'\n",
    "%YAML 1.1\n---\na: 1\n...\n",
    "a: 'x # y'\nb: \"# z\"\nc: d#e\n",
    "- &a [1, 2]\n- *a\n",
    "é: 日本\n𝕏: '𝕐'\nz: 1\n",
    "just a string\n",
    "[1, 2]",
    "{}",
]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("text", SAME_AS_PYYAML)
def test_values_are_those_of_pyyaml(text: str, newline: str) -> None:
    text = text.replace("\n", newline)
    document = parse(text, "x.yaml")
    assert repr(plain(document.root)) == repr(yaml.safe_load(text)) or plain(document.root) == yaml.safe_load(text)
    check_places(document.root, text)


def check_places(root: Node, text: str) -> None:
    """Every scalar's text stands at its span, and plain ones are their own text."""
    pending: list[Node] = [root]
    while pending:
        node = pending.pop()
        assert 0 <= node.span.start <= node.span.end <= len(text)
        if isinstance(node, (Scalar, Unknown)):
            assert text[node.span.start : node.span.end] == node.text
        elif isinstance(node, Sequence):
            pending.extend(node.items)
        else:
            for entry in node.entries:
                if not entry.merged:
                    assert node.span.start <= entry.key_span.start <= entry.span.end <= node.span.end or node.shared
                pending.append(entry.value)


def scalar(text: str, dotted: str) -> Scalar:
    node = lookup(parse(text, "x.yaml").root, dotted)
    assert isinstance(node, Scalar)
    return node


SPANS = [
    ("a: &x !!int 12 # c\n", "a", "12", Style.PLAIN),
    ("a: !!str\n  text\n", "a", "text", Style.PLAIN),
    ("a: &anchor\nb: 1\n", "a", "", Style.EMPTY),
    ("a:   \nb: 1\n", "a", "", Style.EMPTY),
    ("a: 'q''q' \n", "a", "'q''q'", Style.SINGLE),
    ('a:   "x # y"\n', "a", '"x # y"', Style.DOUBLE),
    ("a: |  # header\n  x\n\n\nb: 1\n", "a", "|  # header\n  x", Style.BLOCK),
    ("a: |+\n  x\n\n\nb: 1\n", "a", "|+\n  x\n\n\n", Style.BLOCK),
    ("a: {b: 1 , c: 2}\n", "a.b", "1", Style.PLAIN),
]


@pytest.mark.parametrize(("text", "dotted", "expected", "style"), SPANS)
def test_a_scalar_is_its_text_without_tag_and_anchor(text: str, dotted: str, expected: str, style: Style) -> None:
    node = scalar(text, dotted)
    assert (node.text, node.style) == (expected, style)


def test_block_collections_end_where_their_last_value_ends() -> None:
    text = "a:\n  b: 1\n  # about c\n\n# about d\nd: 2\n"
    inner = lookup(parse(text, "x.yaml").root, "a")
    assert isinstance(inner, Mapping)
    assert text[inner.span.start : inner.span.end] == "b: 1"


def test_comments_are_found_and_hashes_in_strings_are_not() -> None:
    text = "# one\na: 'x # y' # two\nb: |  # three\n  # content\nc: d#e #four\nf: [1, # five\n  2] # six\ng: &a_b 1\n"
    comments = [comment.text for comment in parse(text, "x.yaml").comments]
    assert comments == ["# one", "# two", "# three", "#four", "# five", "# six"]


def test_a_file_of_comments_is_an_empty_mapping() -> None:
    for text in ("", "# only\n", "---\n", "---\n# only\n...\n"):
        document = parse(text, "x.yaml")
        assert plain(document.root) == {}
    assert [comment.text for comment in parse("# a\n\n# b", "x").comments] == ["# a", "# b"]


def test_duplicate_keys_are_kept_and_named() -> None:
    document = parse("a: 1\nb: {c: 1, c: 2}\na: 3\n", "x.yaml")
    assert plain(document.root) == {"a": 3, "b": {"c": 2}}
    assert [(problem.kind, document.position(problem.span.start)) for problem in document.problems] == [
        ("duplicate-key", (2, 11)),
        ("duplicate-key", (3, 1)),
    ]


def test_further_documents_of_a_stream() -> None:
    document = parse("a: 1\n---\nb: 2\n---\n- 3\n", "x.yaml")
    assert [plain(root) for root in (document.root, *document.more_roots)] == [{"a": 1}, {"b": 2}, [3]]


def test_anchors_do_not_reach_into_the_next_document() -> None:
    with pytest.raises(SourceError, match="no anchor"):
        parse("a: &x 1\n---\nb: *x\n", "x.yaml")


def test_aliases_say_what_they_refer_to() -> None:
    document = parse("a: &x 8\nb: *x\nc: &unused 1\n", "x.yaml")
    anchor, alias, unused = (lookup(document.root, key) for key in "abc")
    assert isinstance(anchor, Scalar)
    assert isinstance(alias, Scalar)
    assert isinstance(unused, Scalar)
    assert anchor.shared
    assert not unused.shared
    assert (alias.text, alias.value, alias.style, alias.definition) == ("*x", 8, Style.COMPUTED, anchor)


def test_everything_under_a_used_anchor_is_shared() -> None:
    document = parse("base: &b\n  x: {y: 1}\n  z: [2]\na:\n  <<: *b\n  w: 3\n", "x.yaml")
    shared = lookup(document.root, "base.x.y")
    own = lookup(document.root, "a.w")
    merged = lookup(document.root, "a.x.y")
    assert isinstance(shared, Scalar)
    assert isinstance(own, Scalar)
    assert shared.shared
    assert not own.shared
    assert merged is shared
    mapping = lookup(document.root, "a")
    assert isinstance(mapping, Mapping)
    assert [(entry.key, entry.merged) for entry in mapping.entries] == [("x", True), ("z", True), ("w", False)]


def test_custom_tags_are_unknown_scalars_and_tagged_collections() -> None:
    text = (
        "lr: !ref <base>\nopt: !new:torch.optim.Adam\n  lr: 1\n"
        "f: !name:torch.nn.ReLU\nl: !x [1]\ne: !!python/name:a.b\n"
    )
    document = parse(text, "x.yaml")
    unknown = lookup(document.root, "lr")
    assert isinstance(unknown, Unknown)
    assert unknown.text == "!ref <base>"
    built = lookup(document.root, "opt")
    assert isinstance(built, Mapping)
    assert (built.tag, plain(built)) == ("!new:torch.optim.Adam", {"lr": 1})
    items = lookup(document.root, "l")
    assert isinstance(items, Sequence)
    assert items.tag == "!x"
    assert isinstance(lookup(document.root, "f"), Unknown)
    assert isinstance(lookup(document.root, "e"), Unknown)


def test_an_alias_inside_its_own_anchor_is_unknown() -> None:
    document = parse("a: &x [1, *x]\nb: &y {c: *y}\n", "x.yaml")
    assert plain(document.root) == {"a": [1, None], "b": {"c": None}}


ERRORS = [
    ("a: [1\n", 2, 1),
    ("a: b: c\n", 1, 5),
    ("a: 1\n\tb: 2\n", 2, 1),
    ("a: *nowhere\n", 1, 4),
    ("a: 'open\n", 2, 1),
]


@pytest.mark.parametrize(("text", "line", "column"), ERRORS)
def test_errors_say_where(text: str, line: int, column: int) -> None:
    with pytest.raises(SourceError) as caught:
        parse(text, "x.yaml")
    assert (caught.value.path, caught.value.line, caught.value.column) == ("x.yaml", line, column)
    assert caught.value.help


def test_templates_are_told_from_broken_yaml() -> None:
    with pytest.raises(TemplateSource):
        parse("{{- if .Values.gpu }}\na: 1\n{{- end }}\n", "x.yaml")
    assert plain(parse("a: '{{ x }}'\nb: 1\n", "x.yaml").root) == {"a": "{{ x }}", "b": 1}


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "[[" * 60 + "]]" * 60])
def test_depth_is_limited_before_anything_overflows(text: str) -> None:
    started = time.process_time()
    with pytest.raises(SourceError, match="deep"):
        parse(text, "x.yaml")
    assert time.process_time() - started < 2


def test_nested_blocks_are_limited_too() -> None:
    text = "".join(" " * depth + "a:\n" for depth in range(200))
    with pytest.raises(SourceError, match="deep"):
        parse(text, "x.yaml")


def test_aliases_cannot_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    with pytest.raises(SourceError, match="aliases expand"):
        parse("\n".join(lines), "x.yaml")


def test_merges_cannot_explode() -> None:
    base = "base: &b {" + ", ".join(f"k{i}: {i}" for i in range(2_000)) + "}\n"
    started = time.process_time()
    with pytest.raises(SourceError, match="merge keys"):
        parse(base + "".join(f"m{i}: {{<<: *b}}\n" for i in range(5_000)), "x.yaml")
    assert time.process_time() - started < 2


def test_the_number_of_values_is_limited() -> None:
    with pytest.raises(SourceError, match="values"):
        parse("- 1\n" * (yaml_reader.MAX_VALUES + 2), "x.yaml")


def test_control_characters_are_an_error_and_not_a_crash() -> None:
    with pytest.raises(SourceError, match="not allowed"):
        parse("a: \x07\n", "x.yaml")


def test_without_libyaml_the_reading_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: &x 1 # c\nb: [*x, 'q']\nc: !new:y\n  d: |\n    e\n"
    fast = parse(text, "x.yaml")
    monkeypatch.delattr(yaml, "cyaml")
    slow = parse(text, "x.yaml")
    assert plain(slow.root) == plain(fast.root)
    check_places(slow.root, text)
    assert slow.comments == fast.comments


ALPHABET = st.sampled_from(list("ab1:-?#&*!|>'\"%@`{}[], \t\n\r.~<=_é\U0001d54f\ufeff\x85\u2028e0"))


@settings(max_examples=400, deadline=None)
@given(st.text(ALPHABET, max_size=60))
def test_any_text_reads_or_is_refused_and_agrees_with_pyyaml(text: str) -> None:
    try:
        document = parse(text, "x.yaml")
    except SourceError:
        return
    check_places(document.root, text)
    for comment in document.comments:
        assert text[comment.span.start : comment.span.end] == comment.text
