"""What a check returns, for the reports to print and for the fixer to work on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

# Most files are no training config, and what nothing was found in is told without importing any of these.
if TYPE_CHECKING:
    from vramlint.dialects.model import Reading
    from vramlint.findings import Finding
    from vramlint.hardware.model import Target
    from vramlint.memory.model import Estimate
    from vramlint.rule import Limits


class RunResult(NamedTuple):
    """One run: how it was read, what it was checked against, its memory and what the rules say of it."""

    reading: Reading
    target: Target
    estimator: Callable[[], Estimate]
    findings: tuple[Finding, ...]
    limits: Limits
    """The settings' shares of memory, for a caller that estimates a changed plan (a sweep)."""

    @property
    def estimate(self) -> Estimate:
        """The run's memory, worked out when first asked for: of many files without a card, nobody asks."""
        return self.estimator()


def settled(estimate: Estimate) -> Callable[[], Estimate]:
    """An estimator that has its answer."""
    return lambda: estimate


class Failure(NamedTuple):
    """Something that could not be checked: an unreadable file, a rule that crashed. Leads to exit code 2."""

    path: str
    message: str
    line: int | None = None
    column: int | None = None
    help: str = ""


class CheckResult(NamedTuple):
    """Everything one invocation found. ``files_seen`` counts candidates; those that are no config stay silent."""

    runs: tuple[RunResult, ...]
    findings: tuple[Finding, ...]
    """All findings of all runs and files, ordered by path and place, suppressed ones left out."""
    failures: tuple[Failure, ...]
    files_seen: int
    files_checked: int
    suppressed: int = 0
    baselined: int = 0
    """Findings left out because the baseline knows them."""
