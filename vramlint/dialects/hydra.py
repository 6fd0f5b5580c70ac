"""Hydra runs: the ``a.b=value`` words of the command, then the YAML that the command names.

Source: Hydra 1.3, "Override grammar" and "Command line flags" (``--config-name``, ``--config-path``, ``--config-dir``).
"""

from __future__ import annotations

import posixpath

from vramlint.dialects.model import Context
from vramlint.dialects.overrides import WordSource, word_overrides
from vramlint.dialects.places import FlagSource, Place, Source
from vramlint.sources.model import Command, Document, Mapping, Scalar


def hydra_sources(document: Document, command: Command, context: Context) -> list[Source]:
    """The settings of a command; a named YAML counts when it is a file of the repository."""
    sources: list[Source] = [WordSource(document, command.overrides)]
    config = named_config(document, command, context)
    if config is not None and isinstance(config.root, Mapping):
        sources.append(Source(config, config.root))
    return sources


def file_sources(document: Document, context: Context) -> list[Source]:
    """The settings of a YAML: the words of the one line known to launch it win over the file."""
    root = document.root
    own: list[Source] = [Source(document, root)] if isinstance(root, Mapping) else []
    return [*word_overrides(document, context), *own]


def named_config(document: Document, command: Command, context: Context) -> Document | None:
    """The YAML that Hydra's two flags name, looked for from the project root and from the script's folder."""
    flags = FlagSource(document, command.options)
    name = _text(flags.find("config_name"))
    folder = _text(flags.find("config_path") or flags.find("config_dir"))
    if name is None:
        return None
    file = name if name.endswith((".yaml", ".yml")) else f"{name}.yaml"
    tails = [posixpath.join(folder, file), file] if folder else [file]
    here = posixpath.dirname(document.path)
    for tail in tails:
        for path in (posixpath.normpath(tail), posixpath.normpath(posixpath.join(here, tail))):
            if not path.startswith(("/", "..")) and (found := context.document(path)) is not None:
                return found
    return None


def _text(place: Place | None) -> str | None:
    if place is None or not isinstance(place.node, Scalar):
        return None
    return str(place.node.value)
