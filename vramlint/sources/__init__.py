"""Reading and editing the files that launch a training job, whatever their syntax.

``read`` turns bytes into a :class:`~vramlint.sources.model.Document`; ``replace_value``, ``insert_entry`` and
``delete_entry`` give the one edit that changes one value and nothing else; ``encode`` gives the bytes back. The module
of a syntax is imported when its first file comes.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from vramlint.errors import SourceError
from vramlint.sources.decode import decode_bytes
from vramlint.sources.editing import Editor, Reader
from vramlint.sources.model import Document, Entry, Mapping, Plain, Scalar, Syntax, TextEdit

__all__ = ["delete_entry", "encode", "insert_entry", "read", "replace_value", "syntax_of"]

_SUFFIXES = {
    "yaml": Syntax.YAML,
    "yml": Syntax.YAML,
    "json": Syntax.JSON,
    "jsonc": Syntax.JSON,
    "toml": Syntax.TOML,
    "py": Syntax.PYTHON,
    "sh": Syntax.SHELL,
    "bash": Syntax.SHELL,
    "slurm": Syntax.SHELL,
    "sbatch": Syntax.SHELL,
}
_SHELLS = (b"sh", b"bash", b"dash", b"zsh", b"ksh")


def syntax_of(path: str, data_head: bytes = b"") -> Syntax | None:
    """The syntax of a file by its suffix, else by the shebang in its first bytes; None where neither tells."""
    name = path.rsplit("/", 1)[-1]
    stem, dot, suffix = name.rpartition(".")
    if dot and stem and (known := _SUFFIXES.get(suffix.lower())) is not None:
        return known
    if not data_head.startswith(b"#!"):
        return None
    words = data_head[2:].split(b"\n", 1)[0].split()
    programs = [word.rsplit(b"/", 1)[-1] for word in words if not word.startswith(b"-")]
    if programs[:1] == [b"env"]:
        programs = programs[1:]
    if not programs:
        return None
    if programs[0].startswith(b"python"):
        return Syntax.PYTHON
    return Syntax.SHELL if programs[0] in _SHELLS else None


def read(path: str, data: bytes, syntax: Syntax | None = None) -> Document:
    """Read ``data`` as ``syntax``, or as what ``path`` and a shebang say.

    Raises SourceError with path, line, column and help for a file that is malformed, too deep, too large or not UTF-8,
    and for a name of no known syntax.
    """
    chosen = syntax or syntax_of(path, data[:256])
    if chosen is None:
        raise SourceError(
            "not a file type that vramlint reads", path=path, help="Name a .yaml, .json, .toml, .py or .sh file."
        )
    text, bom = decode_bytes(data, path)
    document = _reader(chosen).parse(text, path)
    document.bom = bom
    return document


def encode(document: Document, text: str) -> bytes:
    """The bytes of ``text`` as they stand in the file of ``document``: UTF-8, with the mark where there was one."""
    data = text.encode("utf-8")
    return b"\xef\xbb\xbf" + data if document.bom else data


def replace_value(document: Document, node: Scalar, value: Plain) -> TextEdit:
    """The edit that writes ``value`` in the place and style of ``node``. Raises EditRefused with the reason."""
    if document.host is not None:
        return document.host.replace_value(node, value)
    return _editor(document.syntax).replace_value(document, node, value)


def insert_entry(document: Document, mapping: Mapping, key: str, value: Plain, after: str | None = None) -> TextEdit:
    """The edit that adds ``key`` to ``mapping`` behind the entry ``after``, or at the end. Raises EditRefused."""
    if document.host is not None:
        return document.host.insert_entry(mapping, key, value, after)
    return _editor(document.syntax).insert_entry(document, mapping, key, value, after)


def delete_entry(document: Document, mapping: Mapping, entry: Entry) -> TextEdit:
    """The edit that takes ``entry`` out of ``mapping``. Raises EditRefused with the reason."""
    if document.host is not None:
        return document.host.delete_entry(mapping, entry)
    return _editor(document.syntax).delete_entry(document, mapping, entry)


def _reader(syntax: Syntax) -> Reader:
    return cast("Reader", import_module(f"vramlint.sources.{syntax.value}_reader"))


def _editor(syntax: Syntax) -> Editor:
    return cast("Editor", import_module(f"vramlint.sources.{syntax.value}_edits"))
