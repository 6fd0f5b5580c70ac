"""``vramlint explain``: a rule, a dialect or a component of memory, from the same source as ``docs/``."""

from __future__ import annotations

import click

from vramlint.cli.main import CLEAN
from vramlint.cli.shared import rules_here, write
from vramlint.errors import UsageError


@click.command("explain")
@click.argument("name")
def command(name: str) -> int:
    """Explain a rule (`VL201` or `queue-not-divisible`), a dialect (`ultralytics`) or a component (`activations`)."""
    for page in (_rule, _dialect, _component):
        text = page(name)
        if text is not None:
            write(text)
            return CLEAN
    raise UsageError(f"nothing is called {name!r}", help=_closest(name))


def _rule(name: str) -> str | None:
    from vramlint.report.pages import rule_page

    found = rules_here().find(name)
    return None if found is None else rule_page(found)


def _dialect(name: str) -> str | None:
    from vramlint.dialects.registry import dialect, rows
    from vramlint.report.pages import dialect_page

    for row in rows():
        if row.name == name:
            return dialect_page(row, dialect(name) if row.module else None)
    return None


def _component(name: str) -> str | None:
    from vramlint.report.glossary import find

    found = find(name)
    return None if found is None else f"# {found[0]}\n\n{found[1]}\n"


def _closest(name: str) -> str:
    import difflib

    from vramlint.dialects.registry import rows
    from vramlint.report.glossary import GLOSSARY

    infos = [rule.RULE for rule in rules_here()]
    names = [*(info.name for info in infos), *(info.code for info in infos), *(row.name for row in rows()), *GLOSSARY]
    close = difflib.get_close_matches(name, names, n=3)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return "see `vramlint rules` and `vramlint dialects`; components are " + ", ".join(GLOSSARY)
