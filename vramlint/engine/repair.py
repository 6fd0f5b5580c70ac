"""``--fix``: check, repair and check again, in memory; the caller writes or shows the outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vramlint.engine.options import CheckOptions
from vramlint.fix.loop import Applied, FileFix, Refused
from vramlint.results import CheckResult


class FixOutcome(NamedTuple):
    """What fixing comes to. Nothing is written yet: ``vramlint.fix.write.write_files(outcome.files)`` does that.

    ``result`` is the check of the repaired texts (what remains), ``before`` that of the files as they are.
    """

    files: tuple[FileFix, ...]
    applied: tuple[Applied, ...]
    refused: tuple[Refused, ...]
    before: CheckResult
    result: CheckResult


def fix(paths: Sequence[str], options: CheckOptions = CheckOptions(), *, unsafe: bool = False) -> FixOutcome:
    """Repair what ``check`` finds, safe repairs only unless ``unsafe``. Raises as ``check`` does."""
    raise NotImplementedError


def fix_source(path: str, data: bytes, options: CheckOptions = CheckOptions(), *, unsafe: bool = False) -> FixOutcome:
    """Repair ``data`` as if it were the file ``path``: standard input, rule cases, editors."""
    raise NotImplementedError
