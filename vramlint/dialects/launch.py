"""How many ranks a run has: from the launcher on the command line, the launch lines of a config, or the target.

Source: reference table section 26 (torchrun, accelerate launch, deepspeed, mpirun, srun).
"""

from __future__ import annotations

from typing import NamedTuple

from vramlint.dialects.model import Context
from vramlint.dialects.places import FlagSource, Place, location
from vramlint.dialects.values import as_count
from vramlint.plan import Fact, Location, Origin, default, derived, unknown
from vramlint.sources.model import Command, Document, Launcher, Mapping, Scalar

_ONE = 1


class World(NamedTuple):
    """Ranks over all nodes, and nodes."""

    ranks: Fact[int]
    nodes: Fact[int]


def world(document: Document, command: Command | None, context: Context, *, alone: str = "") -> World:
    """The world of a run: its launch line, else the lines known to launch ``document``, else the target.

    ``alone`` is the reason why a run that nobody launches in parallel has one rank; without a reason it is UNKNOWN.
    """
    found = _of_command(document, command, context) if command is not None else _of_launches(document, context)
    if found is not None:
        return found
    target = context.target
    if target.world_size is not None:
        source = f"target ({target.source})" if target.source else "target"
        return World(
            derived(target.world_size, f"{source}: {_counted(target.world_size, 'GPU')}"),
            derived(target.nodes or 1, f"{source}: {_counted(target.nodes or 1, 'node')}"),
        )
    if alone:
        return World(default(_ONE, alone), default(_ONE, alone))
    return World(unknown("no launch line and no --gpus"), unknown("no launch line and no --nodes"))


