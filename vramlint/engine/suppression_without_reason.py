"""A suppression comment without a reason.

Why: in a year nobody knows whether the finding was wrong, accepted or postponed, and nobody dares to take it out.

Example: ``batch_size: 64  # vramlint: ignore[vram-over]``.

Fix safety: none. Only the author knows the reason. Shown with ``--pedantic``.

Sources: Google's Python Style Guide, "Lint" (a suppression is explained).

The engine itself judges this: rules see no comments.
"""

from __future__ import annotations

from collections.abc import Iterator

from vramlint.engine.suppressions import suppressions
from vramlint.findings import Finding
from vramlint.fix.edits import location_of
from vramlint.patterns import later
from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint.sources.model import Document

RULE = RuleInfo(
    code="VL903",
    name="suppression-without-reason",
    summary="a vramlint: ignore comment without a reason",
    severity=Severity.INFO,
    confidence=Confidence.HIGH,
    fix=None,
    sources=("https://google.github.io/styleguide/pyguide.html#21-lint",),
    pedantic=True,
)
_REASON = later(r"vramlint:\s*ignore(?:-file)?\s*\[[^\]]*\]\W*(?P<reason>\w.*)?")
_HF = "output_dir: out\nper_device_train_batch_size: 4{}\ngradient_accumulation_steps: 2\n"
VALID: tuple[Case, ...] = (
    Case("sft.yaml", _HF.format("  # vramlint: ignore[effective-batch] said in the README")),
    Case("sft.yaml", _HF.format("  # the batch of the paper")),
)
INVALID: tuple[Case, ...] = (
    Case("sft.yaml", _HF.format("  # vramlint: ignore[effective-batch]")),
    Case("sft.yaml", _HF.format("  # vramlint: ignore[VL101] -")),
)


def check(_run: Run) -> Iterator[Verdict]:
    """Says nothing of a run: see ``findings``."""
    yield from ()


def findings(document: Document) -> Iterator[Finding]:
    """One finding for each suppression with nothing but its rules."""
    for comment in suppressions(document):
        found = _REASON.search(comment.comment.text)
        if found is None or found["reason"]:
            continue
        yield Finding(
            RULE.code,
            RULE.name,
            RULE.severity,
            RULE.confidence,
            location_of(document, comment.comment.span),
            "the comment gives no reason: nobody will know when it may go",
            label="no reason",
            help="Write the reason behind the brackets.",
        )
