"""The language server: pygls on one side, the engine on the other, ``vramlint.report.editor`` in between.

Everything is checked as it stands in the editor, saved or not; other files of the run are read from disk. One answer is
kept for each open file, and made anew when its text has changed since.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path, to_fs_path

from vramlint import __version__
from vramlint.engine import CheckOptions, check_source
from vramlint.errors import VramlintError
from vramlint.project.discovery import display_path
from vramlint.report.editor import Edit, EditorDiagnostic, Lines, Place, diagnostics, hover, quick_fixes
from vramlint.results import CheckResult
from vramlint.rule import Severity

P = TypeVar("P")
R = TypeVar("R")

_SEVERITIES = {
    Severity.ERROR: lsp.DiagnosticSeverity.Error,
    Severity.WARNING: lsp.DiagnosticSeverity.Warning,
    Severity.INFO: lsp.DiagnosticSeverity.Information,
}
_ENCODINGS = {"utf-8": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
"""Units of columns by the protocol's names; without agreement they are UTF-16's (LSP 3.17, PositionEncodingKind)."""


class _Answer(NamedTuple):
    """A check of the text ``source`` of one open file."""

    source: str
    result: CheckResult


def server(options: CheckOptions) -> LanguageServer:
    """The server with its features; ``start_io`` serves."""
    connection = LanguageServer("vramlint", __version__)
    editor = _Editor(connection, options)
    kinds = lsp.CodeActionOptions([lsp.CodeActionKind.QuickFix])
    connection.feature(lsp.INITIALIZED)(_function(editor.initialized))
    connection.feature(lsp.TEXT_DOCUMENT_DID_OPEN)(_function(editor.opened))
    connection.feature(lsp.TEXT_DOCUMENT_DID_SAVE)(_function(editor.saved))
    connection.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)(_function(editor.closed))
    connection.feature(lsp.TEXT_DOCUMENT_CODE_ACTION, kinds)(_function(editor.code_actions))
    connection.feature(lsp.TEXT_DOCUMENT_HOVER)(_function(editor.hovered))
    return connection


def _function(method: Callable[[P], R]) -> Callable[[P], R]:
    """``method`` as a plain function: pygls writes attributes on what it is given."""
    return lambda params: method(params)


class _Editor:
    """One editor at the other end: what it asks and what is known of its open files."""

    def __init__(self, connection: LanguageServer, options: CheckOptions) -> None:
        self._connection = connection
        self._options = options
        self._answers: dict[str, _Answer] = {}

    def initialized(self, _params: lsp.InitializedParams) -> None:
        """Paths in messages are relative to the project, and settings are looked for from there."""
        root = to_fs_path(self._connection.workspace.root_uri or "")
        if root and os.path.isdir(root):
            os.chdir(root)

    def opened(self, params: lsp.DidOpenTextDocumentParams) -> None:
        self._publish(params.text_document.uri)

    def saved(self, params: lsp.DidSaveTextDocumentParams) -> None:
        """Another file of the run may be what was saved, so nothing that is known holds any more."""
        self._answers.clear()
        self._publish(params.text_document.uri)

    def closed(self, params: lsp.DidCloseTextDocumentParams) -> None:
        uri = params.text_document.uri
        self._answers.pop(uri, None)
        self._connection.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, []))

    def code_actions(self, params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        """The repairs of the findings on the lines asked about."""
        uri = params.text_document.uri
        result = self._answer(uri)
        if result is None:
            return []
        first, last = params.range.start.line, params.range.end.line
        return [
            lsp.CodeAction(
                title=fix.title,
                kind=lsp.CodeActionKind.QuickFix,
                diagnostics=[_diagnostic(fix.diagnostic)],
                is_preferred=fix.preferred,
                edit=lsp.WorkspaceEdit(changes=_changes(fix.edits)),
            )
            for fix in quick_fixes(result, _shown(uri), self._lines)
            if fix.diagnostic.place.line <= last and fix.diagnostic.place.end_line >= first
        ]

    def hovered(self, params: lsp.HoverParams) -> lsp.Hover | None:
        uri, at = params.text_document.uri, params.position
        result = self._answer(uri)
        text = None if result is None else hover(result, _shown(uri), self._lines, at.line, at.character)
        return None if text is None else lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, text))

    def _publish(self, uri: str) -> None:
        result = self._answer(uri)
        found = [] if result is None else diagnostics(result, _shown(uri), self._lines)
        params = lsp.PublishDiagnosticsParams(uri, [_diagnostic(one) for one in found])
        self._connection.text_document_publish_diagnostics(params)

    def _answer(self, uri: str) -> CheckResult | None:
        """The check of an open file as it stands now; None where it is no file or the settings are wrong."""
        path = to_fs_path(uri)
        if path is None:
            return None
        source = self._connection.workspace.get_text_document(uri).source
        known = self._answers.get(uri)
        if known is not None and known.source == source:
            return known.result
        try:
            result = check_source(path, source.encode("utf-8", "surrogatepass"), self._options)
        except VramlintError as error:
            self._connection.window_log_message(lsp.LogMessageParams(lsp.MessageType.Error, f"vramlint: {error}"))
            return None
        self._answers[uri] = _Answer(source, result)
        return result

    def _lines(self, path: str) -> Lines:
        """The lines of a file: the editor's where it is open, else the disk's."""
        workspace = self._connection.workspace
        units = workspace.position_encoding
        name = str(getattr(units, "value", units))
        return Lines(workspace.get_text_document(_uri(path)).source, _ENCODINGS.get(name, "utf-16-le"))


def _shown(uri: str) -> str:
    """The file's path as results spell it."""
    return display_path(to_fs_path(uri) or "")


def _uri(path: str) -> str:
    return str(from_fs_path(os.path.abspath(path)) or path)


def _diagnostic(found: EditorDiagnostic) -> lsp.Diagnostic:
    return lsp.Diagnostic(
        range=_range(found.place),
        message=found.message,
        severity=_SEVERITIES[found.severity],
        code=found.code,
        source="vramlint",
    )


def _changes(edits: tuple[Edit, ...]) -> dict[str, list[lsp.TextEdit]]:
    changes: dict[str, list[lsp.TextEdit]] = {}
    for edit in edits:
        changes.setdefault(_uri(edit.path), []).append(lsp.TextEdit(_range(edit.place), edit.text))
    return changes


def _range(place: Place) -> lsp.Range:
    return lsp.Range(lsp.Position(place.line, place.character), lsp.Position(place.end_line, place.end_character))
