"""Runs a command as if it ran alone: same streams, signals and exit status, while its lines are read on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, NamedTuple

from vramlint.probe.nvml import Meter, Watch
from vramlint.probe.peaks import Peak, PeakReader

_CHUNK = 65536
_PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGCONT")
_FROM_TERMINAL = frozenset(getattr(signal, name) for name in ("SIGINT", "SIGQUIT") if hasattr(signal, name))
NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit codes of a command that cannot run, as shells give them (POSIX, Shell Command Language, 2.8.2)."""


class Watched(NamedTuple):
    """How a command ended and what was seen of its memory. ``status`` is what a shell would report."""

    status: int
    peaks: tuple[Peak, ...]
    device_bytes: int = 0
    card: str = ""


def run(words: Sequence[str], meter: Meter | None = None) -> Watched:
    """Runs the command to its end, samples ``meter`` beside it and reads what it prints."""
    reader = PeakReader()
    try:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment())
    except FileNotFoundError:
        sys.stderr.write(f"vramlint: {words[0]}: command not found\n")
        return Watched(NOT_FOUND, ())
    except OSError as error:
        sys.stderr.write(f"vramlint: {words[0]}: {error.strerror}\n")
        return Watched(NOT_EXECUTABLE, ())
    watch = Watch(meter, process.pid) if meter is not None else None
    before = _pass_signals_on(process)
    if watch is not None:
        watch.start()
    try:
        _copy_both(process, reader)
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if watch is not None:
            watch.stop()
    shell_status = 128 - status if status < 0 else status
    return Watched(shell_status, reader.peaks(), watch.peak_bytes if watch else 0, watch.card if watch else "")


def _environment() -> dict[str, str]:
    """The streams are pipes to the command: Python must not hold its lines back for that."""
    return {"PYTHONUNBUFFERED": "1", **os.environ}


def _pass_signals_on(process: subprocess.Popen[bytes]) -> dict[int, signal._HANDLER]:
    """Hands every signal to the command; returns the handlers that were there before."""
    before: dict[int, signal._HANDLER] = {}
    if threading.current_thread() is not threading.main_thread():
        return before
    for name in _PASSED_ON:
        number = getattr(signal, name, None)
        if number is not None:
            before[number] = signal.signal(number, lambda received, _: _pass_on(received, process))
    return before


def _pass_on(number: int, process: subprocess.Popen[bytes]) -> None:
    """A terminal sends its signals to the command itself, which shares the process group: once is enough."""
    if number not in _FROM_TERMINAL or not sys.stdin.isatty():
        process.send_signal(number)


def _copy_both(process: subprocess.Popen[bytes], reader: PeakReader) -> None:
    assert process.stdout is not None
    assert process.stderr is not None
    lock = threading.Lock()
    errors = threading.Thread(target=_copy, args=(process.stderr, sys.stderr.buffer, reader, lock), daemon=True)
    errors.start()
    _copy(process.stdout, sys.stdout.buffer, reader, lock)
    errors.join()


def _copy(source: IO[bytes], target: IO[bytes], reader: PeakReader, lock: threading.Lock) -> None:
    """Passes bytes on as they come, and reads them by lines; a reader that went away ends nothing."""
    rest = b""
    gone = False
    while chunk := os.read(source.fileno(), _CHUNK):
        if not gone:
            try:
                target.write(chunk)
                target.flush()
            except (BrokenPipeError, ValueError):
                gone = True
        *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
        rest = rest[-_CHUNK:]
        with lock:
            for line in lines:
                reader.read(line.decode("utf-8", "replace"))
    with lock:
        reader.read(rest.decode("utf-8", "replace"))
