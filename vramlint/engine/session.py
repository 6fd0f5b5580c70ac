"""One invocation: every file read once, every run judged once, findings gathered and suppressed at the end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from vramlint.dialects.model import Claim, Reading
from vramlint.dialects.prefilter import prefilter
from vramlint.dialects.registry import claims, dialect
from vramlint.engine.files_disagree import without_repeats
from vramlint.engine.measured import OwnersKnowledge
from vramlint.engine.options import CheckOptions
from vramlint.engine.rules import RuleSet, Selection, load_rules, means, own_files
from vramlint.errors import SettingsError, SourceError, UsageError, VramlintError
from vramlint.findings import Finding
from vramlint.hardware.model import Target
from vramlint.project.discovery import Candidate
from vramlint.project.settings import Settings, SettingsFinder
from vramlint.project.units import FileContext, Project
from vramlint.results import CheckResult, Failure, RunResult
from vramlint.rule import Confidence, Limits, RuleInfo, RuleModule
from vramlint.sources.model import Command, Document


class _Run(NamedTuple):
    """A judged run before suppression."""

    result: RunResult
    selection: Selection


class Session:
    """Gathers the results of one invocation; ``look`` at every file, then ask for the ``result``."""

    def __init__(
        self, finder: SettingsFinder, options: CheckOptions, overlay: Mapping[str, bytes], checked: Sequence[str]
    ) -> None:
        self._finder = finder
        self._options = options
        self._project = Project(overlay, checked, options.launchers)
        self._owner = OwnersKnowledge(self._project.repositories, isolated=options.isolated)
        self._seen: set[str] = set()
        self._checked: dict[str, Document] = {}
        self._documents: dict[str, Document] = {}
        self._runs: list[_Run] = []
        self._failures: dict[Failure, None] = {}
        self._rule_sets: dict[str | None, RuleSet] = {}
        self._choices: dict[tuple[int, tuple[str, ...], bool], list[RuleModule]] = {}

    def glance(self, path: str) -> bytes:
        """The bytes of a file, kept only where it was read before. Raises OSError."""
        return self._project.files.glance(path)

    def validate(self) -> None:
        """Raises UsageError for rules on the command line that do not exist."""
        self._rules(self._finder.for_folder(os.getcwd())).expect((*self._options.select, *self._options.ignore))

    def look(self, candidate: Candidate, data: bytes, *, may_be_config: bool) -> None:
        """Check one file, unless it was already. A file that is no training config leaves no trace.

        ``data`` is what the file holds and ``may_be_config`` the prefilter's word. A named script that is no config
        itself may choose one: then the files that its imports or its launch lines name are checked in its place.
        """
        path = candidate.path
        if path in self._seen:
            return
        self._seen.add(path)
        self._project.files.keep(path, data)
        found, chosen = self._own_runs(self._claims(candidate), path) if may_be_config else ((), ())
        if found:
            self._judge(path, found)
        elif candidate.explicit and not chosen:
            chosen = self._project.linked(path)
        for linked in chosen:
            with contextlib.suppress(OSError):  # whoever names the file itself is told that it cannot be read
                data = self._project.files.data(linked)
                self.look(Candidate(linked, candidate.explicit), data, may_be_config=prefilter(linked, data))

    def result(self) -> CheckResult:
        """Everything found so far, suppressed findings left out."""
        judged = dict(self._judged())
        kept = {id(finding) for findings, _ in judged.values() for finding in findings}
        runs = tuple(
            run.result._replace(findings=tuple(found for found in run.result.findings if id(found) in kept))
            for run in self._runs
        )
        findings = {finding_identity(finding): finding for found, _ in judged.values() for finding in found}
        return CheckResult(
            runs,
            tuple(sorted(findings.values(), key=finding_order)),
            tuple(self._failures),
            files_seen=0,
            files_checked=len(self._checked),
            suppressed=sum(suppressed for _, suppressed in judged.values()),
        )

    def _own_runs(self, found: tuple[Claim, ...], path: str) -> tuple[tuple[Claim, ...], tuple[str, ...]]:
        """The claims that are runs of their own, and the configs that are the runs of the others."""
        if not any(isinstance(claim.subject, Command) for claim in found):
            return found, ()
        from vramlint.engine.same_run import configs_in_place_of

        document = self._project.files.document(path)
        configs = [tuple(configs_in_place_of(claim, document, self._project)) for claim in found]
        own = tuple(claim for claim, chosen in zip(found, configs, strict=True) if not chosen)
        return own, tuple(dict.fromkeys(path for chosen in configs for path in chosen))

    def _claims(self, candidate: Candidate) -> tuple[Claim, ...]:
        try:
            document = self._project.files.document(candidate.path)
            return claims(document)
        except SourceError as error:
            if candidate.explicit or self._is_broken_config(candidate.path, error):
                self._fail(Failure(candidate.path, error.message, error.line, error.column, error.help))
        except Exception as error:  # noqa: BLE001 - one file must not stop the others; reported
            self._crash("reading the file", candidate.path, error)
        return ()

    def _is_broken_config(self, path: str, error: SourceError) -> bool:
        """In a walked folder the file may be anything (a template, say); it counts where it reads as a config."""
        from vramlint.engine.unreadable import is_training_config

        return is_training_config(path, self._project.files.data(path), error)

    def _judge(self, path: str, found: Iterable[Claim]) -> None:
        document = self._project.files.document(path)
        self._checked[path] = document
        settings = self._finder.for_file(path)
        for claim in found:
            try:
                self._judge_claim(claim, document, settings)
            except SettingsError:
                raise
            except VramlintError as error:
                if error.path is None or error.path == settings.path:
                    raise
                self._fail(Failure(error.path, error.message, error.line, error.column, error.help))
            except Exception as error:  # noqa: BLE001 - one dialect must not stop the others; reported
                self._crash(f"dialect {claim.dialect}", path, error)

    def _judge_claim(self, claim: Claim, document: Document, settings: Settings) -> None:
        from vramlint.engine.targets import targets

        full = os.path.abspath(document.path)
        first = targets((document,), full, settings, self._options)
        context = FileContext(self._project, document.path, first[0])
        reading = dialect(claim.dialect).read(claim, document, context)
        self._owner.attach(reading.plan, settings, full)
        reading.subject = claim.subject
        reading.launches = tuple(context.launches(document)) if claim.subject is document else ()
        launching = [script for script, _ in context.launches(document)]
        documents = {each.path: each for each in (document, *reading.documents, *launching)}
        chosen = targets(documents.values(), full, settings, self._options) if len(documents) > 1 else first
        for target in chosen:
            self._judge_run(reading, self._owner.calibrated(target, full), settings, full)
        for each in documents.values():
            self._documents.setdefault(each.path, each)

    def _judge_run(self, reading: Reading, target: Target, settings: Settings, full: str) -> None:
        from vramlint.engine.run import EngineRun, finding_of

        options = self._options
        select = options.select or settings.select
        ignore = (*options.ignore, *settings.ignore, *settings.ignored_for(full))
        selection = Selection(select, ignore, pedantic=options.pedantic)
        run = EngineRun(reading, target, settings.limits or Limits(), verbose=options.verbose)
        if target.gpu is not None:
            run.estimate()  # where it breaks, that is a failure whatever the rules
        read = (*reading.findings, *self._reading_findings(reading))
        findings = [found for found in read if selection.shows(found.code, found.name)]
        for rule in self._chosen(settings, selection, (*select, "", *ignore), target) if options.with_rules else ():
            try:
                for verdict in rule.check(run):
                    findings.append(finding_of(rule.RULE, verdict, run, reading))
            except Exception as error:  # noqa: BLE001 - one rule must not stop the others; reported
                self._crash(f"rule {rule.RULE.code} {rule.RULE.name}", reading.document.path, error)
        findings = [found for found in without_repeats(findings) if _is_sure(found, options.min_confidence)]
        for failure in run.failures:
            self._fail(failure)
        self._runs.append(_Run(RunResult(reading, target, run.estimate, tuple(findings), run.limits), selection))

    @staticmethod
    def _reading_findings(reading: Reading) -> Iterator[Finding]:
        """What the engine itself sees in how a file is written (VL0)."""
        if reading.subject is not reading.document:
            return
        from vramlint.engine import unknown_key, value_misread  # imported with the rules anyway

        yield from unknown_key.findings(reading)
        yield from value_misread.findings(reading)
        if reading.document.problems:
            from vramlint.engine import duplicate_key

            yield from duplicate_key.findings(reading)

    def _chosen(
        self, settings: Settings, selection: Selection, words: tuple[str, ...], target: Target
    ) -> Sequence[RuleModule]:
        """The rules that run, worked out once for all runs of the same settings and ``words`` of selection."""
        rules, on_card = self._rules(settings), target.gpu is not None
        known = self._choices.get((id(rules), words, on_card))
        if known is None:
            known = [rule for rule in rules if selection.runs(rule.RULE) and (on_card or not rule.RULE.needs_gpu)]
            self._choices[id(rules), words, on_card] = known
        return known

    def _rules(self, settings: Settings) -> RuleSet:
        """The rules that run under ``settings``, which the file they come from tells from others."""
        known = self._rule_sets.get(settings.path)
        if known is None:
            known = self._rule_sets[settings.path] = self._loaded(settings)
        return known

    def _loaded(self, settings: Settings) -> RuleSet:
        rules = load_rules((*settings.plugins, *self._options.plugins), own_files(settings))
        per_file = (code for _, codes in settings.per_file_ignores for code in codes)
        try:
            rules.expect((*settings.select, *settings.ignore, *per_file))
        except UsageError as error:
            raise SettingsError(error.message, path=settings.path, help=error.help) from error
        return rules

    def _judged(self) -> Iterator[tuple[str, tuple[tuple[Finding, ...], int]]]:
        """Findings after suppression and the number suppressed, file by file."""
        by_path: dict[str, list[Finding]] = {path: [] for path in self._checked}
        for run in self._runs:
            for finding in run.result.findings:
                by_path.setdefault(finding.location.path, []).append(finding)
        for path, findings in by_path.items():
            document = self._checked.get(path) or self._documents.get(path)
            yield path, (tuple(findings), 0) if document is None else self._suppressed(document, findings)

    def _suppressed(self, document: Document, findings: Sequence[Finding]) -> tuple[tuple[Finding, ...], int]:
        if "vramlint" not in document.text or not self._options.with_rules:
            return tuple(findings), 0
        from vramlint.engine.suppressions import suppress
        from vramlint.engine.unused_suppression import RULE

        selections = [run.selection for run in self._runs if run.result.reading.document.path == document.path]
        reports = any(selection.runs(RULE) for selection in selections)

        def ran(rule: str) -> bool:
            infos = (each.RULE for each in self._rules(self._finder.for_file(document.path)))
            return any(
                means(rule, info.code, info.name) and any(selection.runs(info) for selection in selections)
                for info in infos
            )

        judged = suppress(findings, document, ran if reports else None)
        about = tuple(found for info, found in self._about_comments(document) if any(s.runs(info) for s in selections))
        return (*judged.findings, *about), judged.suppressed

    def _about_comments(self, document: Document) -> Iterator[tuple[RuleInfo, Finding]]:
        """What is wrong with the suppressions themselves: a comment cannot suppress that."""
        from vramlint.engine import suppression_without_reason, unknown_suppression

        rules = self._rules(self._finder.for_file(document.path))
        yield from ((unknown_suppression.RULE, found) for found in unknown_suppression.findings(document, rules))
        without = suppression_without_reason
        yield from ((without.RULE, found) for found in without.findings(document))

    def _crash(self, what: str, path: str, error: Exception) -> None:
        from vramlint.engine.run import crash

        self._fail(crash(what, path, error, verbose=self._options.verbose))

    def _fail(self, failure: Failure) -> None:
        self._failures[failure] = None


_SURENESS = (Confidence.LOW, Confidence.MEDIUM, Confidence.HIGH)


def _is_sure(finding: Finding, least: str | None) -> bool:
    """Whether vramlint is as sure of the finding as was asked for."""
    return least is None or _SURENESS.index(finding.confidence) >= _SURENESS.index(Confidence(least))


def finding_identity(finding: Finding) -> tuple[object, ...]:
    """Two runs of one file (two targets, a config and its launch line) may find the same thing."""
    return finding.code, finding.location, finding.message


def finding_order(finding: Finding) -> tuple[object, ...]:
    """By path, place and rule."""
    place = finding.location
    return place.path, place.line, place.column, finding.code, finding.message
