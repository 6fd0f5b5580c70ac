"""Files of one run that contradict each other: what each says, both places, and what the framework does about it.

A launch line, its config, the DeepSpeed JSON and the accelerate YAML all say how many ranks there are, how often
gradients accumulate and in which precision. Where they differ the run stops, waits for ranks that never come, or does
what only one of them says; the finding names both lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from vramlint.dialects.launch import World
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.overrides import only_launch
from vramlint.dialects.places import FlagSource, Place, Source, location
from vramlint.dialects.reading import Settings, plain_value
from vramlint.findings import Finding
from vramlint.plan import Fact, Location
from vramlint.rule import Confidence, Severity
from vramlint.sources.model import Command, Document, Mapping, Scalar

TRAINER = "transformers raises ValueError at start-up (integrations/deepspeed.py#fill_match)"


class Said(NamedTuple):
    """A setting as one file gives it. ``where`` is None for a default."""

    name: str
    value: object
    where: Location | None

    def __str__(self) -> str:
        place = f"{self.where.path}:{self.where.line}" if self.where is not None else "by default"
        return f"{self.name} {self.value} ({place})"


def said(name: str, fact: Fact[Any]) -> Said:
    """The setting ``name`` as ``fact`` has it."""
    return Said(name, fact.value, fact.location)


def said_at(place: Place) -> Said:
    """The setting at a place."""
    return Said(place.name.lstrip("-"), plain_value(place.node), location(place))


def files_disagree(
    one: Said, other: Said, consequence: str, run: str = "", *, severity: Severity = Severity.ERROR
) -> Finding:
    """VL004 at the first place that is spelled, in the words of both."""
    where = one.where or other.where
    assert where is not None
    label = f"{other.name} {other.value} elsewhere" if one.where is not None else ""
    return Finding(
        "VL004",
        "files-disagree",
        severity,
        Confidence.HIGH,
        where,
        f"{one} and {other}: {consequence}",
        label=label,
        help="Say it in one of them, or the same in both.",
        run=run,
    )


_MATCHED = (
    ("train_micro_batch_size_per_gpu", "micro_batch", "per_device_train_batch_size"),
    ("gradient_accumulation_steps", "accumulation", "gradient_accumulation_steps"),
    ("train_batch_size", "effective_batch", "the effective batch"),
)
_SPELLED = (
    ("optimizer.params.lr", "learning_rate"),
    ("scheduler.params.warmup_max_lr", "learning_rate"),
    ("gradient_clipping", "max_grad_norm"),
    ("optimizer.params.weight_decay", "weight_decay"),
    ("fp16.enabled", "fp16"),
    ("bf16.enabled", "bf16"),
)
"""Pairs that ``trainer_config_process`` compares: a key of the JSON, a setting of TrainingArguments."""


def agreed(reading: Reading, claim: Claim, settings: Settings[Any], sources: list[Source], context: Context) -> Reading:
    """``reading`` with what its DeepSpeed file, accelerate's YAML and Slurm say against it."""
    for source in sources:
        if all(source.document is not known for known in reading.documents):
            reading.documents.append(source.document)
    command = launch_of(claim.subject, reading.document, context)
    with_deepspeed(reading, settings, sources, context)
    with_accelerate(reading, command, context)
    with_slurm(reading, command)
    return reading


def with_deepspeed(reading: Reading, settings: Settings[Any], sources: list[Source], context: Context) -> None:
    """Findings where the DeepSpeed file that a Trainer is handed and its arguments differ.

    Source: transformers 5.24 ``integrations/deepspeed.py#trainer_config_process``: whatever is neither absent nor
    ``auto`` must equal the argument.
    """
    config = _deepspeed_source(settings.places.get("deepspeed"), context)
    if config is None:
        return
    plan = reading.plan
    for key, fact_name, shown in _MATCHED:
        place, fact = config.find(key), plan.fact(fact_name)
        value = _number(place)
        if place is None or value is None or fact.value is None or value == fact.value:
            continue
        theirs = settings.places.get(fact_name)
        name = theirs.name.lstrip("-") if theirs is not None else shown
        spelled = said(name, fact)
        if fact_name == "effective_batch" and plan.micro_batch.location is not None:
            spelled = Said(f"{shown} {plan.effective_batch.note} =", fact.value, plan.micro_batch.location)
        reading.findings.append(files_disagree(spelled, said_at(place), TRAINER, plan.title))
    for key, argument in _SPELLED:
        place = config.find(key)
        theirs = next((found for source in sources if (found := source.find(argument)) is not None), None)
        if place is not None and theirs is not None and _differ(plain_value(place.node), plain_value(theirs.node)):
            reading.findings.append(files_disagree(said_at(theirs), said_at(place), TRAINER, plan.title))


