"""Starts frameworks on examples and says what they raise: a program of its own, for what it imports and stands in for.

Reads from standard input a JSON list of requests (``framework``, ``settings``, ``gpus``), one framework's together, and
writes a list of answers: None, or the error's class, its text and the lines of the framework that raised it. Stand-ins
of one framework would be in another's way, so each framework runs in a fork of a process that has imported torch.
"""

from __future__ import annotations

import contextlib
import io
import json
import linecache
import os
import sys
import tempfile
import traceback
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.rules.witnesses.archives import unpacked
from tests.rules.witnesses.place import Place
from tests.rules.witnesses.stand_ins import stand_in_for
from tests.rules.witnesses.starts import STARTS, TRANSFORMERS

Request = dict[str, Any]
Answer = dict[str, str] | None


def main() -> None:
    """Answers the requests on standard input."""
    sys.setrecursionlimit(10_000)
    folder = Path(sys.argv[1])
    requests: list[Request] = json.load(sys.stdin)
    _import_what_several_use({request["framework"] for request in requests}, folder)
    answers = [
        answer
        for framework, group in groupby(requests, key=lambda request: request["framework"])
        for answer in _in_a_fork(framework, list(group), folder)
    ]
    json.dump(answers, sys.stdout)


def _import_what_several_use(frameworks: set[str], folder: Path) -> None:
    """Imports torch and transformers once, before the forks: the second is ten times as slow as what is asked of it."""
    import torch  # noqa: F401

    sys.modules["torchvision"] = None  # type: ignore[assignment] - PyPI's is built for CUDA, and transformers would try
    archives = {archive for framework in frameworks for archive in STARTS[framework].archives}
    if any(archive.startswith("transformers") for archive in archives):
        sys.path[:0] = [str(unpacked(archive, folder)) for archive in TRANSFORMERS]
        import transformers

        transformers.TrainingArguments  # noqa: B018 - imports it


def _in_a_fork(framework: str, requests: list[Request], folder: Path) -> list[Answer]:
    with tempfile.TemporaryFile("w+") as pipe:
        child = os.fork()
        if child == 0:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                answers = _answers(framework, requests, folder)
            json.dump(answers, pipe)
            pipe.flush()
            os._exit(0)
        os.waitpid(child, 0)
        pipe.seek(0)
        text = pipe.read()
    return json.loads(text) if text else [{"kind": "Crash", "text": "", "lines": ""} for _ in requests]


def _answers(framework: str, requests: list[Request], folder: Path) -> list[Answer]:
    start = STARTS[framework]
    stand_in_for(*start.stand_ins)
    places = [unpacked(archive, folder) for archive in start.archives]
    sys.path[:0] = map(str, places)
    return [_answer(framework, request, places[0]) for request in requests]


def _answer(framework: str, request: Request, package: Path) -> Answer:
    with tempfile.TemporaryDirectory() as scratch:
        try:
            STARTS[framework].run(request["settings"], Place(package, Path(scratch), request["gpus"]))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever stops the framework is the answer
            return {
                "kind": type(error).__name__,
                "text": str(error),
                "lines": _lines(error),
                "file": traceback.extract_tb(error.__traceback__)[-1].filename,
            }
    return None


def _lines(error: BaseException) -> str:
    """The source of the statements that the error came through, innermost last."""
    return "\n".join(
        "".join(
            linecache.getline(frame.filename, number) for number in range(frame.lineno, (frame.end_lineno or 0) + 1)
        )
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.lineno
    )


if __name__ == "__main__":
    main()
