"""Files of rows: YAML, checked as strictly as settings are, since a row that says nothing would go unnoticed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vramlint.constraints.conditions import wrong_condition
from vramlint.constraints.templates import TEMPLATES, Row, needed_settings
from vramlint.errors import SettingsError
from vramlint.patterns import later
from vramlint.rule import Confidence, Severity

_FILE_KEYS = {"framework", "extends", "without", "version", "defaults", "example", "rows"}
_ROW_KEYS = {
    "name", "code", "template", "message", "help", "severity", "confidence", "source", "version", "fails", "passes",
    "example",
}  # fmt: skip
_NAME = later(r"[a-z0-9]+(-[a-z0-9]+)+")


class RowFile(NamedTuple):
    """The rows of one file. ``frameworks`` are the dialects they hold for; none means every one.

    ``extends`` names another framework whose rows hold too, but for those in ``without``.
    """

    frameworks: tuple[str, ...]
    extends: str
    without: tuple[str, ...]
    rows: tuple[Row, ...]


def read_rows(text: str, path: str) -> RowFile:
    """The rows in ``text``, the contents of the file ``path``. Raises SettingsError, with the line where YAML fails."""
    return rows_in_table(read_table(text, path), path)


def rows_in_table(table: Mapping[str, Any], path: str) -> RowFile:
    """The rows of a file that was read already. Raises SettingsError."""
    _only(table, _FILE_KEYS, path, "the file")
    rows = table.get("rows")
    if not isinstance(rows, list):
        raise SettingsError("no list of rows", path=path, help="Write rows: and a list of constraints under it.")
    frameworks = table.get("framework", ())
    return RowFile(
        (frameworks,) if isinstance(frameworks, str) else tuple(frameworks or ()),
        str(table.get("extends", "")),
        tuple(table.get("without", ())),
        tuple(_row(row, table, path) for row in rows),
    )


def read_table(text: str, path: str) -> Mapping[str, Any]:
    """What the YAML in ``text`` holds. Raises SettingsError where it is no mapping."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        table = yaml.load(text, loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise SettingsError(f"not valid YAML: {error.problem}", path=path, line=line) from error
    except yaml.YAMLError as error:
        raise SettingsError(f"not valid YAML: {error}", path=path) from error
    if not isinstance(table, dict):
        raise SettingsError("not a mapping", path=path, help="Write rows: and a list of constraints under it.")
    return table


def _row(row: object, table: Mapping[str, Any], path: str) -> Row:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str) or not _NAME.fullmatch(row["name"]):
        raise SettingsError("a row has no name of words-with-dashes", path=path, help="Write name: bad-thing-found.")
    name = row["name"]
    template = TEMPLATES.get(row.get("template", ""))
    if template is None:
        raise SettingsError(
            f"{name}: unknown template {row.get('template')!r}", path=path, help=f"Known: {', '.join(TEMPLATES)}."
        )
    _only(row, _ROW_KEYS | {*template.needs, *template.takes}, path, name)
    terms = {key: row[key] for key in (*template.needs, *template.takes) if key in row}
    for word in (*template.needs, "message"):
        if not row.get(word):
            raise SettingsError(f"{name}: {word} is missing", path=path)
    _check_terms(name, terms, path)
    version = row.get("version", table.get("version", ""))
    defaults = table.get("defaults") or {}
    return Row(
        name,
        row["template"],
        terms,
        str(row["message"]),
        str(row.get("help", "")),
        _choice(Severity, row.get("severity", "error"), f"{name}: severity", path),
        _choice(Confidence, row.get("confidence", "high"), f"{name}: confidence", path),
        ", ".join(str(part) for part in (version, row.get("source")) if part),
        defaults,
        _examples(row.get("fails"), name, path),
        _examples(row.get("passes"), name, path),
        {**(table.get("example") or {}), **(row.get("example") or {})},
        str(row.get("code", "")),
        needed_settings(terms, defaults),
    )


def _check_terms(name: str, terms: Mapping[str, Any], path: str) -> None:
    for word in ("when", "needs"):
        conditions = terms.get(word, {})
        if not isinstance(conditions, dict):
            raise SettingsError(f"{name}: {word} is no mapping of settings to conditions", path=path)
        for key, condition in conditions.items():
            _check_condition(condition, f"{name}: {word}: {key}", path)
    if "values" in terms:
        _check_condition(terms["values"], f"{name}: values", path)
    if "keys" in terms and (not isinstance(terms["keys"], list) or len(terms["keys"]) < 2):
        raise SettingsError(f"{name}: keys is no list of two settings or more", path=path)


def _check_condition(condition: object, where: str, path: str) -> None:
    problem = wrong_condition(condition)
    if problem:
        raise SettingsError(f"{where}: {problem}", path=path)


def _only(table: Mapping[str, Any], known: set[str], path: str, where: str) -> None:
    for key in table:
        if key not in known:
            from difflib import get_close_matches

            close = get_close_matches(str(key), known, n=1)
            help = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(sorted(known))}."
            raise SettingsError(f"{where}: unknown key {key!r}", path=path, help=help)


def _choice(kind: Any, word: object, where: str, path: str) -> Any:
    try:
        return kind(word)
    except ValueError as error:
        known = ", ".join(item.value for item in kind)
        raise SettingsError(f"{where} is {word!r}", path=path, help=f"Choose one of {known}.") from error


def _examples(value: object, name: str, path: str) -> tuple[Mapping[str, Any], ...]:
    found = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(each, dict) for each in found):
        raise SettingsError(f"{name}: an example is no mapping of settings", path=path)
    return tuple(found)
