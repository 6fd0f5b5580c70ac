"""The training script behind a command line: its argparse defaults and the flags it declares."""

from __future__ import annotations

import posixpath
import re

from vramlint.dialects.model import Context
from vramlint.dialects.places import FlagSource, Place, Source, flags, locate
from vramlint.dialects.signature import normal_flag
from vramlint.plan import Fact, Origin
from vramlint.sources.model import Command, Definition, Document, Mapping, Scalar, Span, Unknown, plain


class Script:
    """A script of the repository that a command runs. ``defaults`` looks flags up among its argparse defaults."""

    def __init__(self, document: Document, declared: Definition) -> None:
        self.document = document
        self.declared = declared
        name = document.path.rsplit("/", 1)[-1]
        note = f"argparse default of {name}"
        self.defaults = FlagSource(document, declared.members, Origin.DEFAULT, note, self.same)

    @property
    def same(self) -> dict[str, tuple[str, ...]]:
        """Each spelling of each flag with all of the flag's names, normalised."""
        names: dict[str, tuple[str, ...]] = {}
        for entry in self.declared.members.entries:
            spellings = self._spellings(entry.key)
            every = tuple(normal_flag(spelling) for spelling in spellings)
            names.update(dict.fromkeys(spellings, every))
        return names

    def flag(self, name: str) -> str | None:
        """The flag as the script declares it (``--batch-size``), None where it declares none."""
        for entry in self.declared.members.entries:
            spellings = self._spellings(entry.key)
            if name in [normal_flag(spelling) for spelling in spellings]:
                return max(spellings, key=len)
        return None

    def reads_any_text_as_true(self, flag: str) -> bool:
        """Whether the flag is declared with ``type=bool``: then ``--flag False`` is True, as any text is true."""
        declared = self._argument(flag)
        kind = declared.get("type") if declared is not None else None
        return isinstance(kind, Unknown) and kind.text == "bool"

    def _spellings(self, flag: str) -> list[str]:
        declared = self._argument(flag)
        written = plain(declared.get("flags")) if declared is not None else None
        dest = plain(declared.get("dest")) if declared is not None else None
        spellings = [str(item) for item in written] if isinstance(written, list) else [flag]
        return [*spellings, str(dest)] if dest else spellings

    def _argument(self, flag: str) -> Mapping | None:
        arguments = self.declared.arguments
        found = arguments.get(flag) if arguments is not None else None
        return found if isinstance(found, Mapping) else None

    def model_name(self, chosen: Place | None) -> Fact[str] | None:
        """The one model the script loads: ``YOLO(f"yolo12{args.model}.yaml")`` with ``--model s`` is yolo12s.yaml."""
        found = list(_LOAD.finditer(self.document.text))
        if len({match[1] for match in found}) != 1:
            return None
        text = found[0][1]
        names = _HOLE.findall(text)
        where = locate(self.document, Span(found[0].start(1), found[0].end(1)))
        if not names:
            return Fact(text, Origin.FILE, where)
        if len(names) != 1 or names[0] != "model" or chosen is None or not isinstance(chosen.node, Scalar):
            return None
        value = _HOLE.sub(str(chosen.node.value), text)
        node = locate(chosen.source.document, chosen.node.span)
        return Fact(value, chosen.source.origin, node, f"{text} in {self.document.path}")


_LOAD = re.compile(r"\b(?:YOLO\w*|RTDETR)\(\s*f?[\"']([^\"']+)[\"']")
_HOLE = re.compile(r"\{(?:args|opt|opts|cfg|config|hparams)\.(\w+)\}")


def script_of(document: Document, command: Command, context: Context) -> Script | None:
    """The script that ``command`` runs, when it is a file of the repository with argparse flags.

    A path is tried from the folder of the shell file, then from the project root, as people start scripts from either.
    """
    if not command.program.endswith(".py"):
        return None
    folder = posixpath.dirname(document.path)
    for path in dict.fromkeys((posixpath.normpath(posixpath.join(folder, command.program)), command.program)):
        found = context.document(path)
        if found is None:
            continue
        declared = [definition for definition in found.definitions if definition.kind == "argparse"]
        if declared:
            return Script(found, _merged(declared))
    return None


def command_sources(document: Document, command: Command, script: Script | None) -> list[Source]:
    """Where a command's settings stand: its own flags and words, then the script's defaults when it is at hand."""
    if script is None:
        return flags(document, command)
    return [*flags(document, command, script.same), script.defaults]


def _merged(declared: list[Definition]) -> Definition:
    """The flags of all parsers of a script as one definition (sub-commands declare theirs apart)."""
    if len(declared) == 1:
        return declared[0]
    first = declared[0]
    members = [entry for found in declared for entry in found.members.entries]
    arguments = [entry for found in declared if found.arguments is not None for entry in found.arguments.entries]
    return Definition(
        first.kind,
        first.name,
        first.bases,
        Mapping(first.members.span, members, first.members.style),
        first.span,
        first.function,
        Mapping(first.members.span, arguments),
    )
