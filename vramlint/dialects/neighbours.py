"""The other files of a run by the paths that its own files give, wherever the command was started from."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from vramlint.dialects.model import Context
from vramlint.sources.model import Document


def reader_of(document: Document, context: Context) -> Callable[[str], Document | None]:
    """Files by a path that is spelled as the path of ``document`` is."""
    folder = posixpath.dirname(document.path)

    def read(path: str) -> Document | None:
        if path == document.path:
            return document
        # Named from the config's own folder the file is found wherever the project's root is.
        return context.document(posixpath.relpath(path, folder or ".")) or context.document(path)

    return read
