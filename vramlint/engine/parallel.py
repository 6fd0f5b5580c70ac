"""Many files on several cores: the same answer, in the same order, from one process a core.

The files are dealt out in turn, since neighbours cost alike. Each share is checked by a forked process and told in a
short form (what reports print: plans, estimates, findings, the texts that findings show); the parent takes the first
share and puts the answers together in the order of the files. Where a process dies or cannot tell what it found, the
parent checks its share itself, so the answer never depends on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from vramlint.engine.check import DEFAULTS, check_candidates
from vramlint.engine.options import CheckOptions
from vramlint.project.discovery import Candidate, discover
from vramlint.project.settings import SettingsFinder
from vramlint.results import CheckResult, RunResult, settled

_LEAST_FILES = 60
"""With fewer files a second process costs more than it saves."""
_FILES_EACH = 40
_MOST_PROCESSES = 8


def check_many(
    paths: Sequence[str], options: CheckOptions = DEFAULTS, *, needs_trees: Callable[[], bool]
) -> CheckResult:
    """``vramlint.engine.check`` on as many cores as there are; raises as it does.

    The runs' documents have lost their trees and the readings their slots, unless ``needs_trees`` says that somebody
    asks for them: then one process does it all.
    """
    finder = SettingsFinder(options.settings_path, isolated=options.isolated)
    candidates = discover(paths, finder, force_exclude=options.force_exclude)
    count = _processes(len(candidates))
    if count < 2 or needs_trees():
        return check_candidates(candidates, finder, options, {})
    _load()
    forked = [_fork(candidates[turn::count], candidates, finder, options) for turn in range(1, count)]
    parts = [check_candidates(candidates[::count], finder, options, {}, candidates)]
    for child in forked:
        told = child.answer()
        parts.append(told or check_candidates(child.share, finder, options, {}, candidates))
    return _joined(parts, candidates)


def _processes(files: int) -> int:
    if files < _LEAST_FILES or not hasattr(os, "fork"):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_PROCESSES, files // _FILES_EACH)


def _load() -> None:
    """What every process needs, imported once before they part; frozen, so that no collection copies its pages."""
    import gc

    from vramlint.dialects import draft  # noqa: F401
    from vramlint.engine import run, session  # noqa: F401
    from vramlint.memory import estimate  # noqa: F401

    gc.freeze()


class _Child(NamedTuple):
    """A process that checks ``share`` and tells its answer through ``pipe``."""

    share: Sequence[Candidate]
    process: int
    pipe: int

    def answer(self) -> CheckResult | None:
        """What it found; None where it could not tell. Raises what the check raised."""
        import pickle

        with os.fdopen(self.pipe, "rb") as pipe:
            data = pipe.read()
        os.waitpid(self.process, 0)
        if not data:
            return None
        found = pickle.loads(data)
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, CheckResult)
        return found


def _fork(
    share: Sequence[Candidate], candidates: Sequence[Candidate], finder: SettingsFinder, options: CheckOptions
) -> _Child:
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        return _Child(share, process, reading)
    os.close(reading)
    code = 1
    try:
        data = _told(share, candidates, finder, options)
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(data)
        code = 0
    finally:
        os._exit(code)  # the parent's buffers and exit handlers are not the child's to flush


def _told(
    share: Sequence[Candidate], candidates: Sequence[Candidate], finder: SettingsFinder, options: CheckOptions
) -> bytes:
    import pickle

    from vramlint.errors import VramlintError

    found: CheckResult | VramlintError
    try:
        result = check_candidates(share, finder, options, {}, candidates)
        found = result._replace(runs=tuple(map(_short, result.runs)))
    except VramlintError as error:
        found = error
    return pickle.dumps(found, pickle.HIGHEST_PROTOCOL)


def _short(run: RunResult) -> RunResult:
    """A run without trees and slots, and with the texts of its files only where a finding shows them."""
    from vramlint.dialects.model import Reading
    from vramlint.engine.run import EngineRun
    from vramlint.sources.model import Document, Mapping, Span

    shown = {finding.location.path for finding in run.findings}
    nothing = Mapping(Span(0, 0), [], "block")

    def short(document: Document) -> Document:
        text = document.text if document.path in shown else ""
        return Document(document.path, text, document.syntax, nothing, document.bom)

    reading = run.reading
    own = short(reading.document)
    documents = [own if each is reading.document else short(each) for each in reading.documents]
    kept = Reading(reading.plan, own, {}, reading.findings, documents)
    if run.target.gpu is None:  # few reports ask for the estimate: the parent makes it, from the plan
        return run._replace(reading=kept, estimator=EngineRun(kept, run.target, run.limits).estimate)
    return run._replace(reading=kept, estimator=settled(run.estimate))


def _joined(parts: Sequence[CheckResult], candidates: Sequence[Candidate]) -> CheckResult:
    """The answers as one: a file that two shares came to (a script and the config it names) counts once."""
    from vramlint.engine.session import finding_identity, finding_order

    findings = {finding_identity(each): each for part in parts for each in part.findings}
    places = {candidate.path: place for place, candidate in enumerate(candidates)}
    runs = list(_once(run for part in parts for run in part.runs))
    runs.sort(key=lambda run: places.get(run.reading.document.path, len(places)))
    failures = {failure: None for part in parts for failure in part.failures}
    again = sum(len(part.runs) for part in parts) - len(runs)
    return CheckResult(
        tuple(runs),
        tuple(sorted(findings.values(), key=finding_order)),
        tuple(sorted(failures, key=lambda failure: places.get(failure.path, len(places)))),
        files_seen=sum(part.files_seen for part in parts),
        files_checked=sum(part.files_checked for part in parts) - again,
        suppressed=sum(part.suppressed for part in parts),
    )


def _once(runs: Iterator[RunResult]) -> Iterator[RunResult]:
    seen: set[tuple[str, str, str]] = set()
    for run in runs:
        gpu = run.target.gpu.name if run.target.gpu is not None else ""
        key = (run.reading.plan.path, run.reading.plan.title, gpu)
        if key not in seen:
            seen.add(key)
            yield run