def with_accelerate(reading: Reading, command: tuple[Document, Command] | None, context: Context) -> None:
    """What the YAML that ``accelerate launch --config_file`` names says of sharding, and where it and the run differ.

    Sources: accelerate 1.15 ``utils/dataclasses.py#DeepSpeedPlugin`` (its accumulation goes into the DeepSpeed config
    that transformers compares), ``commands/launch.py`` (flags win over the file).
    """
    found = _accelerate_source(command, context)
    if found is None:
        return
    flags, config = found
    from vramlint.dialects.launched_sharding import take_sharding  # few runs name such a file

    take_sharding(reading, config)
    run = reading.plan.title
    for name in ("num_processes", "num_machines"):
        flag, spelled = flags.find(name), config.find(name)
        if flag is not None and spelled is not None and _differ(plain_value(flag.node), plain_value(spelled.node)):
            told = "the flag wins, and the file says otherwise to whoever reads it"
            finding = files_disagree(said_at(flag), said_at(spelled), told, run, severity=Severity.WARNING)
            reading.findings.append(finding)
    steps, fact = config.find("deepspeed_config.gradient_accumulation_steps"), reading.plan.accumulation
    kind = config.find("distributed_type")
    value = _number(steps) if kind is not None and plain_value(kind.node) == "DEEPSPEED" else None
    if steps is not None and value is not None and fact.value not in (None, value):
        mine = said("gradient_accumulation_steps", fact)
        reading.findings.append(files_disagree(mine, said_at(steps), TRAINER, run))
    _precisions(reading, config, run)


def _precisions(reading: Reading, config: Source, run: str) -> None:
    """``mixed_precision`` of the launcher is a default that the Trainer's own switch replaces, silently."""
    place, fact = config.find("mixed_precision"), reading.plan.precision
    kind = str(fact.value).removeprefix("pure-")
    if place is None or fact.location is None or kind not in ("bf16", "fp16"):
        return
    value = plain_value(place.node)
    if value in ("bf16", "fp16") and value != kind:
        told = "the Trainer's own switch wins, and what accelerate prepares is made for the other"
        mine = Said("precision", kind, fact.location)
        reading.findings.append(files_disagree(mine, said_at(place), told, run, severity=Severity.WARNING))


def with_slurm(reading: Reading, command: tuple[Document, Command] | None) -> None:
    """Findings where ``#SBATCH`` lines and a launcher's own numbers differ.

    Sources: Slurm 24.05 ``sbatch`` manual; torch 2.13 ``distributed/run.py`` (the rendezvous waits for ``--nnodes``).
    """
    options = command[0].batch_directives if command is not None else None
    if command is None or options is None:
        return
    document, line = command
    asked = FlagSource(document, options)
    nodes = asked.find("nodes") or asked.find("N")
    for launcher in line.launchers:
        flags = FlagSource(document, launcher.options)
        for name in ("nnodes", "num_machines"):
            place = flags.find(name)
            mine, theirs = _number(place), _number(nodes)
            if place is None or nodes is None or mine is None or theirs is None or mine == theirs:
                continue
            more = "waits for nodes that never come" if mine > theirs else "leaves nodes without work"
            told = f"{launcher.name} {more}"
            reading.findings.append(files_disagree(said_at(place), said_at(nodes), told, reading.plan.title))


def with_devices(reading: Reading, place: Place | None, world: World, devices: int | None) -> None:
    """Lightning's ``devices`` and ``num_nodes`` beside a launcher that starts another number of ranks.

    Source: Lightning 2.5 ``fabric/plugins/environments/torchelastic.py#validate_settings`` and ``slurm.py``.
    """
    ranks = world.ranks
    if place is None or devices is None or ranks.value in (None, devices) or ranks.location is None:
        return
    told = "Lightning raises ValueError at start-up"
    mine = said_at(place)
    reading.findings.append(files_disagree(mine, said("the launcher's ranks", ranks), told, reading.plan.title))


def launch_of(subject: object, document: Document, context: Context) -> tuple[Document, Command] | None:
    """The launch line of a run: the claimed command, or the one line that uses the file."""
    return (document, subject) if isinstance(subject, Command) else only_launch(document, context)


def _deepspeed_source(place: Place | None, context: Context) -> Source | None:
    from vramlint.dialects.language import named_beside

    if place is None:
        return None
    if isinstance(place.node, Mapping):
        return Source(place.source.document, place.node)
    value = plain_value(place.node)
    config = named_beside(place, value, context) if isinstance(value, str) and value else None
    return Source(config, config.root) if config is not None and isinstance(config.root, Mapping) else None


def _accelerate_source(command: tuple[Document, Command] | None, context: Context) -> tuple[FlagSource, Source] | None:
    for document, launcher in _launchers(command):
        flags = FlagSource(document, launcher)
        place = flags.find("config_file")
        node = place.node if place is not None else None
        config = context.document(str(node.value)) if isinstance(node, Scalar) else None
        if config is not None and isinstance(config.root, Mapping):
            return flags, Source(config, config.root)
    return None


def _launchers(command: tuple[Document, Command] | None) -> Iterator[tuple[Document, Mapping]]:
    for launcher in command[1].launchers if command is not None else ():
        if command is not None and launcher.name.startswith("accelerate"):
            yield command[0], launcher.options


def _number(place: Place | None) -> int | None:
    value = plain_value(place.node) if place is not None else None
    value = int(value) if isinstance(value, str) and value.isdecimal() else value
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _differ(one: object, other: object) -> bool:
    """Whether two values are known and not the same; texts that are numbers count as numbers."""
    if None in (one, other) or "auto" in (one, other):
        return False
    try:
        return float(one) != float(other)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
