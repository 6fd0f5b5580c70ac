"""Definitions, places and limits of the Python reader."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vramlint.errors import SourceError
from vramlint.sources.model import Definition, Document, Entry, Mapping, Node, Scalar, Sequence, Unknown, plain
from vramlint.sources.python_reader import may_be_config, parse


def definition(document: Document, name: str, kind: str = "class") -> Definition:
    return next(found for found in document.definitions if (found.kind, found.name) == (kind, name))


CLASSES = '''
from dataclasses import dataclass, field
from pydantic import BaseModel, Field

class Config:
    """doc"""
    batch_size: int = 64  # per GPU
    queue_size = 1024 * 64
    name: str

@dataclass
class Data:
    sizes: list[int] = field(default_factory=lambda: [224, 224])
    workers: int = field(default=4)
    config: Config = field(default_factory=Config)

class Train(BaseModel):
    batch: int = Field(8, ge=1)
    accum: int = Field(default=2)
    lr: float = Field(..., gt=0)

    class Nested:
        depth = 3

class Exp(Base):
    def __init__(self, width=0.5):
        super().__init__()
        self.depth = 0.33
        self.width = width
        if self.depth:
            self.batch = 4
'''


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Config", {"batch_size": 64, "queue_size": 65536, "name": None}),
        (
            "Data",
            {"sizes": [224, 224], "workers": 4, "config": {"batch_size": 64, "queue_size": 65536, "name": None}},
        ),
        ("Train", {"batch": 8, "accum": 2, "lr": None, "Nested": {"depth": 3}}),
        ("Exp", {"depth": 0.33, "width": 0.5, "batch": None}),
    ],
)
def test_class_attributes(name: str, expected: object) -> None:
    document = parse(CLASSES, "config.py")
    assert plain(definition(document, name).members) == expected


def test_bases_and_imports() -> None:
    document = parse("from .base import Config as B\nimport a.b\nclass C(B, m.D): pass\n", "c.py")
    assert definition(document, "C").bases == ("B", "m.D")
    assert [(found.module, found.name, found.alias) for found in document.imports] == [
        (".base", "Config", "B"),
        ("a.b", None, "a.b"),
    ]


ARGPARSE = """
import argparse

def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    parser.add_argument("-b", "--batch-size", type=int, default=8, dest="batch")
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--no-ema", action="store_false", dest="ema")
    parser.add_argument("--data", required=True)
    parser.add_argument("--lr", type=float)
    group = parser.add_argument_group("loader")
    group.add_argument("--workers", type=int, default=4, choices=[2, 4])
    parser.add_argument_group("x").add_argument("--size", nargs=2, default=[1024, 1024])
    commands = parser.add_subparsers()
    train = commands.add_parser("train")
    train.add_argument("--epochs", default=3)
    return parser.parse_args()

def more(parser):
    parser.add_argument("--seed", default=0)
"""


def test_argparse_definitions() -> None:
    document = parse(ARGPARSE, "train.py")
    parsers = [found for found in document.definitions if found.kind == "argparse"]
    assert [(found.name, found.function) for found in parsers] == [
        ("parser", "parse_args"),
        ("train", "parse_args"),
        ("parser", "more"),
    ]
    assert plain(parsers[0].members) == {
        "--batch-size": 8,
        "--amp": False,
        "--no-ema": True,
        "--data": None,
        "--lr": None,
        "--workers": 4,
        "--size": [1024, 1024],
    }
    assert isinstance(parsers[0].members.get("--data"), Unknown)
    assert plain(parsers[1].members) == {"--epochs": 3}
    details = parsers[0].arguments
    assert details is not None
    batch = details.get("--batch-size")
    assert isinstance(batch, Mapping)
    assert plain(batch.get("dest")) == "batch"
    assert plain(batch.get("flags")) == ["-b", "--batch-size"]
    kind = batch.get("type")
    assert isinstance(kind, Unknown)
    assert kind.text == "int"


def test_click_and_absl_options() -> None:
    source = (
        "import click\nfrom absl import flags\n"
        'flags.DEFINE_integer("batch_size", 8, "help")\n'
        '@click.command()\n@click.option("--accum", "-a", default=4)\n@click.option("--amp/--no-amp", default=True)\n'
        "def main(accum, amp): pass\n"
    )
    found = {made.name: plain(made.members) for made in parse(source, "t.py").definitions if made.kind == "argparse"}
    assert found == {"flags": {"--batch_size": 8}, "main": {"--accum": 4, "--amp": True}}


CALLS = """
B = 4

