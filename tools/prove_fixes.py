"""Applies every safe fix of every rule over a corpus and says what came of it.

Usage: python -m tools.prove_fixes [CORPUS] [--every 1]

Two ways, at each of the four targets. One by one: each safe fix alone is planned, proven (the edited file is read again
by a second parser and differs in the intended values only) and checked again: its finding is gone or weaker, no new
finding is as severe as it, and the effective batch is what it was. All together: ``--fix`` over the whole corpus in
memory, with the number of passes until nothing is left to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from tools.judge_corpus import CORPUS, TARGETS, JudgedTarget
from vramlint.engine import CheckOptions, check, fix
from vramlint.errors import EditRefused
from vramlint.findings import Finding, Fix
from vramlint.fix.edits import plan_edits
from vramlint.fix.proof import prove
from vramlint.results import CheckResult, RunResult
from vramlint.rule import Safety, Severity
from vramlint.sources import encode
from vramlint.sources.model import apply_edits

MOST_PASSES = 3
_RANK = {Severity.ERROR: 3, Severity.WARNING: 2, Severity.INFO: 1}


class Outcome(NamedTuple):
    """What one safe fix came to: ``gone``, ``weaker``, or what is wrong with it."""

    path: str
    name: str
    title: str
    verdict: str

    @property
    def is_wrong(self) -> bool:
        return self.verdict not in ("gone", "weaker")


def files_of(corpus: Path, every: int) -> list[str]:
    """Every Nth file of the corpus that may be a training config."""
    files = sorted(path for path in corpus.rglob("*") if path.is_file() and "negative" not in path.parts)
    return [str(path) for path in files[::every]]


def options(target: JudgedTarget) -> CheckOptions:
    """Everything a user may see, pedantic findings included."""
    return CheckOptions(gpu=(target.gpu,), gpus=target.gpus, pedantic=True)


def one_by_one(paths: Sequence[str], target: JudgedTarget) -> Iterator[Outcome]:
    """Each safe fix alone."""
    chosen = options(target)
    for run in check(paths, chosen).runs:
        for finding in run.findings:
            for repair in finding.fixes:
                if repair.safety is Safety.SAFE and repair.edits:
                    yield Outcome(
                        finding.location.path, finding.name, repair.title, tried(run, finding, repair, chosen)
                    )


def tried(run: RunResult, finding: Finding, repair: Fix, chosen: CheckOptions) -> str:
    """What becomes of the run when this fix alone is applied."""
    try:
        planned = plan_edits(repair.repair, run.reading)
        for each in planned:
            prove(each)
    except EditRefused as error:
        return f"not proven: {error.message}"
    texts = {each.document.path: encode(each.document, apply_edits(each.document.text, each.edits)) for each in planned}
    after = check([run.reading.document.path], chosen, texts)
    return judged(finding, run, after)


def judged(finding: Finding, run: RunResult, after: CheckResult) -> str:
    """Compares the run before and after."""
    if after.failures:
        return f"cannot be checked any more: {after.failures[0].message}"
    same = [each for each in after.runs if each.reading.plan.title == run.reading.plan.title]
    if len(same) != 1:
        return "the run is gone"
    before, then = run.reading.plan.effective_batch.value, same[0].reading.plan.effective_batch.value
    if before != then:
        return f"effective batch {before} became {then}"
    known = {(each.name, each.severity) for each in run.findings}
    new = [each for each in same[0].findings if (each.name, each.severity) not in known and each.name != finding.name]
    severe = [each for each in new if _RANK[each.severity] >= _RANK[finding.severity]]
    if severe:
        return f"new {severe[0].severity} {severe[0].name}: {severe[0].message}"
    return _left([each for each in same[0].findings if each.name == finding.name], finding, run)


def _left(left: Sequence[Finding], finding: Finding, run: RunResult) -> str:
    """Whether the finding itself is gone: others of its rule may stand at other places."""
    count = sum(each.name == finding.name for each in run.findings)
    if len(left) < count:
        return "gone"
    mildest = min((_RANK[each.severity] for each in left), default=0)
    return "weaker" if mildest < _RANK[finding.severity] or finding.name == "vram-over" else "still there"


@click.command()
@click.argument("corpus", type=click.Path(exists=True, file_okay=False, path_type=Path), default=CORPUS)
@click.option("--every", default=1, show_default=True, help="Only every Nth file.")
def main(corpus: Path, every: int) -> None:
    """Print counts per rule and everything that is wrong; exit 1 where anything is."""
    paths = files_of(corpus, every)
    wrong = 0
    for target in TARGETS:
        outcomes = list(one_by_one(paths, target))
        table = Counter((each.name, each.verdict if not each.is_wrong else "WRONG") for each in outcomes)
        together = fix(paths, options(target))
        click.echo(
            f"\n{target.gpu} x{target.gpus or 1}: {len(outcomes)} safe fixes one by one; --fix made "
            f"{len(together.applied)} repairs in {len(together.files)} files, {together.passes} passes, "
            f"{len(together.refused)} refused"
        )
        for (name, verdict), count in sorted(table.items()):
            click.echo(f"  {name:32} {verdict:8} {count:5}")
        for each in outcomes:
            if each.is_wrong:
                click.echo(f"  WRONG {each.path}: {each.name}: {each.title}: {each.verdict}")
        wrong += sum(each.is_wrong for each in outcomes) + len(together.refused) + (together.passes > MOST_PASSES)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
