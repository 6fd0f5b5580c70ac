"""Edits of Python text, bytes in and bytes out."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vramlint.errors import EditRefused
from vramlint.sources.model import (
    Document,
    Entry,
    Mapping,
    Node,
    Plain,
    Scalar,
    Sequence,
    Span,
    Style,
    apply_edits,
    plain,
)
from vramlint.sources.python_edits import delete_entry, insert_entry, replace_value
from vramlint.sources.python_reader import parse

CONFIGS = Path(__file__).parents[2] / ".cache" / "wheels"


def target(document: Document, name: str = "x") -> Mapping:
    """The class ``C`` where there is one, else the value of ``x``."""
    for found in document.definitions:
        if found.kind == "class":
            return found.members
    root = document.root
    assert isinstance(root, Mapping)
    node = root.get(name)
    assert isinstance(node, Mapping)
    return node


def replaced(source: str, value: Plain, key: str = "x") -> str:
    document = parse(source, "t.py")
    mapping = document.root
    node: Node | None = mapping
    for part in key.split("."):
        assert isinstance(node, Mapping)
        node = node.get(part)
    assert node is not None
    return apply_edits(source, [replace_value(document, node, value)])


@pytest.mark.parametrize(
    ("source", "value", "expected"),
    [
        ("x = 96  # c\n", 64, "x = 64  # c\n"),
        ("x: int = 96", 64, "x: int = 64"),
        ("x = 65_536\n", 76800, "x = 76_800\n"),
        ("x = 0x10000\n", 32, "x = 0x20\n"),
        ("x = 1024 * 64\n", 76800, "x = 76800\n"),
        ("x = (1024 *\n     64)\n", 76800, "x = (76800)\n"),
        ("x = 1e-4\n", 2e-4, "x = 2e-4\n"),
        ("x = 1.0e-4\n", 2e-4, "x = 2.0e-4\n"),
        ("x = 0.1\n", 0.25, "x = 0.25\n"),
        ("x = -1\n", 5, "x = 5\n"),
        ("x = False\n", True, "x = True\n"),
        ("x = None\n", 4, "x = 4\n"),
        ("x = 'fp32'\n", "bf16", "x = 'bf16'\n"),
        ('x = "fp32"\n', 'a"b\\', 'x = "a\\"b\\\\"\n'),
        ("x = r'C:\\a'\n", "C:\\b", "x = 'C:\\\\b'\n"),
        ("x = 'é' ; y = 2\n", "ü", "x = 'ü' ; y = 2\n"),
        ("x = [1024, 1024]\n", [768, 768], "x = [768, 768]\n"),
        ("x = (1024, 1024)\n", [768], "x = (768,)\n"),
        ("B = 8\nx = B\n", 4, "B = 4\nx = B\n"),
        ("D = False\nx = 8 if D else 16\n", 4, "D = False\nx = 8 if D else 4\n"),
        ("x = 8\r\ny = 1\r\n", 4, "x = 4\r\ny = 1\r\n"),
        ("x = 8\ry = 1\r", 4, "x = 4\ry = 1\r"),
    ],
)
def test_replace(source: str, value: Plain, expected: str) -> None:
    assert replaced(source, value) == expected


def test_a_default_of_an_option() -> None:
    text = (
        "p = ArgumentParser()\n"
        'p.add_argument("--b", type=int, default=8)\n'
        'p.add_argument("--amp", action="store_true")\n'
    )
    document = parse(text, "t.py")
    (found,) = document.definitions
    node = found.members.get("--b")
    assert node is not None
    assert apply_edits(text, [replace_value(document, node, 4)]) == text.replace("default=8", "default=4")
    implied = found.members.get("--amp")
    assert implied is not None
    with pytest.raises(EditRefused, match="implied"):
        replace_value(document, implied, value=True)
    with pytest.raises(EditRefused, match="nothing can be inserted"):
        insert_entry(document, found.members, "--new", 4, None)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("B = 8\ny = B\nx = B\n", "more than one place"),
        ("B = 8\nx = B * 2\n", "computed"),
        ("x = f()\n", "cannot be known"),
        ("x = y = 8\n", "more than one place"),
        ("x = 1\nx += 1\n", "computed from other settings"),
        ("x = 1\nx += n\n", "cannot be known"),
    ],
)
def test_replace_is_refused(source: str, reason: str) -> None:
    with pytest.raises(EditRefused, match=reason):
        replaced(source, 4)


def test_a_number_without_a_literal_is_refused() -> None:
    with pytest.raises(EditRefused, match="no literal"):
        replaced("x = 1.0\n", float("inf"))


def test_a_value_of_another_text_is_refused() -> None:
    document = parse("x = 8\n", "a.py")
    other = parse("yy = 16\n", "b.py").root
    assert isinstance(other, Mapping)
    node = other.get("yy")
    assert node is not None
    with pytest.raises(EditRefused, match="another file"):
        replace_value(document, node, 4)


INSERTS = [
    ("class C:\n    a: int = 1  # c\n    b: str = 'x'\n", "a",
     "class C:\n    a: int = 1  # c\n    new: int = 4\n    b: str = 'x'\n"),
    ("class C:\n    a: int = 1", None, "class C:\n    a: int = 1\n    new: int = 4"),
    ("class C:\n\ta = 1\n\n\tdef f(self): ...\n", None, "class C:\n\ta = 1\n\tnew = 4\n\n\tdef f(self): ...\n"),
    ("class C:\r\n    a=1\r\n", None, "class C:\r\n    a=1\r\n    new=4\r\n"),
    ('class C:\n    """Doc."""\n', None, 'class C:\n    """Doc."""\n    new: int = 4\n'),
    ("class C:\n    a: int = Field(\n        1,\n    )\n", None,
     "class C:\n    a: int = Field(\n        1,\n    )\n    new: int = 4\n"),
    ("class C:\n    def __init__(self):\n        self.a = 1\n", "a",
     "class C:\n    def __init__(self):\n        self.a = 1\n        self.new = 4\n"),
    ("x = dict(a=1)\n", None, "x = dict(a=1, new=4)\n"),
    ("x = dict(a=1, b=2)\n", "a", "x = dict(a=1, new=4, b=2)\n"),
    ("x = dict(a = 1, )\n", None, "x = dict(a = 1, new = 4, )\n"),
    ("x = dict()\n", None, "x = dict(new=4)\n"),
    ("x = dict(\n    a=1,  # c\n    b=2,\n)\n", "a", "x = dict(\n    a=1,  # c\n    new=4,\n    b=2,\n)\n"),
    ("x = dict(\n    a=1,\n    b=2  # c\n)\n", None, "x = dict(\n    a=1,\n    b=2,  # c\n    new=4\n)\n"),
    ("x = dict(\n    a=1,\n    b=2)\n", None, "x = dict(\n    a=1,\n    b=2,\n    new=4)\n"),
    ("x = dict(a=1,\n         b=2)\n", None, "x = dict(a=1,\n         b=2,\n         new=4)\n"),
    ("x = dict(a=1, b=2,\n         c=3)\n", "a", "x = dict(a=1, new=4, b=2,\n         c=3)\n"),
    ("x = dict(a=f(1), b=(2))\n", None, "x = dict(a=f(1), b=(2), new=4)\n"),
    ("y = g(dict(a=1), 2)\nx = dict(a=1)\n", None, "y = g(dict(a=1), 2)\nx = dict(a=1, new=4)\n"),
    ("x = {'a': 1}\n", None, "x = {'a': 1, 'new': 4}\n"),
    ('x = {"a": (1)}\n', None, 'x = {"a": (1), "new": 4}\n'),
    ("x = {}\n", None, 'x = {"new": 4}\n'),
    ('x = {\r\n\t"a": 1,\r\n}\r\n', None, 'x = {\r\n\t"a": 1,\r\n\t"new": 4,\r\n}\r\n'),
]  # fmt: skip


@pytest.mark.parametrize(("source", "after", "expected"), INSERTS)
def test_insert(source: str, after: str | None, expected: str) -> None:
    document = parse(source, "t.py")
    mapping = target(document)
    before = plain(mapping)
    edited = apply_edits(source, [insert_entry(document, mapping, "new", 4, after)])
    assert edited == expected
    assert isinstance(before, dict)
    assert plain(target(parse(edited, "t.py"))) == {**before, "new": 4}


def test_a_declared_option_is_not_taken_out() -> None:
    document = parse('p = ArgumentParser()\np.add_argument("--b", type=int, default=8)\n', "t.py")
    members = document.definitions[0].members
    with pytest.raises(EditRefused, match="declared option"):
        delete_entry(document, members, members.entries[0])


def test_insert_into_a_module() -> None:
    document = parse("a = 1  # c\n\n\ndef f(): ...\n", "t.py")
    assert isinstance(document.root, Mapping)
    edit = insert_entry(document, document.root, "b", [1, 2], None)
    assert apply_edits(document.text, [edit]) == "a = 1  # c\nb = [1, 2]\n\n\ndef f(): ...\n"


@pytest.mark.parametrize(
    ("source", "key", "reason"),
    [
        ("x = dict(a=1)\n", "a", "already there"),
        ("x = dict(a=1)\n", "not-a-name", "no keyword"),
        ("class C:\n    a: int = 1; b: int = 2\n", "new", "other code"),
        ("class C: a = 1\n", "new", "other code"),
        ("p = dict(a=1)\ny = [p]\nx = p\nz = [p]\n", "new", "more than one place"),
    ],
)
def test_insert_is_refused(source: str, key: str, reason: str) -> None:
    document = parse(source, "t.py")
    with pytest.raises(EditRefused, match=reason):
        insert_entry(document, target(document), key, 4, None)


@pytest.mark.parametrize(
    ("source", "key", "expected"),
    [
        ("class C:\n    a: int = 1  # c\n    b: int = 2\n", "a", "class C:\n    b: int = 2\n"),
        ("class C:\n    a: int = 1\n", "a", "class C:\n    pass\n"),
        ("x = dict(a=1, b=2)\n", "a", "x = dict(b=2)\n"),
        ("x = dict(a=1, b=2)\n", "b", "x = dict(a=1)\n"),
        ("x = dict(a=1,)\n", "a", "x = dict()\n"),
        ("x = dict(\n    a=1,  # c\n    b=2,\n)\n", "a", "x = dict(\n    b=2,\n)\n"),
        ("x = dict(\n    a=1,\n    b=2)\n", "b", "x = dict(\n    a=1)\n"),
        ("x = {'a': (1), 'b': 2}\n", "a", "x = {'b': 2}\n"),
    ],
)
def test_delete(source: str, key: str, expected: str) -> None:
    document = parse(source, "t.py")
    mapping = target(document)
    entry = mapping.entry(key)
    assert entry is not None
    assert apply_edits(source, [delete_entry(document, mapping, entry)]) == expected


def scalars(document: Document) -> list[tuple[Entry | None, Scalar]]:
    found: list[tuple[Entry | None, Scalar]] = []
    for mapping in document.mappings():
        for entry in mapping.entries:
            items = entry.value.items if isinstance(entry.value, Sequence) else [entry.value]
            found.extend((entry, item) for item in items if isinstance(item, Scalar))
    return found


def other(value: Plain) -> Plain:
    """A value of the same kind that is not ``value``."""
    match value:
        case bool():
            return not value
        case int():
            return value + 7
        case float():
            return value * 3 + 1.5
        case str():
            return f"{value}x"
        case _:
            return 3


def assert_exact(document: Document, scalar: Scalar) -> None:
    """Replacing ``scalar`` changes its own text and its own value, and nothing else."""
    wanted = other(scalar.value)
    edit = replace_value(document, scalar, wanted)
    edited = apply_edits(document.text, [edit])
    shift = len(edited) - len(document.text)
    assert edited[: edit.span.start] == document.text[: edit.span.start]
    assert edited[edit.span.end + shift :] == document.text[edit.span.end :]
    after = {scalar.span: scalar for _, scalar in scalars(parse(edited, document.path))}
    assert after[Span(edit.span.start, edit.span.end + shift)].value == wanted
    for _, old in scalars(document):
        if old.style is Style.COMPUTED or old.span == edit.span:
            continue  # what is computed from the edited value may well change with it
        moved = shift if old.span.start >= edit.span.end else 0
        new = after[Span(old.span.start + moved, old.span.end + moved)]
        assert (new.value, new.text) == (old.value, old.text)


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(
        st.sampled_from(
            ["1", "'a'", '"é"', "1_000", "2.5", "-3", "True", "None", "1e-5", "(8)", "4 * 4", "r'x'", "0xFF"]
        ),
        min_size=1,
        max_size=5,
    ),
    shape=st.sampled_from(["dict({})", "dict(\n    {},\n)", "f({}  # c\n)", "{{{}}}"]),
    comma=st.sampled_from([", ", ",\n    ", ",  # é, c\n    "]),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_every_value_of_generated_text(values: list[str], shape: str, comma: str, newline: str) -> None:
    key = "'k{}': " if shape.startswith("{{") else "k{}="
    inside = comma.join(key.format(index) + value for index, value in enumerate(values))
    document = parse(f"x = {shape.format(inside)}\ny = 2\n".replace("\n", newline), "t.py")
    for _, scalar in scalars(document):
        assert_exact(document, scalar)


def wheel_configs() -> list[tuple[str, str]]:
    """Python configs inside the wheels that ``tools/fetch_wheels.sh`` puts beside the tests."""
    import zipfile

    found: list[tuple[str, str]] = []
    for wheel in sorted(CONFIGS.glob("mm*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if ".mim/configs/" in name and name.endswith(".py")]
            found.extend((name, archive.read(name).decode()) for name in sorted(names))
    return found


@pytest.mark.corpus
def test_every_value_of_published_configs() -> None:
    """A sample by default; ``VRAMLINT_ALL=1`` takes every scalar of every file."""
    configs = wheel_configs()
    if not configs:
        pytest.skip("the wheels are not there: tools/fetch_wheels.sh")
    everything = os.environ.get("VRAMLINT_ALL") == "1"
    chosen = configs if everything else random.Random(3).sample(configs, 60)
    done = 0
    reasons: Counter[str] = Counter()
    for name, text in chosen:
        document = parse(text, name)
        candidates = [scalar for _, scalar in scalars(document)]
        for scalar in candidates if everything else random.Random(name).sample(candidates, min(3, len(candidates))):
            try:
                assert_exact(document, scalar)
            except EditRefused as refusal:
                reasons[refusal.message.split(" ", 1)[1]] += 1
                continue
            done += 1
    print(f"{len(chosen)} files, {done} values replaced, refused: {dict(reasons)}")
    assert done > len(chosen)
    assert all("more than one place" in reason or "computed from" in reason for reason in reasons)