def helper():
    return round(x, ndigits=2, other=3)

def main():
    lr = 1e-4
    args = TrainingArguments(output_dir="o", per_device_train_batch_size=B, learning_rate=lr, **extra)
    model = YOLO("yolo12s.pt")
    model.train(data="d.yaml", batch=16)
    trainer = Trainer(model, args=args)
    loader = DataLoader(data, batch_size=B, num_workers=args.workers)
    setup(a=1, b=2)
"""


def test_recognised_calls() -> None:
    calls = {found.name: found for found in parse(CALLS, "t.py").definitions if found.kind == "call"}
    assert set(calls) == {"TrainingArguments", "YOLO", "model.train", "Trainer", "DataLoader", "setup"}
    assert plain(calls["TrainingArguments"].members) == {
        "output_dir": "o",
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-4,
        "**": None,
    }
    assert calls["model.train"].bases == ("YOLO",)
    assert plain(calls["YOLO"].members) == {"0": "yolo12s.pt"}
    assert {found.function for found in calls.values()} == {"main"}


def _nodes(document: Document) -> list[tuple[Entry | None, Node]]:
    found: list[tuple[Entry | None, Node]] = []
    for mapping in document.mappings():
        for entry in mapping.entries:
            found.append((entry, entry.value))
            if isinstance(entry.value, Sequence):
                found.extend((None, item) for item in entry.value.items)
    return found


def assert_places(document: Document) -> None:
    for entry, node in _nodes(document):
        text = document.text[node.span.start : node.span.end]
        if isinstance(node, Scalar):
            assert text == node.text
        if entry is not None and not entry.merged and entry.key.isidentifier():
            key = document.text[entry.key_span.start : entry.key_span.end]
            assert entry.key in key or not key


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "source", [CLASSES, ARGPARSE, CALLS, 'x = "é🎉"; y = 8\nz = dict(é=1, b="ü")\n', "\fx = 1\n\f\ny = 2\n"]
)
def test_every_span_holds_its_text(source: str, newline: str) -> None:
    text = source.replace("\n", newline)
    document = parse(text, "t.py")
    assert document.text == text
    assert_places(document)
    assert plain(document.root) == plain(parse(source, "t.py").root)


@settings(max_examples=150, deadline=None)
@given(
    names=st.lists(st.sampled_from(["a", "b", "batch_size", "é"]), min_size=1, max_size=6),
    values=st.lists(
        st.sampled_from(
            ["1", "'é'", '"x"  # c', "(\n  8\n)", "[1,\t2]", "dict(a=1,\n b='é')", "a", "-1.5", "{'k': 2}"]
        ),
        min_size=6,
        max_size=6,
    ),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    space=st.sampled_from([" = ", "=", "\t=\t", " = \\\n  "]),
    head=st.sampled_from(["", "# comment\n", "\f\n", '"""doc\n"""\n']),
)
def test_spans_under_mutation(names: list[str], values: list[str], newline: str, space: str, head: str) -> None:
    lines = [f"{name}{space}{value}" for name, value in zip(names, values, strict=False)]
    text = (head + "\n".join(lines) + "\n").replace("\n", newline)
    document = parse(text, "t.py")
    assert_places(document)
    assert [text[comment.span.start : comment.span.end] for comment in document.comments] == [
        comment.text for comment in document.comments
    ]


def test_comments_are_not_strings() -> None:
    text = 'x = \'# no\'  # yes\ny = """\n# no\n""" # also\nz = r\'\\\\\' # third\n'
    assert [comment.text for comment in parse(text, "t.py").comments] == ["# yes", "# also", "# third"]


