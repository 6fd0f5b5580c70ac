"""A training script with flags of its own, on a command line.

The batch is per process, as in every loop around a ``DistributedSampler``; the launcher says how many processes::

    effective batch = --batch_size x processes x --gradient_accumulation_steps

Example (``train.sh``):

```shell
torchrun --nproc_per_node=2 train.py --model hrnet --image_size 1024 1024 --batch_size 3 \\
    --gradient_accumulation_steps 4 --num_workers 4 --pin_memory False --mixed_precision
```

```plan
micro_batch: 3 launch 1
accumulation: 4 launch 2
world_size: 2 launch 1
effective_batch: 24 derived
image_size: 1024x1024 launch 1
precision: fp16 launch 2
pin_memory: false launch 2
workers_per_rank: 4 launch 2
model: hrnet launch 1
```

When the script is a file of the repository, its ``add_argument`` defaults fill what the command leaves out (origin
``default``), and repairs may add a flag that it declares. Without the script, a flag that is not there stays UNKNOWN,
and ``-b 16`` and ``-j 8`` are batch and workers, as in the scripts that people start from.

Sources for the short flags: pytorch/examples 2024 ``imagenet/main.py``, torchvision 0.28 ``references/*/train.py``,
timm 1.0 ``train.py``: all three declare ``-b, --batch-size`` and ``-j, --workers``.
"""

from __future__ import annotations

from vramlint.dialects import generic
from vramlint.dialects.draft import EDITABLE, Draft, title_of
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import FlagSource, Place, Source, flags, location
from vramlint.dialects.reading import plain_value
from vramlint.dialects.scripts import Script, command_sources, script_of
from vramlint.dialects.signature import normal_name
from vramlint.dialects.spellings import SPELLINGS
from vramlint.dialects.values import FALSE_WORDS, as_count, as_flag
from vramlint.plan import Fact, Origin, unknown
from vramlint.sources.model import Command, Document, Entry, Scalar, Style, plain

NAME = "argparse_trainer"
TITLE = "a training script with flags of its own"

_SHORT = {"-b": ("batch_size",), "-j": ("workers",)}
_PARALLEL = ("use_ddp", "ddp", "distributed", "multiprocessing_distributed", "use_distributed", "data_parallel", "dp")
"""Switches of scripts that may start their own ranks: without a launcher, their number stays open."""


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one command line."""
    command = claim.subject
    assert isinstance(command, Command)
    script = script_of(document, command, context)
    sources = command_sources(document, command, script)
    if script is None:
        sources = flags(document, command, _short_flags(command))
    draft = Draft(claim, document, title_of(document, command))
    if script is not None:
        draft.use(script.document)
    places = _places(sources)
    if script is not None:
        _texts_read_as_true(draft, places, script)
    silence = _silence(script, context)
    generic.fill(draft, places, _precisions(sources), silence)
    _batch_of_a_node(draft, sources)
    if script is not None:
        _insertable(draft, document, command, script)
    return draft.close(_world(document, command, context, sources))


def _short_flags(command: Command) -> dict[str, tuple[str, ...]]:
    """The usual short flags that are given a count: ``-b resnet50`` names a backbone."""
    return {
        short: names
        for short, names in _SHORT.items()
        if isinstance(value := plain(command.options.get(short)), int) and not isinstance(value, bool)
    }


def _places(sources: list[Source]) -> dict[str, Place]:
    """The first source that spells a fact has it, whichever of the fact's names it uses."""
    places: dict[str, Place] = {}
    for source in sources:
        for fact, names in SPELLINGS.items():
            if fact in places or fact not in generic.Trainer.model_fields:
                continue
            found = [place for name in names if (place := source.find(name)) is not None]
            found = [place for place in found if plain_value(place.node) is not None] or found
            if found:
                places[fact] = found[0]
    return places


def _batch_of_a_node(draft: Draft, sources: list[Source]) -> None:
    """``--multiprocessing-distributed`` marks scripts grown from torch's ImageNet example: the batch is a node's.

    Source: pytorch/examples ``imagenet/main.py``: ``args.batch_size = int(args.batch_size / ngpus_per_node)``.
    """
    if _is_on(sources, "multiprocessing_distributed"):
        reason = "with --multiprocessing-distributed the batch is shared out over the GPUs of a node"
        draft.put("micro_batch", unknown(reason, draft.plan.micro_batch.location))
        draft.slots.pop("micro_batch", None)


