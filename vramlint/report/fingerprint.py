"""A finding's identity across commits: what it says of which setting, never on which line."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable

from vramlint.findings import Finding
from vramlint.report.frame import Texts

_DIGITS = 32


def fingerprints(findings: Iterable[Finding], texts: Texts) -> list[str]:
    """One fingerprint a finding, from rule, file, run, fact and the value as spelled.

    Lines above may come and go and the message may be reworded; two findings alike in all of that are told apart by
    their order in the file.
    """
    seen: Counter[str] = Counter()
    result: list[str] = []
    for finding in findings:
        key = "\0".join((finding.code, finding.location.path, finding.run, finding.fact, _spelled(finding, texts)))
        seen[key] += 1
        digest = hashlib.sha256(f"{key}\0{seen[key]}".encode("utf-8", "surrogatepass"))
        result.append(digest.hexdigest()[:_DIGITS])
    return result


def _spelled(finding: Finding, texts: Texts) -> str:
    text = texts(finding.location.path)
    return "" if text is None else text[finding.location.start : finding.location.end]
