"""One run that two files claim: a launch line by its flags, and the config that it names.

The config is the run: its reading takes the launch line's words as overrides, and findings point at the file that its
author edits. A launch line is a run of its own where it names no config that a framework claims, or only files that
stand beside one (a DeepSpeed JSON, an accelerate YAML).
"""

from __future__ import annotations

from collections.abc import Iterator

from vramlint.dialects.model import Claim
from vramlint.dialects.prefilter import prefilter
from vramlint.dialects.registry import claims
from vramlint.dialects.table_generic import GENERIC
from vramlint.errors import VramlintError
from vramlint.project.units import Project
from vramlint.sources.model import Command, Document

_GENERIC = frozenset(row.name for row in GENERIC)
_BESIDE = frozenset(("accelerate", "deepspeed"))
"""Dialects of files that stand beside a config."""


def configs_in_place_of(claim: Claim, document: Document, project: Project) -> Iterator[str]:
    """The configs whose runs a claimed launch line is; nothing where the line is a run of its own.

    Only lines that a generic dialect guessed at are looked at: a framework that claims its own flags reads the config
    it names by itself.
    """
    command = claim.subject
    if claim.dialect not in _GENERIC or not isinstance(command, Command):
        return
    for path in project.configs_of(document, command):
        if path != document.path and _is_run_of(path, command, project):
            yield path


def _is_run_of(path: str, command: Command, project: Project) -> bool:
    try:
        if not prefilter(path, project.files.data(path)):
            return False
        config = project.files.document(path)
        owned = any(claim.subject is config and claim.dialect not in _GENERIC | _BESIDE for claim in claims(config))
    except (OSError, VramlintError):
        return False
    return owned and any(launching is command for _, launching in project.launches(path))
