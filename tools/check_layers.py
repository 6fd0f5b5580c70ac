"""The layer ledger against traces of the original models.

`trace FILE NAME...` (needs torch, mmcv-lite, mmsegmentation and what else the name asks for) traces models and keeps
architecture and peaks in FILE; `compare FILE` needs neither and prints the ledger beside each trace; `explain NAME
[PRECISION] [0 or 1 for the size]` lists the storages alive at the peak that one side has and the other has not.

Names are config files below mmsegmentation's own configs (`fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py`), with
changes to the model after a question mark (`…py?backbone.with_cp=true&decode_head.num_classes=150`), or models by name
with their family before it (`torchvision/resnet50`, `segmentation/unet_resnet34`), as `vramlint trace` knows them.
"""

from __future__ import annotations

import copy
import importlib
import json
import logging
import sys
import types
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from vramlint.memory.knowledge import Workload
from vramlint.memory.layers import LayerModel, UnknownType
from vramlint.memory.layers import graph as layer_graph
from vramlint.memory.layers.stack import TRACED
from vramlint.plan import Precision

SIZES = ((2, 256, 320), (3, 385, 449))
"""Batch, height and width of the traces: one even, one odd."""

EVEN_SIZES = ((2, 256, 320), (3, 384, 448))
"""For models that take multiples of 32 alone."""

PRECISIONS = ("fp32", "fp16", "bf16")
TOLERANCE = 0.01

Row = dict[str, Any]


def main(arguments: list[str]) -> int:
    match arguments:
        case ["trace", file, *names]:
            _trace_all(Path(file), names)
            return 0
        case ["compare", file]:
            return _compare(json.loads(Path(file).read_text(encoding="utf-8")))
        case ["explain", name, *rest]:
            _explain(name, rest[0] if rest else "fp32", int(rest[1]) if len(rest) > 1 else 0)
            return 0
        case _:
            print(__doc__)
            return 2


# --- the ledger's side ------------------------------------------------------------------------------------------------


def ledger_peaks(architecture: Row, scope: str, batch: int, height: int, width: int, precision: str) -> Row:
    """Parameters, and the most bytes in forward and backward with fp32 gradients, as the ledger has them."""
    model = LayerModel(architecture, scope, stack=TRACED)
    step = model.step(Workload(batch, Precision(precision), checkpointing=False, height=height, width=width))
    peaks: dict[str, int] = {}
    for mark in step.marks:
        total = mark.activation_bytes + 4 * mark.gradient_elements
        peaks[mark.phase] = max(peaks.get(mark.phase, 0), total)
    return {"parameters": step.parameters, "trainable": step.trainable, **peaks}


def _architecture(model: Row) -> Row:
    """The tree that a trace was compared by, found again by name where it has one."""
    if "architecture" in model:
        found: Row = model["architecture"]
        return found
    from vramlint.memory.layers.named.catalogue import find_named

    known = find_named(model["name"])
    if known is None:
        raise UnknownType(f"{model['name']}: the ledger knows no such model by name")
    return known.architecture


def _compare(models: list[Row]) -> int:
    failed = 0
    for model in models:
        for row in model["rows"]:
            try:
                found = ledger_peaks(
                    _architecture(model), model["scope"], row["batch"], row["height"], row["width"], row["precision"]
                )
            except UnknownType as error:
                failed += 1
                print(f"{model['name'][:60]:<60} {error.message}")
                break
            traced, worked_out = (max(each["forward"], each["backward"]) for each in (row, found))
            difference = worked_out / traced - 1
            wrong = found["parameters"] != model["parameters"] or abs(difference) > TOLERANCE
            failed += wrong
            print(
                f"{model['name'][:60]:<60} {row['batch']}x{row['height']}x{row['width']} {row['precision']}"
                f"  parameters {found['parameters'] - model['parameters']:+d}  peak {traced / 2**20:8.1f} MiB"
                f" {difference:+7.2%}{'  <-' if wrong else ''}"
            )
    print(f"{failed} of {sum(len(model['rows']) for model in models)} rows differ by more than {TOLERANCE:.0%}")
    return 1 if failed else 0


# --- the traces' side -------------------------------------------------------------------------------------------------


def _trace_all(file: Path, names: list[str]) -> None:
    models: list[Row] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    for name in names:
        try:
            found = traced(name)
        except Exception as error:  # noqa: BLE001 - a tool for developers: say it and go on with the next model
            print(f"{name}: {type(error).__name__}: {str(error)[:300]}", flush=True)
            continue
        if file.exists():
            models = json.loads(file.read_text(encoding="utf-8"))
        models = [each for each in models if each["name"] != name] + [found]
        models.sort(key=lambda each: each["name"])
        file.write_text(
            "[\n" + ",\n".join(json.dumps(each, separators=(",", ":")) for each in models) + "\n]\n", encoding="utf-8"
        )
        print(name, "traced", flush=True)


