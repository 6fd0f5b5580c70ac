"""The one error tree of vramlint.

Every error that a user can cause derives from :class:`VramlintError`; the command line maps the whole tree to exit
code 2 in one place (``vramlint.cli.main``). A finding is not an error: findings are values.
"""

from __future__ import annotations


class VramlintError(Exception):
    """Something vramlint cannot do, said in words a user can act on.

    ``message`` states what is wrong, ``help`` one imperative sentence; ``path``, ``line`` and ``column`` (1-based)
    say where, when there is a where.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        line: int | None = None,
        column: int | None = None,
        help: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.line = line
        self.column = column
        self.help = help

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text}\n  help: {self.help}" if self.help else text


class SourceError(VramlintError):
    """A file cannot be read as its syntax (malformed, too deep, too large, not UTF-8)."""


class TemplateSource(SourceError):
    """A file is a template (Jinja, Helm): it only becomes its syntax once rendered, so it is no broken config."""


class OversizeSource(SourceError):
    """A file is beyond the limits of reading (bytes, values, depth, expansion): data rather than a config."""


class SettingsError(VramlintError):
    """The project's vramlint settings are wrong."""


class TargetError(VramlintError):
    """A GPU name is unknown or ambiguous."""


class UsageError(VramlintError):
    """The command line asks for something that does not exist (a path, a rule, a format)."""


class EditRefused(VramlintError):
    """An edit cannot be made without touching more than the intended value."""


class PluginError(VramlintError):
    """A rule plugin cannot be loaded or breaks the rule interface."""


class TraceError(VramlintError):
    """A model cannot be traced."""


class ProbeError(VramlintError):
    """The CUDA probe cannot run."""
