"""The check: files in, runs, findings and failures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vramlint.engine.options import CheckOptions
from vramlint.engine.session import Session
from vramlint.project.discovery import Candidate, discover, display_path
from vramlint.project.settings import SettingsFinder
from vramlint.results import CheckResult

_NOTHING: Mapping[str, bytes] = {}
DEFAULTS = CheckOptions()
STDIN = "-"


def check(
    paths: Sequence[str], options: CheckOptions = DEFAULTS, overlay: Mapping[str, bytes] = _NOTHING
) -> CheckResult:
    """Check files and folders.

    ``overlay`` gives bytes that stand for files' contents, by path as results spell it: the fixer checks its own
    repairs so before anything is written. Raises UsageError for a path that does not exist or an unknown rule,
    SettingsError, TargetError for the command line's GPU, PluginError.
    """
    finder = SettingsFinder(options.settings_path, isolated=options.isolated)
    return check_candidates(discover(paths, finder, force_exclude=options.force_exclude), finder, options, overlay)


def check_source(path: str, data: bytes, options: CheckOptions = DEFAULTS) -> CheckResult:
    """Check ``data`` as if it were the file ``path``, which need not exist: standard input, rule cases, editors.

    Raises as ``check`` does.
    """
    finder = SettingsFinder(options.settings_path, isolated=options.isolated)
    shown = display_path(path)
    return check_candidates((Candidate(shown, explicit=True),), finder, options, {shown: data})


def check_candidates(
    candidates: Sequence[Candidate], finder: SettingsFinder, options: CheckOptions, overlay: Mapping[str, bytes]
) -> CheckResult:
    """Check files that were already chosen."""
    session = Session(finder, options, overlay, [candidate.path for candidate in candidates])
    session.validate()
    for candidate in candidates:
        session.look(candidate)
    return session.result()