def traced(name: str) -> Row:
    """One model traced at every size and precision."""
    target = _target(name)
    rows = []
    for batch, height, width in target.get("sizes", SIZES):
        for precision in PRECISIONS:
            recording = _record(target, batch, height, width, precision)
            rows.append({"batch": batch, "height": height, "width": width, "precision": precision, **_peaks(recording)})
    architecture = {"architecture": target["architecture"]} if name.partition("?")[0].endswith(".py") else {}
    return {
        "name": name,
        "scope": target["scope"],
        "parameters": recording.parameters,
        **architecture,
        "rows": rows,
    }


def _peaks(recording: Any) -> Row:
    peaks: dict[str, int] = {}
    for level in recording.levels():
        part, _, phase = level.phase.partition(":")
        if part == "fresh" and phase in ("forward", "backward"):
            peaks[phase] = max(peaks.get(phase, 0), level.activation_bytes + 4 * level.gradient_elements)
    return peaks


def _record(target: Row, batch: int, height: int, width: int, precision: str) -> Any:
    import torch

    from vramlint.trace.events import Shape
    from vramlint.trace.tracer import Options, record

    dtype = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    options = Options(dtype=dtype, second_step=False, evaluation=False, positives=target.get("positives", _all_pixels))
    shape = Shape(batch, height, width)
    return record(lambda: target["make"](shape), shape, options)


