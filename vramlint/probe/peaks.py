"""What trainers print of their memory, line by line.

Every pattern names the meter that the trainer reads and the unit it prints, with the source. A trainer that prints the
same meter at every step has its largest figure taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from vramlint.memory.observations import Meter

_MIB, _GIB, _GB = 2**20, 2**30, 10**9
_NUMBER = r"(\d+(?:\.\d+)?)"


class Peak(NamedTuple):
    """The largest figure of one meter, in bytes, and who printed it."""

    meter: Meter
    bytes: int
    source: str


class _Pattern(NamedTuple):
    """``hint`` is in every line that ``regex`` can match; a plain search for it is what a long log costs."""

    hint: str
    regex: re.Pattern[str]
    meter: Meter
    unit: int
    source: str


def _pattern(hint: str, regex: str, meter: Meter, unit: int, source: str) -> _Pattern:
    return _Pattern(hint, re.compile(regex), meter, unit, source)


_PATTERNS = (
    # mmengine 0.10 device/utils.py get_max_cuda_memory, mmcv 1.x runner/hooks/logger/text.py: // 1024**2
    _pattern("memory: ", r"(?<!\w )\bmemory: (\d+)(?=,|\s|$)", Meter.ALLOCATED, _MIB, "mmengine or mmcv"),
    # detectron2 0.6 utils/events.py: max_memory_allocated / 1024 / 1024
    _pattern("max_mem: ", rf"\bmax_mem: {_NUMBER}M", Meter.ALLOCATED, _MIB, "detectron2"),
    # facebookresearch/detr util/misc.py MetricLogger (MAE, DINO and MoCo v3 have it too)
    _pattern("max mem: ", rf"\bmax mem: {_NUMBER}(?![\d.])", Meter.ALLOCATED, _MIB, "MetricLogger of DETR"),
    # torchtune 0.6.1 training/memory.py: / 1024**3
    _pattern("peak memory alloc", rf"peak memory allocation: {_NUMBER} GiB", Meter.ALLOCATED, _GIB, "torchtune"),
    _pattern("peak memory reserved", rf"peak memory reserved: {_NUMBER} GiB", Meter.RESERVED, _GIB, "torchtune"),
    _pattern("peak_memory_alloc", rf"peak_memory_alloc:? *{_NUMBER}", Meter.ALLOCATED, _GIB, "torchtune"),
    _pattern("peak_memory_reserved", rf"peak_memory_reserved:? *{_NUMBER}", Meter.RESERVED, _GIB, "torchtune"),
    # DeepSpeed 0.17 runtime/utils.py see_memory_usage: / 1024**3
    _pattern("Max_MA ", rf"\bMax_MA {_NUMBER} GB", Meter.ALLOCATED, _GIB, "DeepSpeed"),
    _pattern("Max_CA ", rf"\bMax_CA {_NUMBER} GB", Meter.RESERVED, _GIB, "DeepSpeed"),
    # Megatron-LM training/utils.py report_memory: / 1024 / 1024
    _pattern("max allocated: ", rf"max allocated: {_NUMBER}", Meter.ALLOCATED, _MIB, "Megatron-LM"),
    _pattern("max reserved: ", rf"max reserved: {_NUMBER}", Meter.RESERVED, _MIB, "Megatron-LM"),
    # torchtitan components/metrics.py: max_reserved_gib
    _pattern("memory:", rf"\bmemory: *{_NUMBER}GiB\(", Meter.RESERVED, _GIB, "torchtitan"),
    # litgpt 0.5 finetune/*.py: max_memory_allocated / 1e9
    _pattern("Memory used: ", rf"Memory used: {_NUMBER} GB", Meter.ALLOCATED, _GB, "litgpt"),
    # Composer 0.30 callbacks/memory_monitor.py: / 1e9
    _pattern("peak_allocated_mem", rf"memory/peak_allocated_mem\W+{_NUMBER}", Meter.ALLOCATED, _GB, "Composer"),
    _pattern("peak_reserved_mem", rf"memory/peak_reserved_mem\W+{_NUMBER}", Meter.RESERVED, _GB, "Composer"),
    # torch.cuda.memory_stats as Lightning's DeviceStatsMonitor logs them: bytes
    _pattern("allocated_bytes.all.peak", rf"allocated_bytes\.all\.peak['\"]?\W+{_NUMBER}", Meter.ALLOCATED, 1, "torch"),
    _pattern("reserved_bytes.all.peak", rf"reserved_bytes\.all\.peak['\"]?\W+{_NUMBER}", Meter.RESERVED, 1, "torch"),
)

_BY_UNIT = re.compile(
    rf"max[_ ]?(?:cuda[_ ])?memory[_ ](allocated|reserved)\W{{0,12}}{_NUMBER} *(GiB|GB|MiB|MB|B|bytes)?\b",
    re.IGNORECASE,
)
"""A script's own print of ``torch.cuda.max_memory_allocated``; a number without unit is taken as bytes."""
_UNITS = {"gib": _GIB, "gb": _GB, "mib": _MIB, "mb": 10**6, "b": 1, "bytes": 1, "": 1}
_LEAST_BYTES = 2**20
"""Less than this was no number of bytes."""

