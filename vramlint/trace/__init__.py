"""Traced profiles of any model, on a machine without a GPU: the optional side of vramlint that needs torch.

:func:`run` starts the tracing process and returns the profile in its JSON form; nothing here imports torch.
"""

from __future__ import annotations

import datetime
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vramlint.errors import TraceError
from vramlint.trace.choices import Choices

__all__ = ["profile_path", "run"]

_USER_ERROR, _TRACE_ERROR = 3, 4


def profile_path(folder: Path, name: str) -> Path:
    """Where the profile called ``name`` of the repository ``folder`` is kept."""
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
    return folder / ".vramlint" / "profiles" / f"{safe}.json"


def run(
    target: str,
    *,
    folder: Path,
    name: str = "",
    choices: Choices = Choices(),  # noqa: B008 - immutable
    variants: Sequence[tuple[str, bool]] = (),
    say: Callable[[str], None] = lambda _: None,
    date: str = "",
) -> dict[str, Any]:
    """Traces ``target`` in a process of its own, with ``folder`` importable, and returns the profile's JSON form.

    ``variants`` are (``fp32`` or ``amp``, checkpointing) pairs, all that the target offers where empty; ``say`` hears
    each trace as it begins.
    Raises TraceError: without torch, where the model cannot be traced, and where the user's own code raised (its
    traceback is in the message).
    """
    if importlib.util.find_spec("torch") is None:
        raise TraceError("tracing needs torch", help="Install it with: pip install 'vramlint[trace]'")
    with tempfile.TemporaryDirectory() as scratch:
        request, output = Path(scratch, "request.json"), Path(scratch, "profile.json")
        request.write_text(
            json.dumps(
                {
                    "target": target,
                    "name": name,
                    "choices": choices._asdict(),
                    "folder": str(folder.resolve()),
                    "output": str(output),
                    "date": date or datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
                    "variants": list(variants),
                }
            ),
            encoding="utf-8",
        )
        status, lines = _follow([sys.executable, "-m", "vramlint.trace.runner", str(request)], folder, say)
        if status == 0:
            data: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
            return data
    raise _error(target, status, lines)


def _follow(command: list[str], folder: Path, say: Callable[[str], None]) -> tuple[int, list[str]]:
    """Runs the command, passes on its lines, and returns its exit status with all lines."""
    lines: list[str] = []
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line.rstrip("\n"))
            say(lines[-1])
    return process.returncode, lines


def _error(target: str, status: int, lines: list[str]) -> TraceError:
    if status == _TRACE_ERROR:
        said = json.loads(lines[-1])
        return TraceError(said["message"], help=said["help"])
    start = next((i for i, line in enumerate(lines) if line.startswith("Traceback")), max(0, len(lines) - 20))
    shown = "\n".join(lines[start:])
    if status == _USER_ERROR:
        what = f"the code of {target}" if ":" in target else f"the package that has {target}"
        return TraceError(f"{what} raised while it was traced:\n{shown}")
    return TraceError(f"the tracing process ended with status {status}:\n{shown}")
