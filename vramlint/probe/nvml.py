"""The driver's view of a command while it runs: NVML sampled in a thread, nothing where there is no driver."""

from __future__ import annotations

import importlib
import importlib.util
import os
import threading
from typing import Any, Protocol

INTERVAL_SECONDS = 0.2
"""Between two samples. torch's caching allocator keeps what it took, so that a peak stays to be seen."""


class Meter(Protocol):
    """Something that tells the bytes which processes use on a card."""

    def cards(self) -> tuple[str, ...]:
        """The names of the cards."""
        ...

    def used(self) -> tuple[dict[int, int], ...]:
        """For each card, bytes by process id."""
        ...


class Nvml:
    """NVML through ``pynvml`` (extra ``probe``)."""

    def __init__(self) -> None:
        """Raises whatever pynvml raises where there is no driver."""
        self._nvml: Any = importlib.import_module("pynvml")
        self._nvml.nvmlInit()
        count = self._nvml.nvmlDeviceGetCount()
        self._handles = [self._nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]

    def cards(self) -> tuple[str, ...]:
        """The names of the cards, in NVML's order."""
        names = [self._nvml.nvmlDeviceGetName(handle) for handle in self._handles]
        return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)

    def used(self) -> tuple[dict[int, int], ...]:
        """Bytes by process, of compute processes; empty where the driver does not tell (WDDM)."""
        return tuple(
            {each.pid: int(each.usedGpuMemory or 0) for each in self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)}
            for handle in self._handles
        )


def nvml() -> Nvml | None:
    """NVML, None on a machine without driver or without ``pynvml``."""
    if importlib.util.find_spec("pynvml") is None:
        return None
    try:
        return Nvml()
    except Exception:  # noqa: BLE001 - pynvml raises its own kinds for a missing library, driver or right
        return None


class Watch:
    """Samples a meter until stopped; ``peak_bytes`` is the most that one descendant of ``pid`` took on one card."""

    def __init__(self, meter: Meter, pid: int, interval: float = INTERVAL_SECONDS) -> None:
        self._meter, self._pid, self._interval = meter, pid, interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.peak_bytes = 0
        self.card = ""

    def start(self) -> None:
        """Begins to sample."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the sampling."""
        self._stop.set()
        self._thread.join()

    def sample(self) -> None:
        """Takes one sample."""
        names = self._meter.cards()
        for name, processes in zip(names, self._meter.used(), strict=True):
            for pid, size in processes.items():
                if size > self.peak_bytes and descends(pid, self._pid):
                    self.peak_bytes, self.card = size, name

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self.sample()


def descends(pid: int, ancestor: int) -> bool:
    """Whether a process is ``ancestor`` or was started by it or by one of its own (Linux; else its session tells)."""
    for _ in range(64):
        if pid == ancestor:
            return True
        parent = _parent(pid)
        if parent is None or parent <= 1:
            return False
        pid = parent
    return False


def _parent(pid: int) -> int | None:
    try:
        with open(os.path.join("/proc", str(pid), "stat"), encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return None
