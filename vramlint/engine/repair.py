"""``--fix``: check, repair and check again, in memory; the caller writes or shows the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vramlint.engine.check import DEFAULTS, check_candidates
from vramlint.engine.options import CheckOptions
from vramlint.findings import Finding
from vramlint.fix.loop import Applied, FileFix, Fixable, Refused, repair_all
from vramlint.project.discovery import Candidate, discover, display_path
from vramlint.project.settings import SettingsFinder
from vramlint.results import CheckResult


class FixOutcome(NamedTuple):
    """What fixing comes to. Nothing is written yet: ``vramlint.fix.write.write_files(outcome.files)`` does that.

    ``result`` is the check of the repaired texts (what remains), ``before`` that of the files as they are.
    ``converged`` is false where repairs kept asking for each other until the loop gave up.
    """

    files: tuple[FileFix, ...]
    applied: tuple[Applied, ...]
    refused: tuple[Refused, ...]
    before: CheckResult
    result: CheckResult
    converged: bool = True


def fix(paths: Sequence[str], options: CheckOptions = DEFAULTS, *, unsafe: bool = False) -> FixOutcome:
    """Repair what ``check`` finds, safe repairs only unless ``unsafe``. Raises as ``check`` does."""
    finder = SettingsFinder(options.settings_path, isolated=options.isolated)
    return _fix(discover(paths, finder, force_exclude=options.force_exclude), finder, options, {}, unsafe=unsafe)


def fix_source(path: str, data: bytes, options: CheckOptions = DEFAULTS, *, unsafe: bool = False) -> FixOutcome:
    """Repair ``data`` as if it were the file ``path``: standard input, rule cases, editors. Raises as ``check`` does.

    Only that file is repaired: a repair that also needs another file of the run is left out.
    """
    finder = SettingsFinder(options.settings_path, isolated=options.isolated)
    shown = display_path(path)
    return _fix((Candidate(shown, explicit=True),), finder, options, {shown: data}, unsafe=unsafe)


def _fix(
    candidates: Sequence[Candidate],
    finder: SettingsFinder,
    options: CheckOptions,
    given: Mapping[str, bytes],
    *,
    unsafe: bool,
) -> FixOutcome:
    results: list[CheckResult] = []

    def again(now: Mapping[str, bytes]) -> list[Fixable]:
        # Files without a run have nothing to repair: after the first pass only the others are read again.
        left = _with_runs(candidates, results[0]) if results else candidates
        result = check_candidates(left, finder, options, {**given, **now})
        results.append(result)
        return [
            Fixable(finding, run.reading)
            for run in result.runs
            for finding in run.findings
            if not given or all(path in given for path in _touched(finding))
        ]

    done = repair_all(again, unsafe=unsafe)
    if not done.converged:
        again({file.path: file.new for file in done.files})
    before, last = results[0], results[-1]
    after = last._replace(files_seen=before.files_seen, files_checked=before.files_checked)
    return FixOutcome(done.files, done.applied, done.refused, before, after, done.converged)


def _with_runs(candidates: Sequence[Candidate], result: CheckResult) -> tuple[Candidate, ...]:
    """The candidates that hold runs or lead to files that do, and those that failed."""
    paths = {run.reading.document.path for run in result.runs} | {failure.path for failure in result.failures}
    known = {candidate.path for candidate in candidates}
    linked = tuple(Candidate(path, explicit=True) for path in sorted(paths - known))
    return (*(candidate for candidate in candidates if candidate.path in paths), *linked)


def _touched(finding: Finding) -> set[str]:
    return {edit.location.path for fix in finding.fixes for edit in fix.edits}
