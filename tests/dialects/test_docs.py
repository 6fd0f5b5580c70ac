"""Every dialect module documents itself with an example; the example is read and must say what the docstring says."""

from __future__ import annotations

import importlib
import re

import pytest

from tests.dialects.support import Surroundings, reading
from vramlint.dialects import registry

_EXAMPLE = re.compile(r"Example \(``(?P<path>[^`]+)``\)[^`]*?:\n\n```\w+\n(?P<text>.*?)```\n", re.DOTALL)
_PLAN = re.compile(r"```plan(?: gpus=(?P<gpus>\d+))?\n(?P<lines>.*?)```", re.DOTALL)
_LINE = re.compile(r"^(?P<name>\w+): (?P<value>.+) (?P<origin>file|launch|default|derived|unknown)(?: (?P<line>\d+))?$")

MODULES = [row.module for row in registry.rows() if row.module]


@pytest.mark.parametrize("module", MODULES)
def test_the_example_of_the_docstring(module: str) -> None:
    text = importlib.import_module(f"vramlint.dialects.{module}").__doc__ or ""
    example, plan = _EXAMPLE.search(text), _PLAN.search(text)
    assert example is not None
    assert plan is not None
    gpus = int(plan["gpus"]) if plan["gpus"] else None
    found = reading(example["path"], example["text"], Surroundings(gpus=gpus))
    lines = plan["lines"].strip().split("\n")
    assert len(lines) >= 4
    assert [_told(found.plan.fact(line.split(":")[0]), line.split(":")[0]) for line in lines] == lines


def _told(fact: object, name: str) -> str:
    from vramlint.plan import Fact

    assert isinstance(fact, Fact)
    value = str(fact.value).lower() if isinstance(fact.value, bool) else str(fact.value)
    where = f" {fact.location.line}" if fact.location else ""
    return f"{name}: {value} {fact.origin.value}{where}"