def _all_pixels(shape: tuple[int, ...]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total


def _target(name: str) -> Row:
    return _openmmlab(name) if name.partition("?")[0].endswith(".py") else _named(name)


def _named(name: str) -> Row:
    warnings.simplefilter("ignore")
    from vramlint.memory.layers.named.catalogue import find_named
    from vramlint.trace.targets import find_target

    known = find_named(name)
    if known is None:
        raise UnknownType(f"{name}: the ledger knows no such model by name")
    target = find_target(name)

    def make(shape: Any) -> Any:
        return target.make(shape, False)  # noqa: FBT003 - its own signature

    sizes: tuple[tuple[int, int, int], ...] = SIZES
    if known.fixed_size is not None:
        sizes = ((2, *known.fixed_size), (3, *known.fixed_size))
    elif known.size_multiple > 1:
        sizes = EVEN_SIZES
    return {
        "scope": known.scope,
        "architecture": known.architecture,
        "make": make,
        "sizes": sizes,
        "positives": target.positives,
    }


class _StandIn(types.ModuleType):
    """A compiled module whose every function does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


def _openmmlab(name: str) -> Row:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    sys.modules.setdefault("mmcv._ext", _StandIn("mmcv._ext"))
    from vramlint.trace.stand_ins import torchvision_schemas

    torchvision_schemas()
    mmengine = importlib.import_module("mmengine")
    mmseg = importlib.import_module("mmseg")
    importlib.import_module("mmseg.models")
    importlib.import_module("mmseg.utils").register_all_modules()
    path, _, changes = name.partition("?")
    folder = Path(str(mmseg.__file__)).parent / ".mim" / "configs"
    config = mmengine.Config.fromfile(str(folder / path))
    for change in filter(None, changes.split("&")):
        key, _, value = change.partition("=")
        config.merge_from_dict({f"model.{key}": json.loads(value)})
    architecture = _plain(config.model.to_dict())
    architecture.pop("data_preprocessor", None)

    def make(shape: Any) -> Any:
        return _segmentor(copy.deepcopy(architecture), shape)

    sizes = EVEN_SIZES if "unet" in name else SIZES
    return {"scope": "mmseg", "architecture": architecture, "make": make, "sizes": sizes}


def _plain(value: Any) -> Any:
    """Without what only initialises weights."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items() if k not in ("init_cfg", "pretrained")}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(each) for each in value)
    if isinstance(value, type):
        return value.__name__
    return value


def _segmentor(architecture: Row, shape: Any) -> Any:
    import torch

    from vramlint.trace.tracer import Job

    registry = importlib.import_module("mmseg.registry").MODELS
    structures = importlib.import_module("mmseg.structures")
    pixel_data = importlib.import_module("mmengine.structures").PixelData
    model = registry.build(_without_sync(architecture))

    def batch() -> Any:
        images = torch.randn(shape.batch, 3, shape.height, shape.width)
        samples = []
        for _ in range(shape.batch):
            sample = structures.SegDataSample(
                metainfo={"img_shape": (shape.height, shape.width), "pad_shape": (shape.height, shape.width)}
            )
            label = torch.zeros(1, shape.height, shape.width, dtype=torch.int64)
            sample.gt_sem_seg = pixel_data(data=label)
            sample.gt_edge_map = pixel_data(data=label.clone())
            samples.append(sample)
        return images, samples

    def loss(network: Any, given: Any) -> Any:
        losses = network.loss(*given)
        values = [value for key, value in losses.items() if "loss" in key]
        flat = [each for value in values for each in (value if isinstance(value, list) else [value])]
        return sum(each.mean() for each in flat)

    return Job(model, batch, loss)


def _without_sync(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: "BN" if k == "type" and v in ("SyncBN", "MMSyncBN") else _without_sync(v) for k, v in value.items()}
    return type(value)(_without_sync(each) for each in value) if isinstance(value, (list, tuple)) else value


# --- storages alive at the peak ---------------------------------------------------------------------------------------


def _explain(name: str, precision: str, size: int) -> None:
    target = _target(name)
    batch, height, width = target["sizes"][size]
    recording = _record(target, batch, height, width, precision)
    theirs, traced_peak = _alive_in(recording)
    ours, worked_out = _alive_on_tape(
        target, Workload(batch, Precision(precision), checkpointing=False, height=height, width=width)
    )
    print(f"traced {traced_peak / 2**20:.1f} MiB, ledger {worked_out / 2**20:.1f} MiB")
    print("by phase, traced:", _peaks(recording))
    print("by phase, ledger:", ledger_peaks(target["architecture"], target["scope"], batch, height, width, precision))
    print(f"parameters traced {recording.parameters}")
    print("traced before the peak:", *_before_peak(recording), sep="\n   ")
    rows = [(size * (theirs[size] - ours[size]), size) for size in {*theirs, *ours} if theirs[size] != ours[size]]
    for total, size in sorted(rows, key=lambda each: -abs(each[0]))[:30]:
        print(f"{total / 2**20:+9.2f} MiB  {theirs[size]} - {ours[size]} of {size} bytes  {_makers(recording, size)}")


def _before_peak(recording: Any) -> list[str]:
    """The last operations before the traced peak, as (+ or -) MiB and maker."""
    static, live, best, lines, kept = recording.static(), 0, 0, [], []
    for event in recording.events:
        if event == "fresh:backward":
            break
        if isinstance(event, str) or abs(event) in static:
            continue
        size = _block(recording.sizes[abs(event)])
        live += size if event > 0 else -size
        lines.append(f"{'+' if event > 0 else '-'}{size / 2**20:.3f} {recording.makers[abs(event)]}")
        if live > best:
            best, kept = live, [each for each in lines[-200:] if not each[1:].startswith("0.0")][-26:]
    return kept


def _makers(recording: Any, size: int) -> str:
    found = Counter(
        maker for each, maker in zip(recording.sizes, recording.makers, strict=True) if _block(each) == size
    )
    return ", ".join(f"{maker} {count}" for maker, count in found.most_common(5))


def _block(size: int) -> int:
    return -(-size // 512) * 512


def _alive_in(recording: Any) -> tuple[Counter[int], int]:
    static, live, best, most = recording.static(), 0, 0, Counter[int]()
    alive: Counter[int] = Counter()
    for event in recording.events:
        if event == "fresh:backward":
            break
        if isinstance(event, str) or abs(event) in static:
            continue
        size = _block(recording.sizes[abs(event)])
        live += size if event > 0 else -size
        alive[size] += 1 if event > 0 else -1
        if live > best:
            best, most = live, alive.copy()
    return most, best


def _alive_on_tape(target: Row, workload: Workload) -> tuple[Counter[int], int]:
    alive: Counter[int] = Counter()
    state = {"live": 0, "best": 0}
    most: list[Counter[int]] = [Counter()]
    storage = layer_graph.Storage
    made, freed = storage.__init__, storage.__del__

    def start(self: Any, tape: Any, size: int) -> None:
        made(self, tape, size)
        size = _block(size)
        alive[size] += 1
        state["live"] += size
        if state["live"] > state["best"]:
            state["best"], most[0] = state["live"], alive.copy()

    def end(self: Any) -> None:
        alive[self.bytes] -= 1
        state["live"] -= self.bytes
        freed(self)

    storage.__init__, storage.__del__ = start, end  # type: ignore[method-assign]
    try:
        LayerModel(target["architecture"], target["scope"], stack=TRACED).step(workload)
    finally:
        storage.__init__, storage.__del__ = made, freed  # type: ignore[method-assign]
    return most[0], state["best"]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
