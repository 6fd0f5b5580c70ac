"""Counts the findings over a corpus at four targets, and draws a sample of them to be judged by hand.

Usage: python -m tools.judge_corpus [CORPUS] [--seed 1] [--sample 30] [--per-rule 5] [--severity warning] [--rule NAME]

The sample is drawn without replacement from all distinct findings of severity error and warning (a finding is its file,
place, rule and message), as many of each rule as chance gives. Each comes with its lines of the file, so that a reader
can say true or false without opening it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import click

from vramlint.engine import CheckOptions, check
from vramlint.findings import Finding

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
_AROUND = 3


class JudgedTarget(NamedTuple):
    """One of the four targets of the acceptance test."""

    gpu: str
    gpus: int | None


TARGETS = (
    JudgedTarget("gtx1650ti-4gb", None),
    JudgedTarget("rtx3060-12gb", None),
    JudgedTarget("a100-40gb", None),
    JudgedTarget("h100-80gb", 8),
)


def findings_at(target: JudgedTarget, corpus: Path) -> tuple[Finding, ...]:
    """What the check finds over the whole corpus at one target."""
    return check([str(corpus)], CheckOptions(gpu=(target.gpu,), gpus=target.gpus)).findings


def counts(findings: Iterable[Finding]) -> Counter[tuple[str, str, str]]:
    """How often each rule fires, by code, name and severity."""
    return Counter((found.code, found.name, str(found.severity)) for found in findings)


def sample(
    findings: dict[str, tuple[Finding, ...]], severities: set[str], seed: int, size: int, per_rule: int | None = None
) -> list[Finding]:
    """``size`` distinct findings by chance, at most ``per_rule`` of each rule; the same for the same seed."""
    distinct = {
        (found.location, found.code, found.message): found
        for each in findings.values()
        for found in each
        if str(found.severity) in severities
    }
    ordered = [distinct[key] for key in sorted(distinct)]
    random.Random(seed).shuffle(ordered)
    taken: Counter[str] = Counter()
    drawn = []
    for found in ordered:
        taken[found.name] += 1
        if per_rule is None or taken[found.name] <= per_rule:
            drawn.append(found)
    return drawn[:size]


def shown(finding: Finding) -> Iterator[str]:
    """A finding with the lines around it."""
    place = finding.location
    yield f"{place.path}:{place.line}: {finding.severity}[{finding.code}] {finding.name} ({finding.confidence})"
    yield f"    {finding.message}"
    lines = Path(place.path).read_text(encoding="utf-8", errors="replace").splitlines()
    first = max(place.line - 1 - _AROUND, 0)
    for number, line in enumerate(lines[first : place.line + _AROUND], first + 1):
        yield f"    {'>' if number == place.line else ' '}{number:5} {line[:150]}"


@click.command()
@click.argument("corpus", type=click.Path(exists=True, file_okay=False, path_type=Path), default=CORPUS)
@click.option("--seed", default=1, show_default=True)
@click.option("--sample", "size", default=30, show_default=True)
@click.option("--per-rule", type=int, help="At most so many of each rule, so that frequent ones leave room.")
@click.option("--severity", multiple=True, default=("error", "warning"), show_default=True)
@click.option("--rule", default="", help="Only findings of this rule in the sample.")
def main(corpus: Path, seed: int, size: int, per_rule: int | None, severity: tuple[str, ...], rule: str) -> None:
    """Print the counts per rule and target, then the sample."""
    found = {f"{target.gpu} x{target.gpus or 1}": findings_at(target, corpus) for target in TARGETS}
    tables = {name: counts(each) for name, each in found.items()}
    click.echo(f"{'':44} " + " ".join(f"{name:>17}" for name in tables))
    for key in sorted({key for table in tables.values() for key in table}):
        cells = " ".join(f"{table[key]:17}" for table in tables.values())
        click.echo(f"{key[0]} {key[1]:30} {key[2]:8} {cells}")
    wanted = {name: tuple(each for each in all_ if rule in ("", each.name)) for name, all_ in found.items()}
    for number, finding in enumerate(sample(wanted, set(severity), seed, size, per_rule), 1):
        click.echo(f"\n{number}. " + "\n".join(shown(finding)))


if __name__ == "__main__":
    main()