def test_nothing_is_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    source = (
        f"import os\nopen({str(mark)!r}, 'w').close()\nos.system('touch {mark}')\nbatch_size = int(os.environ['B'])\n"
    )
    document = parse(source, "evil.py")
    assert not mark.exists()
    assert isinstance(document.root, Mapping)
    assert isinstance(document.root.get("batch_size"), Unknown)


@pytest.mark.parametrize(
    ("text", "line"),
    [("x = 1\ny = (\n", 2), ("print 'two'\n", 1), ("x = 'a\n", 1), ("if x:\ny = 1\n", 2), ("x = 1\0", None)],
)
def test_syntax_errors_have_a_line(text: str, line: int | None) -> None:
    with pytest.raises(SourceError) as caught:
        parse(text, "bad.py")
    assert caught.value.path == "bad.py"
    assert line is None or caught.value.line == line


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 5000 + "]" * 5000,
        "x = " + "(" * 100 + "1" + ")" * 100,
        "x = " + "-" * 20000 + "1",
        "x = " + "1+" * 20000 + "1",
        "x = a" + ".b" * 20000,
        "x = " + "[" * 150 + "]" * 150,
        "x = f" + "()" * 20000,
        "if a:\n pass\n" + "elif b:\n pass\n" * 3000,
        "".join("    " * i + "if a:\n" for i in range(150)),
        "x = " + "{'a':" * 150 + "1" + "}" * 150,
    ],
    ids=["brackets", "parentheses", "minus", "plus", "attributes", "lists", "calls", "elif", "indents", "dicts"],
)
def test_deep_nesting_ends(text: str) -> None:
    started = time.process_time()
    with contextlib.suppress(SourceError):
        plain(parse(text, "deep.py").root)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "text",
    [
        "x = [" + "1, " * 150_000 + "]",
        "x = '" + "é" * 200_000 + "'; y = [" + "'ü', " * 50_000 + "]",
        "x = dict(" + ", ".join(f"a{i}={i}" for i in range(35_000)) + ")",
        "a = []\n" + "a.append(1)\n" * 40_000,
        "a = [1]\nif b: a = 2\n" * 20_000,
        "from a import *\nx = 1\n" * 20_000,
    ],
    ids=["list", "non-ascii", "keywords", "append", "branches", "imports"],
)
def test_half_a_megabyte_ends(text: str) -> None:
    started = time.process_time()
    with contextlib.suppress(SourceError):
        parse(text, "big.py")
    assert time.process_time() - started < 4


def test_more_than_the_limit_is_refused() -> None:
    with pytest.raises(SourceError, match="no training config"):
        parse("x = 1\n" * 200_000, "big.py")


def test_a_list_of_80_000_numbers_is_read() -> None:
    assert len(parse("x = [" + "1, " * 80_000 + "]", "big.py").root.get("x").items) == 80_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("class Config:\n    batch_size: int = 64\n", True),
        ('parser.add_argument("--batch-size", default=8)\n', True),
        ("args = TrainingArguments(output_dir='x')\n", True),
        ("_base_ = ['../base.py']\n", True),
        ("with read_base():\n    from .x import *\n", True),
        ("loader = DataLoader(data, batch_size=8)\n", True),
        ("from src.config_low_vram import Config\nbatches = Config()\n", True),
        ("def f(batch):\n    return batch.mean()\n", False),
        ("import os\nprint(os.getcwd())\n", False),
    ],
)
def test_prefilter(text: str, expected: bool) -> None:
    assert may_be_config(text) is expected
