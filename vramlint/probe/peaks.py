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
    # mmengine 0.10.7 runner/log_processor.py "memory: {max_memory}  ", device/utils.py get_max_cuda_memory: // 1024**2;
    # mmcv 1.7 runner/hooks/logger/text.py "memory: {memory}, "
    _pattern("memory: ", r"(?<!\w )\bmemory: (\d+)(?=,|\s|$)", Meter.ALLOCATED, _MIB, "mmengine or mmcv"),
    # their logs of JSON lines (mmengine's vis_data, mmcv's *.log.json) hold the same number
    _pattern('"memory": ', r'"memory": (\d+)(?=[,}])', Meter.ALLOCATED, _MIB, "mmengine or mmcv"),
    # detectron2 33653a4 utils/events.py CommonMetricPrinter: max_memory_allocated / 1024.0 / 1024.0, "max_mem: {:.0f}M"
    _pattern("max_mem: ", rf"\bmax_mem: {_NUMBER}M", Meter.ALLOCATED, _MIB, "detectron2"),
    # facebookresearch/detr 0880534 util/misc.py MetricLogger: max_memory_allocated / MB (1024.0 * 1024.0),
    # "max mem: {memory:.0f}" (MAE, DINO and MoCo v3 have it too)
    _pattern("max mem: ", rf"\bmax mem: {_NUMBER}(?![\d.])", Meter.ALLOCATED, _MIB, "MetricLogger of DETR"),
    # torchtune 0.6.1 training/memory.py log_memory_stats and get_memory_stats: / 1024**3
    _pattern("peak memory alloc", rf"peak memory allocation: {_NUMBER} GiB", Meter.ALLOCATED, _GIB, "torchtune"),
    _pattern("peak memory reserved", rf"peak memory reserved: {_NUMBER} GiB", Meter.RESERVED, _GIB, "torchtune"),
    _pattern("peak_memory_alloc", rf"peak_memory_alloc:? *{_NUMBER}", Meter.ALLOCATED, _GIB, "torchtune"),
    _pattern("peak_memory_reserved", rf"peak_memory_reserved:? *{_NUMBER}", Meter.RESERVED, _GIB, "torchtune"),
    # DeepSpeed 0.19.6 runtime/utils.py see_memory_usage: / 1024**3, Max_CA rounded to whole ones
    _pattern("Max_MA ", rf"\bMax_MA {_NUMBER} GB", Meter.ALLOCATED, _GIB, "DeepSpeed"),
    _pattern("Max_CA ", rf"\bMax_CA {_NUMBER} GB", Meter.RESERVED, _GIB, "DeepSpeed"),
    # Megatron-LM megatron/training/utils.py report_memory: / mega_bytes (1024.0 * 1024.0)
    _pattern("max allocated: ", rf"max allocated: {_NUMBER}", Meter.ALLOCATED, _MIB, "Megatron-LM"),
    _pattern("max reserved: ", rf"max reserved: {_NUMBER}", Meter.RESERVED, _MIB, "Megatron-LM"),
    # torchtitan 0.3.0 components/metrics.py log: "memory: {max_reserved_gib:5.2f}GiB({…}%)", in colours
    _pattern("memory:", rf"\bmemory: *{_NUMBER}GiB\(", Meter.RESERVED, _GIB, "torchtitan"),
    # litgpt 0.5.13 utils.py and pretrain.py: max_memory_allocated / 1e9, "| - Memory Used   :  {:.02f} GB"; earlier
    # ones and its generation scripts "Memory used: {:.02f} GB"
    _pattern("Memory Used", rf"\bMemory Used *: *{_NUMBER} GB", Meter.ALLOCATED, _GB, "litgpt"),
    _pattern("Memory used: ", rf"Memory used: {_NUMBER} GB", Meter.ALLOCATED, _GB, "litgpt"),
    # Composer 0.32.1 callbacks/memory_monitor.py: / 1.0e9; with _avg, _min and _max where ranks are compared
    _pattern(
        "peak_allocated_mem", rf"memory/peak_allocated_mem(?:_max)?\b\W+{_NUMBER}", Meter.ALLOCATED, _GB, "Composer"
    ),
    _pattern("peak_reserved_mem", rf"memory/peak_reserved_mem(?:_max)?\b\W+{_NUMBER}", Meter.RESERVED, _GB, "Composer"),
    # Lightning 2.6.6 pytorch/accelerators/cuda.py get_device_stats: torch.cuda.memory_stats, as it comes: bytes
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

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_YOLO_HEAD = re.compile(r"\bEpoch\s+(?:GPU_mem|gpu_mem)\s")
_YOLO_ROW = re.compile(rf"^\s*\d+/\d+\s+{_NUMBER}G\s")
_YOLO_NAME = re.compile(r"\b(Ultralytics (?:YOLOv?)?(\d+)\.(\d+)\.(\d+)|YOLO(?:v\d+|R)?) .*torch[- ]\d")
_GIB_SINCE = (8, 3, 76)
"""ultralytics from which ``engine/trainer.py`` divides ``memory_reserved`` by 2**30; 8.3.74 and before divide by 1e9,
as do ``train.py`` of YOLOv5 7.0 and what was made from it (YOLOv7, YOLOv9)."""
_HF = re.compile(
    r"\b(before_init_mem_gpu|init_mem_gpu_alloc_delta|train_mem_gpu_(?:alloc|peaked)_delta)"
    r"(?:\s*=\s*(-?\d+)MB|[\"']: (-?\d+))"
)
"""transformers 5.24 trainer_utils.py TrainerMemoryTracker, as trainer_pt_utils.py metrics_format prints it (``>> 20``)
or as its JSON files and dictionaries hold it (bytes). The peak of ``init`` is over when training begins."""
_CSV_COLUMN = re.compile(r"memory\.used \[MiB\]")
_CSV_PEAKS = re.compile(r"(allocated|reserved)_bytes\.all\.peak$")


