"""Settings that the launch line of a config gives over the config's own, where the framework takes them.

Only a single launch line counts: two lines make two runs, and the file alone says what both start from.
"""

from __future__ import annotations

import dataclasses

from vramlint.dialects.model import Context
from vramlint.dialects.places import FlagSource, Place, Source
from vramlint.plan import Origin
from vramlint.sources.model import Command, Document, Entry, Mapping, Scalar, Style


class WordSource(Source):
    """The ``a.b=value`` words of a command line; Hydra's ``+`` and ``++`` in front of a key are left out."""

    def __init__(self, document: Document, mapping: Mapping) -> None:
        super().__init__(document, mapping, Origin.LAUNCH)

    def find(self, dotted: str) -> Place | None:
        """The last word that sets ``dotted``."""
        for entry in reversed(self.mapping.entries):
            if entry.key.lstrip("+") == dotted:
                return Place(self, dotted, _with_null(entry), self.mapping)
        return None


def _with_null(entry: Entry) -> Entry:
    """``key=null`` unsets a key (Hydra 1.3, "Override grammar"); the shell knows it as a word only."""
    node = entry.value
    if not isinstance(node, Scalar) or node.value != "null" or node.style in (Style.SINGLE, Style.DOUBLE):
        return entry
    return dataclasses.replace(entry, value=dataclasses.replace(node, value=None))


def only_launch(document: Document, context: Context) -> tuple[Document, Command] | None:
    """The one launch line that is known to use ``document``, None where there is none or several."""
    launches = context.launches(document)
    return launches[0] if len(launches) == 1 else None


def flag_overrides(document: Document, context: Context) -> list[Source]:
    """``--section.key value`` flags of the launch line (jsonargparse, tyro, a plain ``--key=value`` parser)."""
    found = only_launch(document, context)
    return [] if found is None else [FlagSource(found[0], found[1].options)]


def launch_sources(document: Document, context: Context) -> list[Source]:
    """The settings of a file: flags of the one line that launches it, then the file."""
    own = [Source(document, document.root)] if isinstance(document.root, Mapping) else []
    return [*flag_overrides(document, context), *own]


def word_sources(document: Document, context: Context) -> list[Source]:
    """The settings of a file: ``a.b=value`` words of the one line that launches it, then the file."""
    own = [Source(document, document.root)] if isinstance(document.root, Mapping) else []
    return [*word_overrides(document, context), *own]


def word_overrides(document: Document, context: Context) -> list[Source]:
    """``section.key=value`` words of the launch line (Hydra, OmegaConf)."""
    found = only_launch(document, context)
    return [] if found is None else [WordSource(found[0], found[1].overrides)]
