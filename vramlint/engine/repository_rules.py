"""A repository's own rules: rows of YAML in the files that its settings name, each a rule with a code and a name.

They are data and run no code, so a pull request may change them and CI may check it. Their form is that of the
framework rows (``vramlint.constraints``), with a ``code`` of their own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from vramlint.constraints import Row, read_rows, verdict_of
from vramlint.dialects import registry
from vramlint.errors import SettingsError
from vramlint.rule import Case, RuleInfo, RuleModule, Run, Verdict

_CODE = re.compile(r"(?!VL\d)[A-Z]{2,8}\d{1,4}")


class RepositoryRule:
    """One row as a rule module: it has what a module of a plugin has."""

    VALID: tuple[Case, ...] = ()
    INVALID: tuple[Case, ...] = ()

    def __init__(self, row: Row, frameworks: tuple[str, ...], path: str) -> None:
        self.__doc__ = f"{row.message}\n\nWhy: {row.help or row.message}\n\nSources: ``{path}``."
        self.RULE = RuleInfo(
            code=row.code,
            name=row.name,
            summary=row.name.replace("-", " "),
            severity=row.severity,
            confidence=row.confidence,
            fix=None,
            sources=(path,),
        )
        self._row = row
        self._frameworks = frameworks

    def check(self, run: Run) -> Iterator[Verdict]:
        """The row's verdict on a run of one of its frameworks; of any where it names none."""
        if not self._frameworks or run.plan.dialect in self._frameworks:
            verdict = verdict_of(self._row, run)
            if verdict is not None:
                yield verdict


def rules_in(path: str) -> Iterator[RuleModule]:
    """The rules in the file ``path``. Raises SettingsError where it is missing or wrong."""
    shown = os.path.relpath(path)
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise SettingsError("not UTF-8", path=shown) from error
    except OSError as error:
        raise SettingsError(
            f"cannot be read: {error.strerror}", path=shown, help="The settings' rules name this file."
        ) from error
    found = read_rows(text, shown)
    unknown = [name for name in found.frameworks if name not in registry.names()]
    if unknown:
        raise SettingsError(f"no dialect is called {unknown[0]!r}", path=shown, help="`vramlint dialects` lists them.")
    for row in found.rows:
        if not _CODE.fullmatch(row.code):
            raise SettingsError(
                f"{row.name}: code {row.code!r} is none", path=shown, help="Write letters and a number, as TEAM001."
            )
        yield RepositoryRule(row, found.frameworks, shown)
