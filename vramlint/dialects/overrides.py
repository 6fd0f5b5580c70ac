"""Dotted words of a command line as settings: Hydra's ``data.train_batch_size=64``, flags like ``--train.batch_size 64``.

A command holds such a word under its whole dotted name, while a file nests; ``Dotted`` makes the two look alike.
Sources: Hydra 1.3, "Override grammar" (``+``, ``++`` and ``~`` in front are the reader's business); OmegaConf.
"""

from __future__ import annotations

import posixpath

from vramlint.dialects.model import Context
from vramlint.dialects.places import FlagSource, Place, Source
from vramlint.dialects.signature import normal_flag
from vramlint.plan import Origin
from vramlint.sources.model import Command, Document, Entry, Mapping, Scalar


class Dotted(Source):
    """``key=value`` words or flags of a command, found by their whole dotted name; the last one given counts."""

    def __init__(self, document: Document, mapping: Mapping, origin: Origin = Origin.LAUNCH) -> None:
        super().__init__(document, mapping, origin)
        self._by_name: dict[str, Entry] = {normal_flag(entry.key): entry for entry in mapping.entries}

    def find(self, dotted: str) -> Place | None:
        """The place of ``dotted``, None where the command does not have it."""
        entry = self._by_name.get(dotted.replace("-", "_"))
        return None if entry is None else Place(self, entry.key, entry, self.mapping)


def hydra_sources(document: Document, command: Command, context: Context) -> list[Source]:
    """The settings of a Hydra command: its words, then the YAML that ``--config-path`` and ``--config-name`` name.

    Only a YAML of the repository is read; the program's own default config is the dialect's schema.
    """
    sources: list[Source] = [Dotted(document, command.overrides)]
    config = named_config(document, command, context)
    if config is not None and isinstance(config.root, Mapping):
        sources.append(Source(config, config.root))
    return sources


def named_config(document: Document, command: Command, context: Context) -> Document | None:
    """The YAML that Hydra's two flags name, looked for from the project root and from the script's folder."""
    flags = FlagSource(document, command.options)
    name, folder = (_text(flags.find(flag)) for flag in ("config_name", "config_path"))
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


def file_sources(document: Document, context: Context) -> list[Source]:
    """The settings of a YAML on its own: the words of the one line known to launch it go first, as Hydra has it."""
    root = document.root
    sources: list[Source] = [Source(document, root)] if isinstance(root, Mapping) else []
    lines = context.launches(document)
    if len(lines) == 1:
        script, command = lines[0]
        return [Dotted(script, command.overrides), *sources]
    return sources


def _text(place: Place | None) -> str | None:
    if place is None or not isinstance(place.node, Scalar):
        return None
    return str(place.node.value)
