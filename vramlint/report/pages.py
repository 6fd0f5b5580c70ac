"""Pages of documentation made from the source: what ``vramlint explain`` prints and ``docs/`` holds.

A page is Markdown. The text is the module's own docstring; identity, cases and sources come from its data.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

from vramlint.rule import Case, RuleInfo, RuleModule, Safety, Stability

if TYPE_CHECKING:
    from types import ModuleType

    from vramlint.dialects.model import Dialect
    from vramlint.dialects.table import Row

_FENCES = {"py": "python", "yml": "yaml", "yaml": "yaml", "json": "json", "toml": "toml", "sh": "bash", "slurm": "bash"}
_FIX_WORDS = {
    None: "none",
    Safety.SAFE: "safe: `--fix` keeps the effective batch and the numerics",
    Safety.UNSAFE: "unsafe: only with `--unsafe-fixes`",
    Safety.DISPLAY: "shown, never applied",
}


def rule_page(rule: RuleModule) -> str:
    """One rule: what and why, a case that it finds, what the fix makes of it, a case that it accepts, sources."""
    info = rule.RULE
    headline, *why = _docstring(cast("ModuleType", rule)).split("\n\n", 1)
    parts = [f"# {info.name} ({info.code})", headline or info.summary, _identity(info), *why]
    if rule.INVALID:
        parts.extend(["## Found", *_case(rule.INVALID[0])])
    if rule.VALID:
        parts.extend(["## Accepted", *_case(rule.VALID[0])])
    if info.sources:
        parts.extend(["## Sources", "\n".join(f"- {source}" for source in info.sources)])
    return "\n\n".join(part for part in parts if part) + "\n"


def _identity(info: RuleInfo) -> str:
    rows = [f"- severity: {info.severity.value}, confidence: {info.confidence.value}", f"- fix: {_FIX_WORDS[info.fix]}"]
    if info.pedantic:
        rows.append("- shown only with `--pedantic`")
    if info.stability is Stability.PREVIEW:
        rows.append("- preview: what it finds may still change")
    rows.append(f"- switch it off for a line: `# vramlint: ignore[{info.name}] reason`")
    return "\n".join(rows)


def _docstring(module: ModuleType) -> str:
    return markdown(inspect.cleandoc(module.__doc__ or ""))


def markdown(docstring: str) -> str:
    """A docstring as Markdown: its double backticks single, its literal blocks fenced, its paragraphs' heads bold."""
    text = re.sub(r"(?<!`)``(?!`)", "`", docstring)
    text = re.sub(r"^(Why|Example|Fix safety|Sources):", r"**\1:**", text, flags=re.MULTILINE)
    return re.sub(r"::\n\n((?: {4}.*\n?|\n)+)", _literal, text)


def _literal(block: re.Match[str]) -> str:
    return f":\n\n```\n{inspect.cleandoc(block[1]).rstrip()}\n```\n\n"


def _case(case: Case) -> list[str]:
    parts = [f"`{case.path}`{_target(case)}:", _fenced(case.path, case.text)]
    if case.fixed is not None:
        flags = "--fix --unsafe-fixes" if case.unsafe else "--fix"
        parts.extend([f"after `vramlint {flags}`:", _fenced(case.path, case.fixed)])
    return parts


def _target(case: Case) -> str:
    words = [
        f"--gpu {case.gpu}" if case.gpu else "",
        f"--gpus {case.gpus}" if case.gpus else "",
        f"{case.cores} cores" if case.cores else "",
        f"{case.ram_gib:g} GiB of host memory" if case.ram_gib else "",
        f"{case.shm_mib} MiB of /dev/shm" if case.shm_mib else "",
        f"{case.disk_gib:g} GiB of free disk" if case.disk_gib else "",
    ]
    said = ", ".join(word for word in words if word)
    return f" with {said}" if said else ""


def _fenced(path: str, text: str) -> str:
    language = _FENCES.get(path.rpartition(".")[2], "")
    return f"```{language}\n{text.rstrip()}\n```"


def rule_table(rules: Iterable[RuleInfo], link: str = "{name}.md") -> str:
    """Every rule as a Markdown table; ``link`` is the page of a rule."""
    rows = [
        f"| {info.code} | [{info.name}]({link.format(name=info.name)}) | {info.severity.value} "
        f"| {info.fix.value if info.fix else ''} | {info.summary} |"
        for info in rules
    ]
    return "\n".join(["| code | name | severity | fix | finds |", "|---|---|---|---|---|", *rows]) + "\n"


def dialect_page(row: Row, module: Dialect | None) -> str:
    """One dialect: how it is recognised and how it is read; ``module`` is None for one that is left alone."""
    syntaxes = ", ".join(syntax.value for syntax in row.syntaxes)
    parts = [f"# {row.title} ({row.name})", f"Spelled in: {syntaxes}."]
    if module is None:
        parts.append("vramlint recognises these files, so that nothing misreads them, and leaves them alone.")
    else:
        parts.append(_docstring(cast("ModuleType", module)))
    return "\n\n".join(part for part in parts if part) + "\n"


def dialect_table(rows: Sequence[Row], link: str = "{name}.md") -> str:
    """Every dialect as a Markdown table, most specific first, as they are tried."""
    lines = [
        f"| {_linked(row, link)} | {row.title} | {', '.join(syntax.value for syntax in row.syntaxes)} "
        f"| {'read' if row.module else 'left alone'} |"
        for row in rows
    ]
    return "\n".join(["| dialect | framework | syntaxes | |", "|---|---|---|---|", *lines]) + "\n"


def _linked(row: Row, link: str) -> str:
    return f"[{row.name}]({link.format(name=row.name)})" if row.module else row.name
