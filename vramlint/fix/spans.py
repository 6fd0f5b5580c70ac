"""Where edits stand in the old text and in the new one."""

from __future__ import annotations

from collections.abc import Iterable

from vramlint.sources.model import Span, TextEdit


def shifted(edits: Iterable[TextEdit]) -> list[Span]:
    """Where the texts of ``edits`` stand in the edited text."""
    spans, shift = [], 0
    for edit in sorted(edits, key=lambda item: item.span):
        start = edit.span.start + shift
        spans.append(Span(start, start + len(edit.text)))
        shift += len(edit.text) - (edit.span.end - edit.span.start)
    return spans


def is_inside(span: Span, spans: Iterable[Span]) -> bool:
    """Whether ``span`` lies in one of ``spans``."""
    return any(each.start <= span.start and span.end <= each.end for each in spans)
