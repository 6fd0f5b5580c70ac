"""The check: files in, runs, findings and failures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vramlint.engine.options import CheckOptions
from vramlint.results import CheckResult


def check(
    paths: Sequence[str], options: CheckOptions = CheckOptions(), overlay: Mapping[str, bytes] | None = None
) -> CheckResult:
    """Check files and folders.

    ``overlay`` gives bytes that stand for files' contents, by path as results spell it: the fixer checks its own
    repairs so before anything is written. ``-`` among the paths is the overlay's text of ``options.stdin_filename``.
    Raises UsageError for a path that does not exist or an unknown rule, SettingsError, TargetError.
    """
    raise NotImplementedError


def check_source(path: str, data: bytes, options: CheckOptions = CheckOptions()) -> CheckResult:
    """Check ``data`` as if it were the file ``path``, which need not exist: standard input, rule cases, editors."""
    raise NotImplementedError
