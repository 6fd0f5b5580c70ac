"""Writes what is generated from the source, or with --check says what is out of date.

That is a part of docs/, the framework rows as JSON, and where the layer ledger's builders are.

Usage: python tools/make_docs.py [--check]
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from vramlint.cli.main import COMMANDS, cli
from vramlint.constraints import read_rows
from vramlint.dialects import further_images, further_language, registry
from vramlint.dialects.draft import EXTRA_FACTS
from vramlint.engine import load_rules
from vramlint.memory.layers import registry as layer_registry
from vramlint.plan import FACT_NAMES, TrainingPlan, batch
from vramlint.project import settings
from vramlint.project.settings_schema import settings_schema
from vramlint.report.glossary import GLOSSARY
from vramlint.report.json import dump
from vramlint.report.pages import dialect_page, dialect_table, markdown, rule_page, rule_table
from vramlint_rules._rows import FOLDER, PARSED_FOLDER, parsed

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOTICE = "<!-- Made by tools/make_docs.py; edit the source it names, not this file. -->\n\n"


def pages() -> dict[str, str]:
    """Every generated page by its path under docs/."""
    made = {
        "commands.md": commands_page(),
        "settings.md": settings_page(),
        "memory.md": memory_page(),
        "plan.md": plan_page(),
        "batch.md": batch_page(),
        **rule_pages(),
        **dialect_pages(),
    }
    return {**{name: NOTICE + text for name, text in made.items()}, "settings.schema.json": dump(settings_schema())}


def rule_pages() -> dict[str, str]:
    rules = list(load_rules())
    made = {f"rules/{rule.RULE.name}.md": rule_page(rule) for rule in rules}
    made["rules/framework-rows.md"] = framework_rows_page()
    made["rules/README.md"] = f"# Rules\n\n{rule_table([rule.RULE for rule in rules])}"
    return made


def framework_rows_page() -> str:
    """Every declared fact of a framework, with its source."""
    parts = ["# What frameworks refuse at start-up", "Facts behind `conflicting-settings` and its kin, by dialect."]
    for name in sorted(os.listdir(FOLDER)):
        path = os.path.join(FOLDER, name)
        found = read_rows(Path(path).read_text(encoding="utf-8"), name)
        also = f"\n\nAnd those of {found.extends}." if found.extends else ""
        rows = [f"| `{row.name}` | {row.severity} | {_cell(row.message)} | {_cell(row.source)} |" for row in found.rows]
        table = "\n".join(["| row | severity | finding | source |", "|---|---|---|---|", *rows])
        parts.append(f"## {', '.join(found.frameworks)}{also}\n\n{table}")
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return re.sub(r"\{@?([\w.-]+)\}", r"*\1*", text).replace("|", "\\|")


def dialect_pages() -> dict[str, str]:
    rows = registry.rows()
    made = {f"dialects/{row.name}.md": dialect_page(row, registry.dialect(row.name)) for row in rows if row.module}
    made["dialects/README.md"] = (
        "# Dialects\n\nThe frameworks whose files vramlint knows, most specific first, as they are tried. "
        f"`vramlint dialects --why FILE` says what a file is taken for.\n\n{dialect_table(rows)}"
    )
    return made


def commands_page() -> str:
    context = click.Context(cli, info_name="vramlint")
    parts = ["# Commands", inspect.cleandoc(cli.help or "")]
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        parts.append(_command(name, command, click.Context(command, context, name)))
    return "\n\n".join(parts) + "\n"


def _command(name: str, command: click.Command, context: click.Context) -> str:
    usage = " ".join(["vramlint", name, *command.collect_usage_pieces(context)])
    parts = [f"## {name}", f"`{usage}`", inspect.cleandoc(command.help or "")]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    if options:
        rows = [f"| `{_spelled(option)}` | {_meaning(option)} |" for option in options]
        parts.append("\n".join(["| option | |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def _spelled(option: click.Option) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return names
    if isinstance(option.type, click.Choice):
        choices = "\\|".join(option.type.choices)
        return f"{names} {choices}"
    return f"{names} {option.metavar or option.type.name.upper()}"


def _meaning(option: click.Option) -> str:
    default = f" Default: `{option.default}`." if option.show_default else ""
    return f"{option.help or ''}{default}".strip().replace("|", "\\|")


def settings_page() -> str:
    """The settings module's docstring, its indented block as TOML."""
    text = inspect.cleandoc(settings.__doc__ or "")
    before, block, after = re.split(r"\n\n((?: {4}.*\n?|\n)+)", text, maxsplit=1)
    toml = inspect.cleandoc(block).rstrip()
    return f"# Settings\n\n{markdown(before)}\n\n```toml\n{toml}\n```\n\n{markdown(after)}".rstrip() + "\n"


def memory_page() -> str:
    """The estimator's docstring, then what each component is."""
    rows = [f"### {title}\n\n{text}" for title, text in GLOSSARY.items()]
    about = textwrap.dedent(inspect.cleandoc(importlib.import_module("vramlint.memory.estimate").__doc__ or ""))
    parts = ["# Estimates of memory", _fenced_formulas(markdown(about)), "## Components", *rows]
    parts += ["## Models you describe", _described_models(), "## Measured points", _measured_points()]
    return "\n\n".join(parts) + "\n"


def _described_models() -> str:
    """The docstring of user models, its indented block as TOML."""
    text = inspect.cleandoc(importlib.import_module("vramlint.memory.user_models").__doc__ or "")
    before, block, after = re.split(r"\n\n((?: {4}.*\n?|\n)+)", text, maxsplit=1)
    return f"{markdown(before)}\n\n```toml\n{inspect.cleandoc(block).rstrip()}\n```\n\n{markdown(after)}".rstrip()


