"""Framework rows against the frameworks themselves: the failing examples raise the very error that the row's source
quotes, the passing ones do not. The frameworks come from ``.cache/wheels`` (``tools/fetch_wheels.sh``) and run in a
program of their own (``tests/rules/witnesses/stage.py``).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.rules.witnesses.archives import found
from tests.rules.witnesses.quotes import Quoted, quotes_of, says
from tests.rules.witnesses.starts import STARTS
from tests.rules.witnesses.tables import own_rows
from vramlint.constraints import Row

ROOT = Path(__file__).parents[2]
Request = dict[str, Any]
Answer = Mapping[str, str] | None


def reached(framework: str) -> list[Row]:
    return [row for row in own_rows(framework) if row.name not in STARTS[framework].unreached]


def requests(framework: str) -> list[tuple[Row, bool, Request]]:
    """Every example of every row that is reached, and whether it has to fail."""
    return [
        (row, fails, _request(framework, row, settings))
        for row in reached(framework)
        for fails, examples in ((True, row.fails), (False, row.passes))
        for settings in examples
    ]


def _request(framework: str, row: Row, settings: Mapping[str, Any]) -> Request:
    base = row.example.get("base") or {}
    words = {**base, **settings} if "command" in row.example else _nested(settings, base)
    if "call" in row.example:
        words["@call"] = row.example["call"]
    return {"framework": framework, "settings": words, "gpus": row.example.get("gpus", 1)}


def _nested(settings: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """``settings`` with dotted keys laid over ``base``."""
    table: dict[str, Any] = json.loads(json.dumps(base))
    for key, value in settings.items():
        *outer, last = key.split(".")
        at = table
        for part in outer:
            at = at.setdefault(part, {})
        at[last] = value
    return table


def missing(framework: str) -> str:
    """Why a framework cannot be started here; empty where it can."""
    absent = [archive for archive in STARTS[framework].archives if found(archive) is None]
    absent += [name for name in ("numpy", "huggingface_hub", "torchvision") if find_spec(name) is None]
    return f"{', '.join(absent)} missing: run tools/test.sh" if absent else ""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[Answer]]:
    """What each framework says of its requests, all asked at once: torch and transformers are imported once."""
    asked = [(name, request) for name in STARTS if not missing(name) for _, _, request in requests(name)]
    stage = [sys.executable, "-m", "tests.rules.witnesses.stage", str(tmp_path_factory.mktemp("unpacked"))]
    told = subprocess.run(
        stage,
        input=json.dumps([request for _, request in asked]),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    given: dict[str, list[Answer]] = {}
    for (name, _), answer in zip(asked, json.loads(told.stdout), strict=True):
        given.setdefault(name, []).append(answer)
    return given


@pytest.mark.parametrize("framework", STARTS)
def test_the_framework_stops_with_the_error_that_the_row_quotes(
    framework: str, answers: Mapping[str, list[Answer]]
) -> None:
    if missing(framework):
        pytest.skip(missing(framework))
    quotes = quotes_of(framework)
    wrong = [
        complaint
        for (row, fails, request), answer in zip(requests(framework), answers[framework], strict=True)
        if (
            complaint := _complaint(
                row, answer, quotes[row.name], STARTS[framework].stray, fails=fails, settings=request["settings"]
            )
        )
    ]
    assert wrong == []


def _complaint(
    row: Row, answer: Answer, quoted: Quoted, strays: frozenset[str], *, fails: bool, settings: object
) -> str:
    if not fails:
        stopped = answer and (row.name not in strays or says(answer["text"], answer["lines"], quoted))
        return f"{row.name} passes and stops it: {settings}: {answer}" if stopped else ""
    if answer is None:
        return f"{row.name} does not stop it: {settings}"
    return "" if says(answer["text"], answer["lines"], quoted) else f"{row.name}: another error: {answer}"


def test_the_unreached_rows_exist() -> None:
    for framework, start in STARTS.items():
        assert {row.name for row in own_rows(framework)} >= start.unreached