def device_count(value: object) -> int | None:
    """GPUs named by ``device``: ``0`` is one, ``0,1`` and ``[0, 1]`` are two, ``-1`` is one idle GPU; None for none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, list):
        return len(value) or None
    words = [word.strip() for word in str(value).strip("[]()").split(",") if word.strip()]
    if not words or words[0] in ("cpu", "mps"):
        return None
    return len(words)


def _of_launches(document: Document, context: Context) -> World | None:
    """The world of the launch lines that use ``document``; disagreeing lines make it UNKNOWN."""
    worlds = [found for at, line in context.launches(document) if (found := _of_command(at, line, context)) is not None]
    if not worlds:
        return None
    values = {found.ranks.value for found in worlds}
    if len(values) == 1:
        return worlds[0]
    lines = ", ".join(f"{found.ranks.value} in {_where(found.ranks)}" for found in worlds)
    return World(unknown(f"launch lines disagree: {lines}"), unknown("launch lines disagree"))


def _of_command(document: Document, command: Command, context: Context) -> World | None:
    for launcher in reversed(command.launchers):
        found = _of_launcher(document, launcher, context)
        if found is not None:
            return found
    return None


def _of_launcher(document: Document, launcher: Launcher, context: Context) -> World | None:
    flags = FlagSource(document, launcher.options)
    name = launcher.name
    if "torchrun" in name or "torch.distributed" in name or name.startswith("tune"):
        return _per_node(flags, ("nproc_per_node",), ("nnodes",), context, none_means_one=True)
    if name.startswith("accelerate"):
        return _accelerate(flags, context)
    if name.startswith("deepspeed"):
        return _deepspeed(flags, context)
    if name.startswith(("mpirun", "mpiexec", "horovodrun")):
        return _total(flags, ("np", "n"), ())
    if name.startswith("srun"):
        return _srun(document, launcher, context)
    return None


def _srun(document: Document, launcher: Launcher, context: Context) -> World | None:
    """The options of ``srun`` over those of the job's ``#SBATCH`` lines; one task a node where neither counts tasks.

    Source: Slurm 24.05, ``srun`` manual (``--ntasks``: "The default is one task per node").
    """
    asked = document.batch_directives
    entries = [*(asked.entries if asked is not None else ()), *launcher.options.entries]
    flags = FlagSource(document, Mapping(launcher.options.span, entries, "options"))
    own = FlagSource(document, launcher.options)
    if own.find("ntasks") is None and own.find("n") is None:
        per_node = _per_node(flags, ("ntasks_per_node",), ("nodes", "N"), context)
        if per_node is not None:
            return per_node
    return _total(flags, ("ntasks", "n"), ("nodes", "N")) or _total(flags, ("nodes", "N"), ("nodes", "N"))


def _accelerate(flags: FlagSource, context: Context) -> World | None:
    """``--num_processes`` counts ALL machines; a config file gives it where the flag does not."""
    found = _total(flags, ("num_processes",), ("num_machines",))
    if found is not None:
        return found
    named = flags.find("config_file")
    if named is None or not isinstance(named.node, Scalar):
        return None
    config = context.document(str(named.node.value))
    if config is None:
        return None
    if not isinstance(config.root, Mapping):
        return None
    return _total(FlagSource(config, config.root), ("num_processes",), ("num_machines",))


def _deepspeed(flags: FlagSource, context: Context) -> World | None:
    """``--include host:0,1@other:0,1`` names the GPUs; else ``--num_gpus`` on each of ``--num_nodes``."""
    include = flags.find("include")
    if include is not None and isinstance(include.node, Scalar):
        hosts = [host for host in str(include.node.value).split("@") if ":" in host]
        ranks = sum(len(host.split(":", 1)[1].split(",")) for host in hosts)
        if ranks:
            where = location(include)
            return World(Fact(ranks, Origin.LAUNCH, where), Fact(len(hosts), Origin.LAUNCH, where))
    return _per_node(flags, ("num_gpus",), ("num_nodes",), context)


def _per_node(
    flags: FlagSource, ranks: tuple[str, ...], nodes: tuple[str, ...], context: Context, *, none_means_one: bool = False
) -> World | None:
    place = _first(flags, ranks)
    if place is None and not none_means_one:
        return None
    on_each = _count(place)
    if place is not None and on_each is None:
        return _symbolic(place, _count(_first(flags, nodes)) or 1, context)
    node_count, node_fact = _nodes(flags, nodes)
    where = location(place) if place is not None else None
    if node_count is None:
        return World(unknown("the number of nodes is no constant", where), node_fact)
    note = "" if node_count == 1 else f"{on_each or 1} on each of {node_count} nodes"
    if place is None:
        return World(default(node_count, "torchrun starts one process a node"), node_fact)
    return World(Fact((on_each or 1) * node_count, Origin.LAUNCH, where, note), node_fact)


def _total(flags: FlagSource, ranks: tuple[str, ...], nodes: tuple[str, ...]) -> World | None:
    place = _first(flags, ranks)
    if place is None:
        return None
    count = _count(place)
    where = location(place)
    fact: Fact[int] = unknown(f"{place.name} is no constant", where) if count is None else _launched(count, where)
    return World(fact, _nodes(flags, nodes)[1])


def _symbolic(place: Place, nodes: int, context: Context) -> World:
    """``--nproc_per_node=gpu`` is every GPU of the machine."""
    word = place.node.value if isinstance(place.node, Scalar) else None
    gpus = context.target.gpus
    if word in ("gpu", "auto") and gpus is not None:
        count: Fact[int] = derived(gpus * nodes, f"{place.name} {word}: {gpus} GPUs of the target")
        return World(count, derived(nodes, "nodes of the launch line"))
    return World(unknown(f"{place.name} is no constant", location(place)), unknown())


def _nodes(flags: FlagSource, names: tuple[str, ...]) -> tuple[int | None, Fact[int]]:
    place = _first(flags, names)
    if place is None:
        return 1, default(1, "one node")
    count = _count(place)
    where = location(place)
    return count, unknown(f"{place.name} is no constant", where) if count is None else _launched(count, where)


def _first(flags: FlagSource, names: tuple[str, ...]) -> Place | None:
    return next((place for name in names if (place := flags.find(name)) is not None), None)


def _count(place: Place | None) -> int | None:
    """A positive number; None for a word, a range (``1:4`` elastic nodes) or an unknown."""
    if place is None or not isinstance(place.node, Scalar):
        return None
    try:
        value = as_count(place.node.value)
    except ValueError:
        return None
    return value if isinstance(value, int) and value > 0 else None


def _launched(count: int, where: Location) -> Fact[int]:
    return Fact(count, Origin.LAUNCH, where)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _where(fact: Fact[int]) -> str:
    return f"{fact.location.path}:{fact.location.line}" if fact.location else "a launch line"
