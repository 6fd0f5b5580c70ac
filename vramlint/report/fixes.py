"""What ``--fix`` did, or with ``--diff`` would do."""

from __future__ import annotations

from vramlint.engine import FixOutcome
from vramlint.fix.loop import Applied
from vramlint.report.summary import interval_of, memory_line, plan_line
from vramlint.report.text import View, count, gib, printable
from vramlint.results import RunResult


def render(outcome: FixOutcome, view: View, *, would: bool = False) -> str:
    """One line a repair made or refused, then what each repaired run will do now; empty where nothing was to repair.

    With ``would`` nothing is written yet.
    """
    lines = [
        f"{_done(made, outcome, view, would=would)} {printable(made.path)}: {printable(made.title)}  "
        f"{view.dim(made.name)}"
        for made in outcome.applied
    ]
    lines.extend(
        f"{view.paint('kept', '1;33')}    {printable(left.path)}: {left.name} not repaired: {printable(left.reason)}"
        for left in outcome.refused
    )
    touched = {file.path for file in outcome.files}
    for run in outcome.result.runs:
        if touched & {document.path for document in run.reading.documents}:
            lines.extend(_now(run, _before(run, outcome), view))
    return "".join(f"{line}\n" for line in lines) + ("\n" if lines else "")


def _done(made: Applied, outcome: FixOutcome, view: View, *, would: bool) -> str:
    """``fixed``, or ``eased`` where a finding of the rule is still there, milder: nothing is said to be fixed that the
    next check finds again."""
    left = any((found.location.path, found.code) == (made.path, made.code) for found in outcome.result.findings)
    word = "eased" if left else "fixed"
    if would:
        word = "would ease" if left else "would fix"
    return view.paint(word, "1;33" if left else "1;32") + " " * (0 if would else 2)


def _now(run: RunResult, before: RunResult | None, view: View) -> list[str]:
    plan = run.reading.plan
    title = f"{plan.title}: " if plan.title else ""
    was, now = (None if one is None else interval_of(one.estimate) for one in (before, run))
    change = "" if was is None or now is None or gib(was.value) == gib(now.value) else f"{gib(was.value)} -> "
    return [
        f"{view.bold('plan')}    {printable(title + plan_line(plan))}",
        f"{view.bold('memory')}  {change}{printable(memory_line(run.estimate, run.target))}",
    ]


def _before(run: RunResult, outcome: FixOutcome) -> RunResult | None:
    """The same run as it was: same file and title; None where the repair renamed it."""
    plan = run.reading.plan
    same = [
        other
        for other in outcome.before.runs
        if (other.reading.plan.path, other.reading.plan.title) == (plan.path, plan.title)
    ]
    return same[0] if len(same) == 1 else None


def would_fix(outcome: FixOutcome) -> str:
    """One line on a diff: what ``--fix`` would repair and what would remain."""
    if not outcome.files:
        return "nothing that --fix would change\n"
    repairs, files = count(len(outcome.applied), "repair"), count(len(outcome.files), "file")
    return f"{repairs} in {files} with --fix, {count(len(outcome.result.findings), 'finding')} would remain\n"
