"""What is said of files that hold no training run: the commonest check of all, so nothing else is imported for it."""

from __future__ import annotations


def no_run(files_seen: int) -> str:
    """One line that says what was looked at."""
    if not files_seen:
        return "no file to check"
    return f"no training run in {files_seen:,} {'file' if files_seen == 1 else 'files'}"
