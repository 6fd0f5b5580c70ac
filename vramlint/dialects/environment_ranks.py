"""How many ranks a command of ms-swift or XTuner starts: ``NPROC_PER_NODE`` and ``NNODES`` in front of it."""

from __future__ import annotations

from collections.abc import Sequence

from vramlint.dialects.launch import World
from vramlint.dialects.places import Place, Source, location
from vramlint.dialects.reading import plain_value
from vramlint.plan import Fact, Origin, default, unknown
from vramlint.sources.model import Command, Document


def process_ranks(document: Document, command: Command, source: str, files: Sequence[Source] = ()) -> World | None:
    """What ``NPROC_PER_NODE`` and ``NNODES`` in front of a command start; None where a launcher does.

    ``files`` are the settings files of the run: what their ``ENV`` says counts where the command's environment is
    silent. Sources: ms-swift 4.6 ``cli/main.py#get_torchrun_args`` and ``#parse_yaml_args`` (``ENV``), XTuner 0.2
    ``entry_point.py#cli``: both go to torchrun, which is left out where neither is set.
    """
    if command.launchers:
        return None
    environment = Source(document, command.environment, Origin.LAUNCH)
    on_each, machines = (environment.find(name) or _of_files(files, name) for name in ("NPROC_PER_NODE", "NNODES"))
    if on_each is None and machines is None:
        note = f"no NPROC_PER_NODE: one process ({source})"
        return World(default(1, note), default(1, note))
    return _started(on_each, machines)


def file_ranks(files: Sequence[Source]) -> World | None:
    """What the ``ENV`` of settings files starts where no command is known; None where it does not say."""
    on_each, machines = (_of_files(files, name) for name in ("NPROC_PER_NODE", "NNODES"))
    return None if on_each is None else _started(on_each, machines)


def _of_files(files: Sequence[Source], name: str) -> Place | None:
    return next((place for file in files if (place := file.find(f"ENV.{name}")) is not None), None)


def _started(on_each: Place | None, machines: Place | None) -> World:
    counts = [1 if place is None else _number(place) for place in (on_each, machines)]
    first = next(place for place in (on_each, machines) if place is not None)
    where = location(first)
    if counts[0] is None or counts[1] is None:
        return World(unknown("NPROC_PER_NODE or NNODES is no constant", where), unknown())
    note = "NPROC_PER_NODE" if counts[1] == 1 else f"NPROC_PER_NODE {counts[0]} on each of {counts[1]} nodes"
    nodes: Fact[int] = (
        default(1, "one node") if machines is None else Fact(counts[1], machines.source.origin, location(machines))
    )
    return World(Fact(counts[0] * counts[1], first.source.origin, where, note), nodes)


def _number(place: Place) -> int | None:
    text = str(plain_value(place.node))
    return int(text) if text.isdecimal() and text.isascii() and int(text) > 0 else None
