"""The second look at a shell edit: what it writes is words and nothing that a shell would act on."""

from __future__ import annotations

import re

from vramlint.fix.edits import DocumentEdits

_WORDS = re.compile(r"(?:[\w \t./:=,+@%\-\[\]{}]|'[^'\r\n]*'|\"[^\"$`\\\r\n]*\")*")
_CONTINUATION = re.compile(r"\\\r?\n|\\\r")


def unintended(planned: DocumentEdits, _text: str) -> str:
    """The first edit that writes an operator, a substitution, a comment or a new line."""
    for edit in planned.edits:
        if _WORDS.fullmatch(_CONTINUATION.sub(" ", edit.text)) is None:
            return f"the commands: {edit.text.strip()!r}"
    return ""
