"""What ``--add-ignore`` did, or with ``--diff`` would do."""

from __future__ import annotations

from vramlint.engine.add_ignore import IgnoreOutcome
from vramlint.report.text import count, printable


def render(outcome: IgnoreOutcome, *, would: bool) -> str:
    """One line on the comments, then one for each finding that got none, with the reason."""
    if not outcome.before.findings:
        return "nothing to suppress\n"
    files = count(len(outcome.files), "file")
    verb = "would suppress" if would else "suppressed"
    lines = [f"{verb} {count(outcome.added, 'finding')} with comments in {files}"]
    for finding, reason in outcome.left:
        place = f"{finding.location.path}:{finding.location.line}"
        lines.append(f"{place}: {finding.name} not suppressed: {reason}")
    return "".join(f"{printable(line)}\n" for line in lines)
