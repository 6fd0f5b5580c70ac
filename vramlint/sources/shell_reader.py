"""Reads a shell script without running it: commands with every option, their variables, ``#SBATCH`` lines."""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingType

from vramlint.errors import SourceError
from vramlint.sources.model import Command, Comment, Document, Entry, Mapping, Scalar, Span, Style, Syntax, plain
from vramlint.sources.shell_commands import build, options_of
from vramlint.sources.shell_script import Script
from vramlint.sources.shell_variables import Argument, typed
from vramlint.sources.shell_words import Lexer, Word

TextMap = MappingType[str, str]

MAX_CHARACTERS = 300_000
"""Longer scripts are installers with a payload."""
_DIRECTIVE = re.compile(r"#SBATCH(?=[ \t])")


def parse(text: str, path: str, known: TextMap | None = None) -> Document:
    """The document of a script: ``root`` is its variables, ``commands`` what it runs.

    ``known`` are variables that whoever starts the script sets; those that Slurm sets follow from ``#SBATCH`` lines.
    Raises SourceError with path, line and column for a quote or substitution that never closes.
    """
    if len(text) > MAX_CHARACTERS:
        raise SourceError(f"{len(text):,} characters of shell are no launch script", path=path, line=1)
    script = Script(text, 0, len(text), path, known)
    script.run()
    directives = _directives(text, script.comments, path)
    given = slurm_variables(directives) if directives is not None and "SLURM_" in text else {}
    if given:
        script = Script(text, 0, len(text), path, {**given, **(known or {})})
        script.run()
    return Document(
        path,
        text,
        Syntax.SHELL,
        Mapping(Span(0, len(text)), script.settings, "overrides"),
        comments=[Comment(span, text[span.start : span.end]) for span in script.comments],
        commands=script.commands,
        batch_directives=directives,
    )


def parse_commands(text: str, offset: int = 0, path: str = "<command>") -> list[Command]:
    """The commands of a shell text that stands inside another file; spans count from ``offset``.

    Raises SourceError as ``parse`` does.
    """
    # Padding keeps every place right without a second pass; it is spaces, so it adds no word.
    script = Script(" " * offset + text, offset, offset + len(text), path)
    script.run()
    return script.commands


def parse_argv(words: list[Scalar]) -> Command | None:
    """The command of an ``args:`` list, where each item is one word already and no shell is in between."""
    arguments = [_argument(word) for word in words]
    return build(arguments, (), words[-1].span.end) if arguments else None


_GPU_REQUESTS = ("gpus-per-node", "gres", "gpus-per-task")


def slurm_variables(options: Mapping) -> dict[str, str]:
    """What Slurm puts into the environment of a job, as far as its options say.

    Source: Slurm 24.05 ``sbatch`` manual, "OUTPUT ENVIRONMENT VARIABLES".
    """
    words = {entry.key.lstrip("-"): str(plain(entry.value)) for entry in options.entries}
    nodes = words.get("nodes") or words.get("N") or "1"
    each = words.get("ntasks-per-node", "")
    tasks = words.get("ntasks") or words.get("n") or ""
    if not tasks and nodes.isdigit() and (each.isdigit() or not each):
        tasks = str(int(nodes) * int(each or 1))
    gpus = next((found[1] for key in _GPU_REQUESTS if (found := _COUNT.search(words.get(key, "")))), "")
    given = {
        **dict.fromkeys(("SLURM_NNODES", "SLURM_JOB_NUM_NODES"), nodes),
        **dict.fromkeys(("SLURM_NTASKS", "SLURM_NPROCS"), tasks),
        "SLURM_NTASKS_PER_NODE": each,
        **dict.fromkeys(("SLURM_GPUS_ON_NODE", "SLURM_GPUS_PER_NODE"), gpus),
        "SLURM_CPUS_PER_TASK": words.get("cpus-per-task") or words.get("c") or "",
    }
    return {name: value for name, value in given.items() if value.isdigit()}


_COUNT = re.compile(r"(?:^|:|=)(\d+)(?:\(|$)")


def _argument(word: Scalar) -> Argument:
    value = word.value if isinstance(word.value, str) else word.text
    quoted = 1 if word.style in (Style.SINGLE, Style.DOUBLE) else 0
    start, end = word.span.start + quoted, word.span.end - quoted
    node = Scalar(word.span, word.text, typed(value), word.style, shared=word.shared)
    argument = Argument(word.span, value, start, value, node)
    equals = value.find("=")
    if equals < 0:
        return argument
    if end - start == len(value):
        place = Span(start + equals + 1, end)
        argument.tail = Scalar(place, value[equals + 1 :], typed(value[equals + 1 :]), shared=word.shared)
    else:
        argument.tail = Scalar(word.span, word.text, typed(value[equals + 1 :]), Style.COMPUTED)
    return argument


def _directives(text: str, comments: list[Span], path: str) -> Mapping | None:
    entries: list[Entry] = []
    found: list[Span] = []
    for span in comments:
        mark = _DIRECTIVE.match(text, span.start, span.end)
        if mark is None or (span.start > 0 and text[span.start - 1] not in "\r\n"):
            continue
        found.append(span)
        words = [token for token in Lexer(text, mark.end(), span.end, path).tokens() if isinstance(token, Word)]
        arguments = Script(text, mark.end(), span.end, path).expand(words)
        entries.extend(options_of(arguments, span).entries)
    if not found:
        return None
    return Mapping(Span(found[0].start, found[-1].end), entries, "options")