_ULTRALYTICS_HEAD = re.compile(r"\bEpoch\s+(GPU_mem|gpu_mem)\s")
_ULTRALYTICS_ROW = re.compile(rf"^\s*\d+/\d+\s+{_NUMBER}G\s")
_HF = re.compile(r"\b(before_init_mem_gpu|(?:init|train)_mem_gpu_(?:alloc|peaked)_delta)\s*=\s*(-?\d+)MB")
_CSV_COLUMN = re.compile(r"memory\.used \[MiB\]")
_CSV_PEAKS = re.compile(r"(allocated|reserved)_bytes\.all\.peak$")


class PeakReader:
    """Reads lines one at a time; ``peaks`` has what they said so far."""

    def __init__(self) -> None:
        self._found: dict[tuple[Meter, str], int] = {}
        self._ultralytics: int | None = None
        self._hugging_face: dict[str, int] = {}
        self._columns: list[tuple[int, Meter, int, str]] = []

    def read(self, line: str) -> None:
        """Takes in one line; a carriage return ends one too, since progress bars redraw themselves with it."""
        for part in line.split("\r"):
            self._read(part)

    def peaks(self) -> tuple[Peak, ...]:
        """The largest figure of each meter, the best meter first: device, then reserved, then allocated."""
        found = dict(self._found)
        if any(name.endswith("peaked_delta") for name in self._hugging_face):
            key = (Meter.ALLOCATED, "Hugging Face Trainer")
            found[key] = max(found.get(key, 0), sum(self._hugging_face.values()) * _MIB)
        best: dict[Meter, Peak] = {}
        for (meter, source), size in found.items():
            if size >= _LEAST_BYTES and (meter not in best or size > best[meter].bytes):
                best[meter] = Peak(meter, size, source)
        return tuple(best[meter] for meter in (Meter.DEVICE, Meter.RESERVED, Meter.ALLOCATED) if meter in best)

    def _read(self, line: str) -> None:
        if self._columns and self._row(line):
            return
        for pattern in _PATTERNS:
            if pattern.hint in line:
                for match in pattern.regex.finditer(line):
                    self._note(pattern.meter, float(match[1]) * pattern.unit, pattern.source)
        lower = line.lower()
        if "memory" in lower and "max" in lower:
            for match in _BY_UNIT.finditer(line):
                meter = Meter.ALLOCATED if match[1].lower() == "allocated" else Meter.RESERVED
                self._note(meter, float(match[2]) * _UNITS[(match[3] or "").lower()], "max_memory as printed")
        if "mem_gpu" in line:
            for match in _HF.finditer(line):
                self._hugging_face[match[1]] = int(match[2])
        self._ultralytics_line(line)
        if "," in line:
            self._header(line)

    def _ultralytics_line(self, line: str) -> None:
        """Ultralytics and YOLOv5: ``memory_reserved`` in GiB under GPU_mem (ultralytics 8.3 ``engine/trainer.py``), in
        decimal GB under gpu_mem (YOLOv5 6.x ``train.py``)."""
        head = _ULTRALYTICS_HEAD.search(line)
        if head:
            self._ultralytics = _GIB if head[1] == "GPU_mem" else _GB
            return
        row = _ULTRALYTICS_ROW.match(line) if self._ultralytics and "G " in line else None
        if row and self._ultralytics:
            self._note(Meter.RESERVED, float(row[1]) * self._ultralytics, "Ultralytics")

    def _header(self, line: str) -> None:
        """``nvidia-smi --query-gpu=memory.used --format=csv``, and Lightning's CSV log of DeviceStatsMonitor."""
        names = [name.strip() for name in line.split(",")]
        for index, name in enumerate(names):
            peaks = _CSV_PEAKS.search(name)
            if _CSV_COLUMN.fullmatch(name):
                self._columns.append((index, Meter.DEVICE, _MIB, "nvidia-smi"))
            elif peaks and peaks[1] == "allocated":
                self._columns.append((index, Meter.ALLOCATED, 1, "Lightning"))
            elif peaks:
                self._columns.append((index, Meter.RESERVED, 1, "Lightning"))

    def _row(self, line: str) -> bool:
        cells = [cell.strip() for cell in line.split(",")]
        taken = False
        for index, meter, unit, source in self._columns:
            match = re.fullmatch(rf"{_NUMBER}(?: MiB)?", cells[index]) if index < len(cells) else None
            if match:
                self._note(meter, float(match[1]) * unit, source)
                taken = True
        return taken

    def _note(self, meter: Meter, size: float, source: str) -> None:
        key = (meter, source)
        self._found[key] = max(self._found.get(key, 0), round(size))


def peaks_of(lines: Iterable[str]) -> tuple[Peak, ...]:
    """The peaks that the lines of a log tell."""
    reader = PeakReader()
    for line in lines:
        reader.read(line)
    return reader.peaks()