def _measured_points() -> str:
    """How points correct an estimate, and where they are kept."""
    texts = (importlib.import_module(f"vramlint.memory.{name}").__doc__ for name in ("correction", "observations"))
    kept, corrected = (markdown(inspect.cleandoc(text or "")) for text in reversed([*texts]))
    typed = "Typed in for one call: `vramlint estimate train.yml --observed 2=7.4GiB` (batch per GPU, nvidia-smi)."
    return "\n\n".join((corrected, typed, kept))


def _fenced_formulas(text: str) -> str:
    """The paragraph of aligned formulas as a block, since Markdown would run its lines together."""
    paragraphs = [f"```\n{part}\n```" if re.match(r"\w+ +=", part) else part for part in text.split("\n\n")]
    return "\n\n".join(paragraphs)


def plan_page() -> str:
    """Every fact of a plan, with the remark that its definition carries."""
    rows = [f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in _facts()]
    table = "\n".join(["| fact | type | |", "|---|---|---|", *rows])
    extras = ", ".join(f"`{name}`" for name in _extras())
    about = markdown(inspect.cleandoc(TrainingPlan.__doc__ or ""))
    return f"# The plan\n\n{about}\n\n{table}\n\nFacts that only some dialects have: {extras}.\n"


def _facts() -> Iterator[tuple[str, str, str]]:
    """Name, type and remark of each fact; the remark is the string under the field in the source."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(TrainingPlan))).body
    assert isinstance(definition, ast.ClassDef)
    for field, after in zip(definition.body, [*definition.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.target.id in FACT_NAMES:
            remark = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                remark = inspect.cleandoc(str(after.value.value)).replace("\n", " ")
            kind = ast.unparse(field.annotation).removeprefix("Fact[").removesuffix("]")
            yield field.target.id, kind, markdown(remark)


def _extras() -> list[str]:
    """The names that dialects give to facts of their own: literals of ``put(...)`` that are no field of the plan, and
    those of the table of further facts."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "vramlint/dialects").glob("*.py")]
    names = {name for text in sources for name in re.findall(r'\bput\(\s*"(\w+)"', text)} | set(EXTRA_FACTS)
    names |= {
        row.fact for group in (*further_images.FACTS.values(), *further_language.FACTS.values()) for row in group.rows
    }
    return sorted(names - set(FACT_NAMES))


def batch_page() -> str:
    """Who divides by what: the first formula of each dialect's docstring."""
    rows = []
    for row in registry.rows():
        formula = re.search(r"::\n\n((?: {4}.*\n)+)", registry.dialect(row.name).__doc__ or "") if row.module else None
        if formula:
            lines = [re.sub(r" {2,}", "; ", line.strip()) for line in formula[1].splitlines()]
            rows.append(f"| [{row.name}](dialects/{row.name}.md) | {'; '.join(lines)} |")
    about = inspect.cleandoc(batch.__doc__ or "").split("\n\n")[0]
    return "\n".join([f"# Batches\n\n{about}\n\n| dialect | formula |\n|---|---|", *rows]) + "\n"


def parsed_rows() -> dict[str, str]:
    """The files of framework rows as JSON, by name."""
    sources = sorted(Path(FOLDER).glob("*.yaml"))
    return {f"{path.stem}.json": parsed(path.read_bytes().decode(), path.name) for path in sources}


_DECORATOR = re.compile(r'^@(?:(backbone|neck|head|model)\(|register\(\s*"(\w+)",)([^)]*)\)', re.MULTILINE)


def builders() -> str:
    """Where the layer ledger's builders are: by kind and name, read from their decorators; a later one wins."""
    found: dict[str, dict[str, str]] = {}
    for folder, modules in layer_registry.MODULES.items():
        for module in modules:
            path = Path(layer_registry.PLACES).parent.joinpath(folder, *module.split(".")).with_suffix(".py")
            for short, long, names in _DECORATOR.findall(path.read_text(encoding="utf-8")):
                for name in re.findall(r'"([^"]+)"', names):
                    found.setdefault(short or long, {})[name] = f"{folder}.{module}"
    return dump(found)


def _wanted() -> dict[Path, str]:
    made = {DOCS / name: text for name, text in pages().items()} | {Path(layer_registry.PLACES): builders()}
    return made | {Path(PARSED_FOLDER, name): text for name, text in parsed_rows().items()}


def stale() -> list[Path]:
    """Generated files that are missing, differ, or belong to something that is gone."""
    wanted = _wanted()
    data_found = (*Path(PARSED_FOLDER).glob("*.json"), *Path(layer_registry.PLACES).parent.glob("places.json"))
    pages_found = (*DOCS.rglob("*.md"), *DOCS.glob("*.schema.json"), *data_found)
    found = {path: path.read_text(encoding="utf-8") for path in pages_found}
    found = {path: text for path, text in found.items() if path.suffix == ".json" or text.startswith(NOTICE)}
    return sorted(path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path))


def write() -> list[Path]:
    """Bring the generated files up to date; returns what changed."""
    changed = stale()
    wanted = _wanted()
    for path in changed:
        if path not in wanted:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
    return changed


if __name__ == "__main__":
    checking = "--check" in sys.argv[1:]
    changed = stale() if checking else write()
    for path in changed:
        print(f"{path.relative_to(ROOT)} {'is out of date' if checking else 'written'}")
    sys.exit(1 if checking and changed else 0)