class PeakReader:
    """Reads lines one at a time; ``peaks`` has what they said so far."""

    def __init__(self) -> None:
        self._found: dict[tuple[Meter, str], int] = {}
        self._yolo_unit = 0
        self._yolo_version: tuple[int, ...] = _GIB_SINCE
        self._hugging_face: dict[str, int] = {}
        self._columns: list[tuple[int, Meter, int, str]] = []

    def read(self, line: str) -> None:
        """Takes in one line; a carriage return ends one too, since progress bars redraw themselves with it."""
        for part in line.split("\r"):
            self._read(_COLOUR.sub("", part) if "\x1b" in part else part)

    def peaks(self) -> tuple[Peak, ...]:
        """The largest figure of each meter, the best meter first: device, then reserved, then allocated."""
        found = dict(self._found)
        if any(name.endswith("peaked_delta") for name in self._hugging_face):
            key = (Meter.ALLOCATED, "Hugging Face Trainer")
            found[key] = max(found.get(key, 0), sum(self._hugging_face.values()))
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
                self._hugging_face[match[1]] = int(match[2]) * _MIB if match[2] else int(match[3])
        self._yolo_line(line)
        if "," in line:
            self._header(line)

    def _yolo_line(self, line: str) -> None:
        """Ultralytics and YOLOv5: ``memory_reserved`` under GPU_mem, in units that the version named above decides."""
        if "YOLO" in line or "Ultralytics" in line:
            name = _YOLO_NAME.search(line)
            if name:
                self._yolo_version = tuple(map(int, name.groups()[1:])) if name[2] else ()
        if _YOLO_HEAD.search(line):
            old = "gpu_mem" in line or "obj_loss" in line or self._yolo_version < _GIB_SINCE
            self._yolo_unit = _GB if old else _GIB
            return
        row = _YOLO_ROW.match(line) if self._yolo_unit and "G " in line else None
        if row:
            self._note(Meter.RESERVED, float(row[1]) * self._yolo_unit, "Ultralytics")

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
