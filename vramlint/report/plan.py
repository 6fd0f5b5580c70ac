"""The plan of each run as text: every known fact, where it comes from, and the names of the unknown ones."""

from __future__ import annotations

from typing import Any

from vramlint.plan import DecoderShape, Fact, Origin, TrainingPlan
from vramlint.report.silence import no_run
from vramlint.report.text import View, display_width, printable, shorten, wrap
from vramlint.results import CheckResult

_TITLES = {"grad_checkpointing": "checkpointing", "workers_per_rank": "workers per rank", "ema": "EMA"}
_NAME_WIDTH = 20
_VALUE_WIDTH = 14


def render(result: CheckResult, view: View) -> str:
    """One block a run. Facts keep the order of the plan, so that two plans can be read side by side."""
    if not result.runs:
        return f"{no_run(result.files_seen)}\n"
    return "\n".join(_plan(run.reading.plan, view) for run in result.runs)


def _plan(plan: TrainingPlan, view: View) -> str:
    known = [(name, fact) for name, fact in plan.facts() if fact.known]
    unknown = [title(name) for name, fact in plan.facts() if not fact.known]
    heading = f"{plan.path}  {plan.title}".rstrip()
    lines = [f"{view.bold(printable(heading))}  {view.dim(plan.dialect)}"]
    lines.extend(_fact(name, fact, plan.path, view) for name, fact in known)
    for number, line in enumerate(wrap(", ".join(unknown), view.width - _NAME_WIDTH - 3)):
        lines.append(view.dim(f"  {'' if number else 'unknown':<{_NAME_WIDTH}} {line}"))
    return "\n".join(lines) + "\n"


def _fact(name: str, fact: Fact[Any], path: str, view: View) -> str:
    value = printable(value_words(fact.value))
    origin = shorten(printable(_origin(fact, path)), max(view.width - _NAME_WIDTH - _VALUE_WIDTH - 4, 20))
    padding = " " * max(_VALUE_WIDTH - display_width(value), 1)
    return f"  {title(name):<{_NAME_WIDTH}} {value}{padding} {view.dim(origin)}"


def title(name: str) -> str:
    """A fact's name in words."""
    return _TITLES.get(name, name.replace("_", " "))


def value_words(value: Any) -> str:
    """A fact's value for people: ``yes``, ``65,536``, ``12 layers of 768``."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float() if value.is_integer():
            return f"{value:,.0f}"
        case DecoderShape():
            return f"{value.layers} layers of {value.hidden}"
        case _:
            return str(value)


def _origin(fact: Fact[Any], path: str) -> str:
    place = fact.location
    where = "" if place is None else f"line {place.line}" if place.path == path else f"{place.path}:{place.line}"
    if fact.origin is Origin.FILE:
        return ", ".join(part for part in (where, fact.note) if part) or "file"
    if fact.origin is Origin.LAUNCH:
        return f"{where}, launch line" if where else "launch line"
    return ": ".join(part for part in (fact.origin.value, fact.note or where) if part)
