"""The measurements, in order: context stages, usable memory, then a sweep of training steps."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from vramlint.probe.backend import Backend, Card, Meters, NotHere, OutOfMemory, Setting

SCHEMA = "vramlint.probe/1"

STEPS = 3
"""Training steps a setting: the second is the steady state, the third shows that it is."""


class Plan(NamedTuple):
    """What to sweep over. ``models`` are (name, size) pairs of ``vramlint.probe.workloads``."""

    models: tuple[tuple[str, int], ...] = (("resnet50", 224), ("resnet18", 224), ("unet", 512), ("decoder", 1024))
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    precisions: tuple[str, ...] = ("fp32", "fp16", "bf16")
    checkpointing: tuple[bool, ...] = (False, True)
    optimizers: tuple[str, ...] = ("sgd", "adamw")
    lines: tuple[tuple[Setting, ...], ...] = ()
    """Settings spelled out, each line at growing batches; where there are any, the others are of no matter."""


@dataclass(frozen=True, slots=True)
class Row:
    """One setting and what it took; the meters are None where the card could not hold it."""

    setting: Setting
    measured: Meters | None


@dataclass(frozen=True, slots=True)
class Stage:
    """What the meters showed after a stage of start-up, and what the card used beyond torch's reserve."""

    name: str
    meters: Meters
    outside_torch_bytes: int


def stages(backend: Backend) -> list[Stage]:
    """The card before the context, with it, with cuBLAS, cuDNN, and NCCL where there is a second card.

    ``outside_torch_bytes`` is the context's.
    """
    idle = backend.idle_bytes()
    found = [Stage("before", Meters(0, 0, idle), 0)]
    steps = (
        ("context", backend.start),
        ("cublas", backend.multiply),
        ("cudnn", backend.convolve),
        ("nccl", backend.communicate),
    )
    for name, step in steps:
        meters = step()
        if meters is not None:
            found.append(Stage(name, meters, meters.device_bytes - meters.reserved_bytes - idle))
    return found


def settings(plan: Plan) -> Iterator[list[Setting]]:
    """Each line of the sweep: the same setting at growing batches."""
    if plan.lines:
        yield from map(list, plan.lines)
        return
    for model, size in plan.models:
        for precision in plan.precisions:
            for checkpointing in plan.checkpointing:
                for optimizer in plan.optimizers:
                    yield [Setting(model, batch, size, precision, checkpointing, optimizer) for batch in plan.batches]


def sweep(
    backend: Backend, plan: Plan, say: Callable[[str], None], in_time: Callable[[], bool] = lambda: True
) -> Iterator[Row]:
    """Trains every setting; a line ends at the first batch that the card cannot hold, all where time is up."""
    for line in settings(plan):
        for setting in line:
            if not in_time():
                say("time is up: the settings that follow are left out")
                return
            try:
                row = _measure(backend, setting)
            except NotHere as error:
                say(f"{setting.model} left out: {error}")
                break
            say(_said(row))
            yield row
            if row.measured is None:
                break


def _measure(backend: Backend, setting: Setting) -> Row:
    try:
        return Row(setting, backend.train(setting, STEPS))
    except OutOfMemory:
        return Row(setting, None)


def probe(
    backend: Backend,
    plan: Plan,
    date: str,
    say: Callable[[str], None],
    *,
    in_time: Callable[[], bool] = lambda: True,
    keep: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """All measurements as the result file's JSON form. ``date`` is written down; ``say`` hears the progress.

    ``keep`` is given the result so far after every setting: a sweep that is cut short has lost nothing. It ends where
    ``in_time`` says no.
    """
    card = backend.card()
    say(f"{card.name}, driver {card.driver}, torch {card.torch}")
    found = stages(backend)
    usable = backend.largest_bytes()
    say(f"usable {usable / 2**30:.2f} GiB of {card.total_bytes / 2**30:.2f} GiB")
    result = _result(card, found, usable, (), date)
    keep(result)
    for row in sweep(backend, plan, say, in_time):
        result["rows"].append(_row(row))
        keep(result)
    return result


def _result(card: Card, found: Iterable[Stage], usable: int, rows: Iterable[Row], date: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "date": date,
        "card": card._asdict(),
        "usable_bytes": usable,
        "stages": [{"name": s.name, **s.meters._asdict(), "outside_torch_bytes": s.outside_torch_bytes} for s in found],
        "rows": [_row(row) for row in rows],
    }


def _row(row: Row) -> dict[str, Any]:
    setting = {**row.setting._asdict(), "use": use_of(row.setting.model)}
    measured = row.measured
    if measured is None:
        return {**setting, "out_of_memory": True}
    slack = measured.reserved_bytes - measured.allocated_bytes
    return {**setting, "out_of_memory": False, **measured._asdict(), "slack_bytes": slack}


def use_of(model: str) -> str:
    """What a model's rows are for: to ``set`` constants from, or to ``check`` them with. All rows of one are together.

    By a checksum of the name: decided before anything was measured, the same for everybody.
    """
    return "set" if zlib.crc32(model.encode()) % 2 else "check"


def _said(row: Row) -> str:
    s = row.setting
    text = f"{s.model} {s.batch}x{s.size} {s.precision} {s.optimizer}{' checkpointing' if s.checkpointing else ''}: "
    if row.measured is None:
        return text + "out of memory"
    gib = [f"{value / 2**30:.2f}" for value in row.measured]
    return text + f"allocated {gib[0]}, reserved {gib[1]}, device {gib[2]} GiB"