def _texts_read_as_true(draft: Draft, places: dict[str, Place], script: Script) -> None:
    """``--pin_memory False`` with ``type=bool``: argparse calls ``bool("False")``, and every non-empty text is true.

    Source: Python's documentation of argparse, "type": "The bool() function is not recommended as a type converter".
    """
    for fact, place in places.items():
        node = place.node
        if place.source.origin is not Origin.LAUNCH or not isinstance(node, Scalar) or node.style is Style.EMPTY:
            continue
        if not script.reads_any_text_as_true(place.entry.key) or str(node.value).lower() not in FALSE_WORDS:
            continue
        meant = Scalar(node.span, node.text, value=True, style=Style.COMPUTED)
        entry = place.entry
        places[fact] = place._replace(entry=Entry(entry.key, entry.key_span, meant, entry.span))
        name = script.document.path.rsplit("/", 1)[-1]
        draft.doubt(
            place,
            f"{place.name} {node.text} is read as True: {name} declares it with type=bool, and any text is true",
            f"Leave {place.name} out, or give it an empty text.",
        )


def _precisions(sources: list[Source]) -> list[Place]:
    """Every precision flag, each from the first source that has it."""
    places: dict[str, Place] = {}
    for source in sources:
        for name in SPELLINGS["precision"]:
            place = source.find(name)
            if place is not None and plain_value(place.node) is not None:
                places.setdefault(name, place)
    return list(places.values())


def _silence(script: Script | None, context: Context) -> generic.Silence:
    """A script that declares no accumulation flag does not accumulate by flag; without the script nobody knows."""
    del context
    if script is None:
        return generic.Silence()
    name = script.document.path.rsplit("/", 1)[-1]
    declared = {normal_name(entry.key) for entry in script.declared.members.entries}

    def silent(fact: str, consequence: str) -> str:
        return "" if declared & set(SPELLINGS[fact]) else f"{name} declares no such flag: {consequence}"

    return generic.Silence(
        silent("accumulation", "one optimizer step a batch"),
        silent("precision", "torch trains in fp32"),
        silent("grad_checkpointing", "torch keeps all activations"),
    )


def _insertable(draft: Draft, document: Document, command: Command, script: Script) -> None:
    """Flags that the script declares and the command leaves out may be added, in the script's own spelling."""
    for fact, names in SPELLINGS.items():
        if fact not in EDITABLE or fact in draft.slots:
            continue
        flag = next((flag for name in names if (flag := script.flag(name)) is not None), None)
        if flag is None or FlagSource(document, command.options).find(flag.lstrip("-")) is not None:
            continue
        declared = script.declared.members.get(flag)
        current = plain_value(declared) if declared is not None else None
        draft.offer_insert(fact, document, command.options, flag, EDITABLE[fact](flag, current))


def _world(document: Document, command: Command, context: Context, sources: list[Source]) -> World:
    """The launcher's ranks, else a number the script is told, else the target, else the one process that is started."""
    own = next((place for name in SPELLINGS["world_size"] if (place := sources[0].find(name)) is not None), None)
    alone = "" if _starts_ranks(sources) else "one process: no launcher on the line"
    found = world(document, command, context, alone="" if own is not None else alone)
    if own is None or found.ranks.known:
        return found
    count = _number(own)
    ranks: Fact[int] = (
        unknown(f"{own.name} is no number", location(own))
        if count is None
        else Fact(count, own.source.origin, location(own), own.name)
    )
    return World(ranks, found.nodes)


def _starts_ranks(sources: list[Source]) -> bool:
    return any(_is_on(sources, name) for name in _PARALLEL)


def _is_on(sources: list[Source], name: str) -> bool:
    """Whether a switch is on; a value that is no switch (``--distributed nccl``) counts as on."""
    place = next((place for source in sources if (place := source.find(name)) is not None), None)
    if place is None or plain_value(place.node) is None:
        return False
    try:
        return as_flag(plain_value(place.node))
    except ValueError:
        return True


def _number(place: Place) -> int | None:
    try:
        value = as_count(plain_value(place.node))
    except ValueError:
        return None
    return value if isinstance(value, int) and value > 0 else None
