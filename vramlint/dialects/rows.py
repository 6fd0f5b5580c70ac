"""What a row of the table is, and the shorthand it is written in: names as one text, separated by spaces."""

from __future__ import annotations

from typing import NamedTuple

from vramlint.dialects.signature import DATA, Defined, Keys, Line, Names, Signature
from vramlint.sources.model import Syntax

YAML, JSON, TOML, PYTHON = (Syntax.YAML,), (Syntax.JSON,), (Syntax.TOML,), (Syntax.PYTHON,)


NOT_A_TRAINER = (
    r"(?i)(^|[/_.-])(eval|evaluate|evaluation|infer|inference|predict|prediction|test|export|convert|serve|server|demo|"
    r"generate|generation|benchmark|bench|preprocess|prepare|download|sample|visuali[sz]e|lm_eval|pytest)([/_.0-9-]|$)"
)
"""Programs that take a batch and train nothing."""


class Row(NamedTuple):
    """One dialect. ``module`` is its module in this package; "" where vramlint leaves the files alone.

    ``generic`` rows are the last resort: they only look at what no other row claims.
    """

    name: str
    title: str
    module: str
    signatures: tuple[Signature, ...]
    generic: bool = False
    job: bool = False
    """A job file: the commands inside it are the runs, and without one that trains the file is left alone."""

    @property
    def syntaxes(self) -> tuple[Syntax, ...]:
        """The syntaxes in which this dialect is spelled."""
        return tuple({syntax: None for signature in self.signatures for syntax in signature.syntaxes})


def row(
    name: str, title: str, *signatures: Signature, module: str = "", generic: bool = False, job: bool = False
) -> Row:
    """A row of the table."""
    return Row(name, title, module, signatures, generic, job)


def names(
    all_of: str = "", any_of: str = "", least: int = 1, also: str = "", least_also: int = 1, none_of: str = ""
) -> Names:
    """A condition on names, each list written as one text."""
    return Names(
        tuple(all_of.split()), tuple(any_of.split()), least, tuple(also.split()), least_also, tuple(none_of.split())
    )


def keys(
    all_of: str = "",
    any_of: str = "",
    least: int = 1,
    also: str = "",
    least_also: int = 1,
    none_of: str = "",
    syntaxes: tuple[Syntax, ...] = DATA,
    text: str = "",
    path: str = "",
) -> Keys:
    """A signature on the keys of a file."""
    return Keys(names(all_of, any_of, least, also, least_also, none_of), syntaxes, text, path)


def line(
    program: str = "",
    all_of: str = "",
    any_of: str = "",
    least: int = 1,
    also: str = "",
    least_also: int = 1,
    none_of: str = "",
    not_program: str = "",
    words: str = "",
) -> Line:
    """A signature on a command: a pattern for its program, its flags, patterns for its words."""
    condition = names(all_of, any_of, least, also, least_also, none_of)
    return Line(condition, program, not_program, tuple(words.split()))


def call(
    name: str, any_of: str = "", none_of: str = "", imports: str = "", bases: str = "", constant: str = ""
) -> Defined:
    """A signature on a Python call: a pattern for its name, its keywords, the imports of its file."""
    return Defined("call", names(any_of=any_of, none_of=none_of), name, bases, imports, tuple(constant.split()))


def a_class(name: str, all_of: str = "", any_of: str = "", also: str = "", bases: str = "") -> Defined:
    """A signature on a Python class: a pattern for its name, its attributes, a pattern for a base."""
    return Defined("class", names(all_of, any_of, also=also), name, bases)
