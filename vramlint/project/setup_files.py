"""What ``vramlint init`` writes: a ``vramlint.toml`` and the hook in ``.pre-commit-config.yaml``."""

from __future__ import annotations

import os
from typing import NamedTuple

from vramlint import __version__
from vramlint.errors import EditRefused, SourceError
from vramlint.sources import encode, read
from vramlint.sources.model import Document, Mapping, Node, Plain, Sequence, Span, TextEdit, apply_edits, plain

SETTINGS_NAME = "vramlint.toml"
HOOKS_NAME = ".pre-commit-config.yaml"
REPOSITORY = "https://github.com/vramlint/vramlint"


class SetupFile(NamedTuple):
    """A file to write. ``old`` is None where it is new; ``note`` says what happens to it."""

    path: str
    old: bytes | None
    new: bytes
    note: str


def settings_text(gpu: str, gpu_source: str, gpus: int | None, gpus_source: str) -> str:
    """The settings file: what is known, and what is not as comments to fill in."""
    no_card = '# gpu = "rtx3060-12gb"  # the card to check against: `vramlint gpus` lists them'
    card = f'gpu = "{gpu}"  # {gpu_source}' if gpu else no_card
    count = f"gpus = {gpus}  # {gpus_source}" if gpus else "# gpus = 2  # per machine, where no launch line says it"
    lines = [
        "# Settings of vramlint: `vramlint settings --schema` describes every key.",
        card,
        count,
        'exclude = []  # patterns as in .gitignore: "legacy/"',
        "",
        "# Other cards for other folders; the last one that matches wins.",
        "# [[targets]]",
        '# path = "cluster/**"',
        '# gpu = "a100-80gb"',
        "# gpus = 8",
    ]
    return "\n".join(lines) + "\n"


def hook_lines(*, local: bool) -> list[str]:
    """The entry of ``repos``, without indent. A local hook runs the vramlint that is installed."""
    if not local:
        return [f"- repo: {REPOSITORY}", f"  rev: v{__version__}", "  hooks:", "    - id: vramlint"]
    return [
        "- repo: local",
        "  hooks:",
        "    - id: vramlint",
        "      name: vramlint",
        "      entry: vramlint check --force-exclude",
        "      language: system",
        "      types_or: [yaml, json, toml, python, shell]",
        "      require_serial: true",
    ]


def hook_file(path: str, *, local: bool) -> SetupFile | None:
    """The hooks file with vramlint's entry, None where it has one already.

    Raises EditRefused where the file cannot be read or its list has no place that is surely right.
    """
    lines = hook_lines(local=local)
    if not os.path.exists(path):
        return SetupFile(path, None, ("repos:\n" + "".join(f"  {line}\n" for line in lines)).encode(), "new")
    with open(path, "rb") as file:
        data = file.read()
    if b"vramlint" in data:
        return None
    try:
        document = read(path, data)
        new = _with_entry(document, lines)
    except SourceError as error:
        raise EditRefused(error.message, path=path, line=error.line) from error
    return SetupFile(path, data, new, "one entry more")


def _with_entry(document: Document, lines: list[str]) -> bytes:
    """The file with the entry behind the last one of ``repos``, read again to prove that nothing else changed."""
    repos = document.root.get("repos") if isinstance(document.root, Mapping) else None
    if not isinstance(repos, Sequence) or repos.style != "block" or not repos.items:
        raise EditRefused("its repos is no list in block style", path=document.path, help="Add the entry by hand.")
    newline = "\r\n" if "\r\n" in document.text else "\n"
    dash = document.text.rfind("-", 0, repos.items[-1].span.start)
    indent = " " * (document.position(dash).column - 1)
    place = _end_of_line(document.text, _last_value_end(repos))
    block = "".join(f"{newline}{indent}{line}" for line in lines)
    text = apply_edits(document.text, [TextEdit(Span(place, place), block)])
    again = read(document.path, encode(document, text))
    if not _is_one_more(plain(document.root), plain(again.root)):
        raise EditRefused("the entry would change others", path=document.path, help="Add the entry by hand.")
    return encode(document, text)


def _last_value_end(repos: Sequence) -> int:
    """The end of the last scalar below ``repos``; block collections may end later, behind comments."""
    last: Node = repos.items[-1]
    while isinstance(last, (Mapping, Sequence)):
        inner = [entry.value for entry in last.entries] if isinstance(last, Mapping) else last.items
        if not inner:
            break
        last = inner[-1]
    return last.span.end


def _end_of_line(text: str, offset: int) -> int:
    """Where the line of ``offset`` ends: a comment behind the value stays there."""
    ends = [found for mark in ("\r\n", "\n", "\r") if (found := text.find(mark, offset)) >= 0]
    return min(ends, default=len(text))


def _is_one_more(old: Plain, new: Plain) -> bool:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return False
    before, after = old.get("repos"), new.get("repos")
    if not isinstance(before, list) or not isinstance(after, list) or len(after) != len(before) + 1:
        return False
    return after[:-1] == before and {**old, "repos": None} == {**new, "repos": None}
