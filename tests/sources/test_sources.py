"""The public functions: which syntax a file has, and bytes in, bytes out."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vramlint import sources
from vramlint.errors import SourceError
from vramlint.sources.model import Mapping, Scalar, Syntax, apply_edits, lookup, plain


@pytest.mark.parametrize(
    ("path", "head", "syntax"),
    [
        ("config.yml", b"", Syntax.YAML),
        ("a/b.c/config.YAML", b"", Syntax.YAML),
        ("ds_config.json", b"", Syntax.JSON),
        ("settings.jsonc", b"", Syntax.JSON),
        ("train.toml", b"", Syntax.TOML),
        ("train.py", b"", Syntax.PYTHON),
        ("run.sh", b"", Syntax.SHELL),
        ("job.slurm", b"", Syntax.SHELL),
        ("job.sbatch", b"", Syntax.SHELL),
        ("launch", b"#!/bin/bash\n", Syntax.SHELL),
        ("launch", b"#!/usr/bin/env -S bash -e\n", Syntax.SHELL),
        ("train", b"#!/usr/bin/env python3\n", Syntax.PYTHON),
        ("launch", b"#!/usr/bin/perl\n", None),
        ("README.md", b"", None),
        ("a.b/README", b"batch_size: 1", None),
        (".yaml", b"", None),
        ("empty-shebang", b"#!\n", None),
    ],
)
def test_the_suffix_decides_then_the_shebang(path: str, head: bytes, syntax: Syntax | None) -> None:
    assert sources.syntax_of(path, head) is syntax


def test_a_file_of_unknown_kind_is_an_error_with_help() -> None:
    with pytest.raises(SourceError, match="not a file type") as caught:
        sources.read("notes.txt", b"batch_size: 1")
    assert caught.value.path == "notes.txt"
    assert caught.value.help


def test_the_byte_order_mark_is_put_back() -> None:
    data = b"\xef\xbb\xbfbatch_size: 4\r\nname: x\r\n"
    document = sources.read("config.yml", data)
    node = lookup(document.root, "batch_size")
    assert isinstance(node, Scalar)
    assert document.text[node.span.start : node.span.end] == "4"
    edited = apply_edits(document.text, [sources.replace_value(document, node, 8)])
    assert sources.encode(document, edited) == data.replace(b"4", b"8")


def test_a_named_syntax_wins_over_the_suffix() -> None:
    assert plain(sources.read("-", b'{"a": 1}', Syntax.JSON).root) == {"a": 1}


def test_reading_yaml_imports_no_other_syntax() -> None:
    code = (
        "import sys; from vramlint import sources; sources.read('a.yaml', b'a: 1');"
        "heavy = {'ruamel.yaml', 'tomllib', 'json', 'pydantic', 'vramlint.sources.yaml_edits',"
        " 'vramlint.sources.json_reader', 'vramlint.sources.toml_reader'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_inserting_by_default_appends() -> None:
    document = sources.read("a.yaml", b"a: 1\n")
    assert isinstance(document.root, Mapping)
    edit = sources.insert_entry(document, document.root, "b", 2)
    assert apply_edits(document.text, [edit]) == "a: 1\nb: 2\n"
