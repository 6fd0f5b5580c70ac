"""Observations: peaks that somebody measured, and the plans they belong to; one JSON line each.

``.vramlint/observations.jsonl`` of a repository holds them, and settings may (``[[tool.vramlint.models]]``). An
observation belongs to every plan of the same *fingerprint*: what decides memory except the workload, so that a point
at batch 2 says something of batch 8, and of the accumulation that follows. How they change an estimate:
``vramlint.memory.correction``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from vramlint.errors import SettingsError
from vramlint.plan import Fact, ImageSize, Origin, TrainingPlan, revise

FILE = ".vramlint/observations.jsonl"
"""Where a repository keeps its observations, relative to its root."""

SCHEMA = 1
"""Version of a line; a line of another version is refused."""

_DIGITS = 16
_FACTS = (
    "model", "model_shape", "task", "precision", "grad_checkpointing", "optimizer", "ema", "sharding", "adapter",
    "adapter_rank", "data_parallel", "num_classes", "num_queries", "queue_size", "multi_scale", "implementation",
    "adapter_targets", "adapter_dropout", "double_quantization", "packing", "fused_loss", "model_parallel",
    "momentum", "projection_dim", "largest_image_size", "mask_head", "low_precision_weights", "sharded_accumulation",
)  # fmt: skip
"""Facts that decide memory, the workload (batch, image size, sequence length) apart. Changing this list, or how a
value is written, changes every fingerprint: raise SCHEMA then."""


class Meter(StrEnum):
    """Which number was read: torch's ``max_memory_allocated``, its ``max_memory_reserved``, or nvidia-smi."""

    ALLOCATED = "allocated"
    RESERVED = "reserved"
    DEVICE = "device"


class Observation(NamedTuple):
    """One measured peak of one rank, in bytes, at a workload.

    ``plan``: the fingerprint it belongs to, empty where the settings' pattern decides. ``micro_batch`` is per rank;
    ``image_size`` or ``seq_len`` may be None: then the plan's own. ``source`` says in words who measured, ``of`` which
    file it was measured on; both are for people.
    """

    micro_batch: int
    bytes: int
    meter: Meter = Meter.DEVICE
    image_size: ImageSize | None = None
    seq_len: int | None = None
    gpu: str = ""
    date: str = ""
    source: str = ""
    of: str = ""
    plan: str = ""


class Observed(NamedTuple):
    """The observations that hold for one plan: the value of its fact ``observations``."""

    points: tuple[Observation, ...]

    def __str__(self) -> str:
        return f"{len(self.points)} measured point{'' if len(self.points) == 1 else 's'}"


def plan_fingerprint(plan: TrainingPlan) -> str:
    """16 hexadecimal digits that two plans share when they differ in nothing but batch, image size and length.

    A plan whose model is unknown is told apart by its file and title as well.
    """
    parts = [str(SCHEMA)]
    parts.extend(f"{name}={_spelled(plan.fact(name).value)}" for name in _FACTS)
    if plan.model.value is None and plan.model_shape.value is None:
        parts.extend((plan.path.replace("\\", "/"), plan.title))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def _spelled(value: object) -> str:
    if isinstance(value, str):
        return value.strip().lower()
    return "" if value is None or value is False else str(value)


def observation_of(
    plan: TrainingPlan, bytes_: int, meter: Meter, *, gpu: str = "", date: str = "", source: str = ""
) -> Observation:
    """A peak of ``bytes_`` measured on a run of ``plan``. Raises SettingsError where the plan's batch is unknown."""
    if not plan.micro_batch.value:
        raise SettingsError("an observation needs the batch size per GPU, which is unknown", path=plan.path)
    return Observation(
        plan.micro_batch.value, bytes_, meter, plan.image_size.value, plan.seq_len.value,
        gpu, date, source, plan.path, plan_fingerprint(plan),
    )  # fmt: skip


def line_of(observation: Observation) -> str:
    """The observation as one JSON line of :data:`FILE`, its newline included."""
    data = {"schema": SCHEMA, **observation._asdict()}
    size = observation.image_size
    data["image_size"] = None if size is None else [size.height, size.width]
    return json.dumps({key: value for key, value in data.items() if value not in ("", None)}) + "\n"


def read_observations(text: str, path: str) -> tuple[Observation, ...]:
    """The observations in the lines of ``text``. Raises SettingsError, with the line, for one that cannot be read."""
    lines = enumerate(text.splitlines(), 1)
    return tuple(_read_line(line, path, number) for number, line in lines if line.strip())


def _read_line(line: str, path: str, number: int) -> Observation:
    try:
        data = json.loads(line)
        if not isinstance(data, dict):
            raise ValueError("expected an object")
        if data.get("schema") != SCHEMA:
            raise ValueError(f"schema {data.get('schema')!r}, this vramlint reads {SCHEMA}")
        return observation_from(data)
    except (ValueError, TypeError) as error:
        help = "Write observations with `vramlint observe`, or delete the line."
        raise SettingsError(f"no observation: {error}", path=path, line=number, help=help) from error


def observation_from(data: Mapping[str, Any]) -> Observation:
    """An observation from its JSON form. Raises ValueError, in words, for a value missing or not positive."""
    return Observation(
        micro_batch=_positive(data, "micro_batch"),
        bytes=_positive(data, "bytes"),
        meter=_meter(data.get("meter", Meter.DEVICE)),
        image_size=_image_size(data.get("image_size")),
        seq_len=None if data.get("seq_len") is None else _positive(data, "seq_len"),
        **{name: str(data.get(name, "")) for name in ("gpu", "date", "source", "of", "plan")},
    )


def _positive(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} = {value!r} is no whole number of at least 1")
    return value


def _meter(value: object) -> Meter:
    try:
        return Meter(str(value))
    except ValueError:
        raise ValueError(f"meter = {value!r}, expected {', '.join(Meter)}") from None


def _image_size(value: object) -> ImageSize | None:
    if value is None:
        return None
    sides = [value, value] if isinstance(value, int) else value
    if not isinstance(sides, list) or len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise ValueError(f"image_size = {value!r}, expected pixels as 512 or [height, width]")
    return ImageSize(*sides)


def attach(plan: TrainingPlan, observations: Iterable[Observation]) -> None:
    """Gives ``plan`` the fact ``observations``: those made of it, and those without a plan of their own."""
    mark = plan_fingerprint(plan)
    points = tuple(each._replace(plan=mark) for each in observations if each.plan in ("", mark))
    if points:
        plan.extra["observations"] = Fact(Observed(points), Origin.OBSERVED, note=points[0].source or FILE)


def points_for(plan: TrainingPlan) -> tuple[Observation, ...]:
    """The attached observations that hold for the plan as it is now: a changed precision, say, leaves none."""
    observed = plan.extra.get("observations")
    if observed is None or not isinstance(observed.value, Observed):
        return ()
    mark = plan_fingerprint(plan)
    return tuple(point for point in observed.value.points if point.plan == mark)


def at(plan: TrainingPlan, point: Observation) -> TrainingPlan:
    """The plan at the workload of ``point``."""
    values: dict[str, object] = {"micro_batch": point.micro_batch}
    if point.image_size is not None:
        values["image_size"] = point.image_size
    if point.seq_len is not None:
        values["seq_len"] = point.seq_len
    return revise(plan, values)
