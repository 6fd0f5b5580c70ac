"""What the dialects of training scripts share: a command's flags over its script's own defaults, and flags to add."""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from typing import NamedTuple, TypeVar

from vramlint.dialects.draft import Draft, title_of
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context
from vramlint.dialects.places import FlagSource, Place, Source, flags, location
from vramlint.dialects.reading import Schema, Settings, plain_value, read_settings
from vramlint.dialects.scripts import Script, script_of
from vramlint.dialects.values import as_count
from vramlint.plan import Fact, default, unknown
from vramlint.sources.model import Command, Document, Mapping

S = TypeVar("S", bound=Schema)


class Run(NamedTuple):
    """A claimed command or settings file, the sources of its settings and the draft of its plan."""

    draft: Draft
    document: Document
    command: Command | None
    script: Script | None
    sources: list[Source]

    def settings(self, schema: type[S]) -> Settings[S]:
        """The settings that ``schema`` declares."""
        return read_settings(schema, self.sources)

    def offer_flags(self, known: MappingType[str, str], *, of_framework: bool = False) -> None:
        """Let repairs add the flag of a fact: one its script declares or, where the program is the framework's own
        module, one that the framework has."""
        if self.command is None:
            return
        for fact, name in known.items():
            flag = self.script.flag(name.lstrip("-").replace("-", "_")) if self.script is not None else None
            if flag is None and of_framework and self.script is None:
                flag = name
            if flag is not None and not self.draft.plan.fact(fact).spelled:
                self.draft.offer_insert(fact, self.document, self.command.options, flag)


def open_run(
    claim: Claim, document: Document, context: Context, short: MappingType[str, tuple[str, ...]] | None = None
) -> Run:
    """The run of a claim. ``short`` gives the long names of one-letter flags, for scripts that are not at hand."""
    command = claim.subject if isinstance(claim.subject, Command) else None
    if command is None:
        root = document.root
        own = [Source(document, root)] if isinstance(root, Mapping) else []
        return Run(Draft(claim, document), document, None, None, own)
    script = script_of(document, command, context)
    draft = Draft(claim, document, title_of(document, command))
    if script is None:
        return Run(draft, document, command, None, flags(document, command, dict(short or {})))
    draft.use(script.document)
    same = {**(short or {}), **script.same}
    return Run(draft, document, command, script, [*flags(document, command, same), script.defaults])


def world_of(run: Run, context: Context, alone: str = "") -> World:
    """The ranks of the run: its launcher, the lines that launch its file, the target."""
    return world(run.document, run.command, context, alone=alone if run.command is not None else "")


def per_node(run: Run, gpus: str, nodes: str, assumed: tuple[int, int], source: str) -> World:
    """Ranks that a submitting script asks for: ``--ngpus`` on each of ``--nodes``, ``assumed`` where it is not told."""
    found = [_number(run, name) for name in (gpus, nodes)]
    counts = [assumed[index] if place is None else _count(place) for index, place in enumerate(found)]
    if counts[0] is None or counts[1] is None:
        return World(unknown("the number of GPUs is no constant"), unknown())
    total = counts[0] * counts[1]
    place = found[0] or found[1]
    note = f"{counts[0]} GPUs on each of {counts[1]} nodes"
    if place is None:
        return World(default(total, f"{source}: {note}"), default(counts[1], source))
    ranks = Fact(total, place.source.origin, location(place), note)
    return World(ranks, Fact(counts[1], place.source.origin, location(place)))


def _number(run: Run, name: str) -> Place | None:
    source = FlagSource(run.document, run.command.options) if run.command is not None else None
    return source.find(name) if source is not None else None


def _count(place: Place) -> int | None:
    try:
        value = as_count(plain_value(place.node))
    except ValueError:
        return None
    return value if isinstance(value, int) and value > 0 else None


__all__ = ["Run", "open_run", "per_node", "world_of"]
