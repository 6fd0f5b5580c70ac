"""Patterns as in ``.gitignore``. pathspec is imported only when there is a pattern to match."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

Matcher = Callable[[str], bool]
"""Whether a path relative to the patterns' folder is matched; folders end with ``/``."""
Verdict = Callable[[str], bool | None]
"""True: ignored. False: a ``!`` pattern takes it back in. None: nothing said."""


@lru_cache(maxsize=256)
def matcher(patterns: tuple[str, ...]) -> Matcher:
    """Whether a path is matched by ``patterns``."""
    judged = verdict(patterns)
    return lambda path: judged(path) is True


def verdict(lines: Iterable[str]) -> Verdict:
    """What the lines of a ``.gitignore`` say about a path."""
    from pathspec import GitIgnoreSpec

    spec = GitIgnoreSpec.from_lines(lines)
    return lambda path: spec.check_file(path).include
