"""``--fix``: check, repair and check again, in memory; the caller writes or shows the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vramlint.engine.check import DEFAULTS, check_candidates
from vramlint.engine.options import CheckOptions
from vramlint.findings import Finding
from vramlint.fix.loop import Applied, Choose, FileFix, Fixable, Refused, first_allowed, repair_all
from vramlint.project.discovery import Candidate, discover, display_path
from vramlint.project.settings import SettingsFinder
from vramlint.results import CheckResult, RunResult
from vramlint.sources.model import Document

_DATA_SUFFIXES = (".yaml", ".yml", ".json", ".toml")


class FixOutcome(NamedTuple):
    """What fixing comes to. Nothing is written yet: ``vramlint.fix.write.write_files(outcome.files)`` does that.

    ``result`` is the check of the repaired texts (what remains), ``before`` that of the files as they are.
    ``converged`` is false where repairs kept asking for each other until the loop gave up; ``passes`` counts the
    rounds of checking, the last of which found nothing more to do.
    """

    files: tuple[FileFix, ...]
    applied: tuple[Applied, ...]
    refused: tuple[Refused, ...]
    before: CheckResult
    result: CheckResult
    converged: bool = True
    passes: int = 0


def fix(
    paths: Sequence[str], options: CheckOptions = DEFAULTS, *, unsafe: bool = False, choose: Choose | None = None
) -> FixOutcome:
    """Repair what ``check`` finds, safe repairs only unless ``unsafe``, or those that ``choose`` names. Raises as
    ``check`` does."""
    finder = SettingsFinder(options.settings_path, isolated=options.isolated)
    return _fix(
        discover(paths, finder, force_exclude=options.force_exclude),
        finder,
        options,
        {},
        choose or first_allowed(unsafe=unsafe),
    )


def fix_source(path: str, data: bytes, options: CheckOptions = DEFAULTS, *, unsafe: bool = False) -> FixOutcome:
    """Repair ``data`` as if it were the file ``path``: standard input, rule cases, editors. Raises as ``check`` does.

    Only that file is repaired: a repair that also needs another file of the run is left out.
    """
    finder = SettingsFinder(options.settings_path, isolated=options.isolated)
    shown = display_path(path)
    return _fix((Candidate(shown, explicit=True),), finder, options, {shown: data}, first_allowed(unsafe=unsafe))


def _fix(
    candidates: Sequence[Candidate],
    finder: SettingsFinder,
    options: CheckOptions,
    given: Mapping[str, bytes],
    choose: Choose,
) -> FixOutcome:
    passes = _Passes(candidates, finder, options, given)
    done = repair_all(passes, choose)
    before = passes.first
    assert before is not None
    if done.files:
        now = {file.path: file.new for file in done.files}
        after = check_candidates(candidates, finder, options, {**given, **now})
    else:
        after = before
    return FixOutcome(done.files, done.applied, done.refused, before, after, done.converged, done.passes)


class _Passes:
    """The check as the loop calls it: everything first, then only the runs that the last changes can touch."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        finder: SettingsFinder,
        options: CheckOptions,
        given: Mapping[str, bytes],
    ) -> None:
        self._candidates = candidates
        self._finder = finder
        self._options = options
        self._given = given
        self._last: Mapping[str, bytes] = {}
        self.first: CheckResult | None = None

    def __call__(self, now: Mapping[str, bytes]) -> list[Fixable]:
        chosen = self._candidates if self.first is None else self._touched(now)
        self._last = dict(now)
        result = check_candidates(chosen, self._finder, self._options, {**self._given, **now})
        self.first = self.first or result
        return [Fixable(self._writable(finding), run.reading) for run in result.runs for finding in run.findings]

    def _touched(self, now: Mapping[str, bytes]) -> tuple[Candidate, ...]:
        """The files with runs, and of them only those that read a changed file where no script is among those.

        A script may launch any config, which says nothing of it: after a change of one, all runs are read again.
        """
        assert self.first is not None
        changed = {path for path, data in now.items() if self._last.get(path) != data}
        everything = any(not path.endswith(_DATA_SUFFIXES) for path in changed)
        paths = {
            run.reading.document.path
            for run in self.first.runs
            if everything or not changed.isdisjoint(each.path for each in _files_of(run))
        }
        by_path = {candidate.path: candidate for candidate in self._candidates}
        return tuple(by_path.get(path, Candidate(path, explicit=True)) for path in sorted(paths))

    def _writable(self, finding: Finding) -> Finding:
        """Without the repairs that also need another file, where only the text of one was given."""
        if not self._given:
            return finding
        fixes = tuple(fix for fix in finding.fixes if all(edit.location.path in self._given for edit in fix.edits))
        return finding._replace(fixes=fixes)


def _files_of(run: RunResult) -> tuple[Document, ...]:
    return (run.reading.document, *run.reading.documents)
