"""The proof of a repair: the edited text is read again and may differ only where it was meant to.

What holds after ``prove``: every character outside the edits is the old one; all comments are there; the plain data
equals the old data with the intended values put in; and a second parser that shares no code with our readers sees no
other difference (ruamel.yaml for YAML, ``json``, ``tomllib``, ``ast``; for shell, edits are words).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from vramlint.errors import EditRefused, SourceError
from vramlint.fix.edits import DocumentEdits
from vramlint.fix.outline import difference, expected_outline, outline
from vramlint.sources import encode, read
from vramlint.sources.model import Document, Syntax, TextEdit, apply_edits


def prove(planned: DocumentEdits) -> None:
    """Raises EditRefused, with the reason, unless the edits change what they are meant to and nothing else."""
    if planned.inner is not None:
        prove(planned.inner)
    again, text = _read_again(planned)
    _prove_comments(planned.document, again)
    second = _SECOND.get(planned.document.syntax)
    if second is not None:
        _prove_twice(second, planned, text)


def prove_comments(planned: DocumentEdits, added: Sequence[str], removed: Sequence[str] = ()) -> None:
    """Raises EditRefused unless the edits take the comments ``removed`` out, put ``added`` in and change no data.

    The second parser is asked here too, but for shell, where it only judges values.
    """
    document = planned.document
    again, text = _read_again(planned)
    old, new = Counter(each.text for each in document.comments), Counter(each.text for each in again.comments)
    if new - old != Counter(added) - Counter(removed) or old - new != Counter(removed) - Counter(added):
        raise EditRefused("the comment would not be read as one", path=document.path)
    second = _SECOND.get(document.syntax)
    if second is not None and document.syntax is not Syntax.SHELL:
        _prove_twice(second, planned, text)


def _read_again(planned: DocumentEdits) -> tuple[Document, str]:
    """The edited document and its text, which hold the intended data."""
    document = planned.document
    text = apply_edits(document.text, list(planned.edits))
    _prove_characters(document.text, text, planned.edits)
    try:
        again = (
            read(document.path, encode(document, text), document.syntax)
            if document.host is None
            else document.host.read_again(text)
        )
    except SourceError as error:
        raise EditRefused(f"the edited file could not be read again: {error.message}", path=document.path) from error
    found = difference(expected_outline(document, planned.intents, planned.edits), outline(again))
    if found:
        raise EditRefused(f"the edit would also change {found}", path=document.path)
    return again, text


def _prove_characters(old: str, new: str, edits: Sequence[TextEdit]) -> None:
    """Walks both texts side by side, independently of how ``new`` was made."""
    done = shift = 0
    for edit in sorted(edits, key=lambda item: item.span):
        kept = old[done : edit.span.start]
        if new[done + shift : edit.span.start + shift] != kept:
            raise EditRefused("the edit would touch text beside the value")
        done = edit.span.end
        shift += len(edit.text) - (edit.span.end - edit.span.start)
    if new[done + shift :] != old[done:]:
        raise EditRefused("the edit would touch text beside the value")


def _prove_comments(old: Document, new: Document) -> None:
    if [comment.text for comment in old.comments] != [comment.text for comment in new.comments]:
        raise EditRefused("a comment would be lost or changed", path=old.path)


Second = Callable[[DocumentEdits, str], str]
"""Returns what differs besides the intended, nothing where the parsers agree; ValueError where it cannot read."""


def _prove_twice(second: Second, planned: DocumentEdits, text: str) -> None:
    try:
        found = second(planned, text)
    except ValueError as error:
        raise EditRefused(f"a second parser cannot read it: {error}", path=planned.document.path) from error
    if found:
        raise EditRefused(f"a second parser sees a change of {found}", path=planned.document.path)


def _second_yaml(planned: DocumentEdits, text: str) -> str:
    from vramlint.fix.second_yaml import unintended

    return unintended(planned, text)


def _second_python(planned: DocumentEdits, text: str) -> str:
    from vramlint.fix.second_python import unintended

    return unintended(planned, text)


def _second_json(planned: DocumentEdits, text: str) -> str:
    from vramlint.fix.second_data import unintended_json

    return unintended_json(planned, text)


def _second_toml(planned: DocumentEdits, text: str) -> str:
    from vramlint.fix.second_data import unintended_toml

    return unintended_toml(planned, text)


def _second_shell(planned: DocumentEdits, text: str) -> str:
    from vramlint.fix.second_shell import unintended

    return unintended(planned, text)


_SECOND: dict[Syntax, Second] = {
    Syntax.YAML: _second_yaml,
    Syntax.JSON: _second_json,
    Syntax.TOML: _second_toml,
    Syntax.PYTHON: _second_python,
    Syntax.SHELL: _second_shell,
}
