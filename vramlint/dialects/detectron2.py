"""detectron2 and maskrcnn-benchmark: YAML in upper case, read by yacs.

``SOLVER.IMS_PER_BATCH`` is GLOBAL and there is no accumulation::

    micro batch = IMS_PER_BATCH / ranks      effective batch = IMS_PER_BATCH

Example (``mask_rcnn.yaml``):

```yaml
MODEL:
  META_ARCHITECTURE: GeneralizedRCNN
  MASK_ON: true
SOLVER:
  IMS_PER_BATCH: 16
  BASE_LR: 0.02
DATALOADER:
  NUM_WORKERS: 2
```

```plan gpus=8
micro_batch: 2 file 5
global_batch: 16 file 5
accumulation: 1 derived
effective_batch: 16 derived
precision: fp32 default
image_size: 800x1333 default
workers_per_rank: 2 file 8
learning_rate: 0.02 file 6
task: segment derived
```

Sources: detectron2 2026-06, ``config/defaults.py`` (defaults, the same in maskrcnn-benchmark but for ``DTYPE``),
``data/build.py#build_batch_data_loader`` (the batch has to divide by the ranks). ``_BASE_`` files are followed when
they are in the repository; ``KEY VALUE`` words of the one line that launches the file win over it.
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Iterator
from typing import Any, ClassVar

from vramlint.dialects import spelling_out
from vramlint.dialects.detectron2_memory import memory_facts
from vramlint.dialects.draft import Draft
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.neighbours import reader_of
from vramlint.dialects.overrides import only_launch
from vramlint.dialects.places import FlagSource, Place, Source, location
from vramlint.dialects.reading import (
    Count,
    Flag,
    Natural,
    Schema,
    Settings,
    Text,
    Whole,
    keys,
    plain_value,
    read_settings,
)
from vramlint.dialects.values import as_count
from vramlint.plan import Fact, ImageSize, Origin, Precision, default, derived, unknown
from vramlint.sources.model import Document, Entry, Mapping, Node, Scalar, Sequence

NAME = "detectron2"
TITLE = "detectron2 and maskrcnn-benchmark"

_SOURCE = "detectron2 2026-06"
_MOST_BASES = 8


class Config(Schema):
    """The keys that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    global_batch: Count | None = keys("SOLVER.IMS_PER_BATCH")
    reference_ranks: Natural | None = keys("SOLVER.REFERENCE_WORLD_SIZE", default=0)
    learning_rate: float | None = keys("SOLVER.BASE_LR")
    max_steps: int | None = keys("SOLVER.MAX_ITER")
    workers_per_rank: Natural | None = keys("DATALOADER.NUM_WORKERS")
    num_classes: Count | None = keys("MODEL.ROI_HEADS.NUM_CLASSES", "MODEL.SEM_SEG_HEAD.NUM_CLASSES")

    amp: Flag | None = keys("SOLVER.AMP.ENABLED")
    mask_on: Flag | None = keys("MODEL.MASK_ON")
    meta_architecture: Text | None = keys("MODEL.META_ARCHITECTURE")
    dtype: Text | None = keys("DTYPE")
    short_sides: Any = keys("INPUT.MIN_SIZE_TRAIN", default=[800])
    long_side: Whole | None = keys("INPUT.MAX_SIZE_TRAIN", default=1333)
    crops: Flag | None = keys("INPUT.CROP.ENABLED", default=False)
    crop_type: Text | None = keys("INPUT.CROP.TYPE", default="relative_range")
    crop: Any = keys("INPUT.CROP.SIZE")


_DEFAULTS: dict[str, Any] = {"global_batch": 16, "learning_rate": 0.001, "workers_per_rank": 4}


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one YAML with its ``_BASE_`` chain."""
    sources = [*_opts(document, context), *_chain(document, context)]
    settings = read_settings(Config, sources)
    draft = Draft(claim, document)
    for source in sources:
        draft.use(source.document)
    draft.fill(settings, ("global_batch", "learning_rate", "max_steps", "workers_per_rank", "num_classes"))
    complete = _complete(sources)
    for name, value in _DEFAULTS.items():
        if not settings.spelled(name):
            reason = "a _BASE_ file that is not at hand may say"
            draft.put(name, default(value, f"default of {_SOURCE}") if complete else unknown(reason))
    draft.put("precision", _precision(settings, complete=complete))
    _sizes(draft, settings, complete=complete)
    memory_facts(draft, sources, complete=complete, source=_SOURCE)
    draft.put("task", _task(settings))
    draft.put("model", unknown("detectron2 builds its models from many keys"))
    found = ranks(document, context)
    _batch(draft, settings, found.ranks)
    return draft.close(found)


def ranks(document: Document, context: Context) -> World:
    """``train_net.py --num-gpus N`` starts N ranks itself, on each of ``--num-machines``; else what launches others.

    Source: detectron2 2026-06 ``engine/defaults.py#default_argument_parser`` (1 and 1), ``engine/launch.py``.
    """
    launched = only_launch(document, context)
    if launched is None:
        return world(document, None, context)
    flags = FlagSource(launched[0], launched[1].options)
    place, machines = flags.find("num_gpus"), flags.find("num_machines")
    count = as_number(place)
    nodes = as_number(machines) if machines is not None else 1
    if place is None or count is None or nodes is None:
        return world(document, None, context)
    node_fact: Fact[int] = default(1, f"default of {_SOURCE}")
    if machines is not None:
        node_fact = Fact(nodes, machines.source.origin, location(machines))
    note = "" if nodes == 1 else f"{count} on each of {nodes} machines"
    return World(Fact(count * nodes, place.source.origin, location(place), note), node_fact)


def as_number(place: Place | None) -> int | None:
    """The positive number at ``place``; ``--num-gpus 2 KEY value`` gives the flag the pairs that follow as well."""
    try:
        given = plain_value(place.node) if place is not None else None
        value = as_count(given[0] if isinstance(given, list) and given else given)
    except ValueError:
        return None
    return value if isinstance(value, int) and value > 0 else None


def share(total: Fact[int], ranks: Fact[int]) -> Fact[int]:
    """One rank's part of a global batch; unknown where the batch or the ranks are, or where it does not divide."""
    if total.value is None or ranks.value is None:
        return unknown(total.note or "the batch is global and the number of GPUs unknown", total.location)
    if total.value % ranks.value:
        return unknown(f"{total.value} images do not divide by {ranks.value} GPUs", total.location)
    note = total.note if ranks.value == 1 else f"{total.value} over {ranks.value} GPUs"
    return Fact(total.value // ranks.value, total.origin, total.location, note)


def _opts(document: Document, context: Context) -> list[Source]:
    """``KEY VALUE`` pairs behind the flags of ``train_net.py`` (yacs ``merge_from_list``)."""
    launched = only_launch(document, context)
    if launched is None:
        return []
    at, command = launched
    # The words behind a flag's value go to the flag, as with nargs; only the order of the line tells them apart.
    behind = [item for entry in command.options.entries for item in _items(entry.value) if isinstance(item, Scalar)]
    words = sorted([*command.positionals, *behind], key=lambda word: word.span)
    root = Mapping(command.span, [], "options")
    for name, value in itertools.pairwise(words):
        if re.fullmatch(r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)+", str(name.value)):
            root.entries.append(Entry(str(name.value), name.span, value, name.span._replace(end=value.span.end)))
    return [FlatSource(at, root, Origin.LAUNCH)] if root.entries else []


def _items(node: Node) -> list[Node]:
    return node.items if isinstance(node, Sequence) else []


class FlatSource(Source):
    """Dotted keys as they are, not through nested mappings."""

    def find(self, dotted: str) -> Place | None:
        """The last pair that sets ``dotted``."""
        entry = self.mapping.entry(dotted)
        return None if entry is None else Place(self, dotted, entry, self.mapping)


def _chain(document: Document, context: Context) -> Iterator[Source]:
    """The file and the ``_BASE_`` files it inherits from, nearest first."""
    read = reader_of(document, context)
    at: Document | None = document
    for _ in range(_MOST_BASES):
        if at is None or not isinstance(at.root, Mapping):
            return
        yield Source(at, at.root)
        base = at.root.get("_BASE_")
        if not isinstance(base, Scalar) or not isinstance(base.value, str):
            return
        at = read(posixpath.normpath(posixpath.join(posixpath.dirname(at.path), base.value)))


def _complete(sources: list[Source]) -> bool:
    """Whether the chain ends with a file that has no base: then what it does not say is detectron2's default."""
    return bool(sources) and sources[-1].mapping.get("_BASE_") is None


def _batch(draft: Draft, settings: Settings[Config], ranks: Fact[int]) -> None:
    draft.put("accumulation", derived(1, f"{_SOURCE} has no accumulation"))
    total = _scaled(draft.plan.global_batch, settings.values.reference_ranks or 0, ranks)
    draft.put("global_batch", total)
    place = settings.places.get("global_batch")
    if place is not None and ranks.value is not None:
        draft.offer("micro_batch", place, spelling_out.scaled(settings.values.reference_ranks or ranks.value))
    draft.put("micro_batch", share(total, ranks))


def _scaled(total: Fact[int], reference: int, ranks: Fact[int]) -> Fact[int]:
    """``SOLVER.REFERENCE_WORLD_SIZE`` keeps the batch of each GPU: the global one grows and shrinks with the ranks.

    Source: detectron2 2026-06 ``engine/defaults.py#DefaultTrainer.auto_scale_workers``.
    """
    if total.value is None or not reference or ranks.value is None or ranks.value == reference:
        return total
    if total.value % reference:
        return unknown(f"{total.value} images do not divide by the reference world size {reference}", total.location)
    scaled = round(total.value * ranks.value / reference)
    return Fact(scaled, total.origin, total.location, f"{total.value} x {ranks.value} / {reference} ranks")


def _precision(settings: Settings[Config], *, complete: bool) -> Fact[Precision]:
    fact = settings.fact("amp")
    if fact.known:
        return Fact(Precision.FP16 if fact.value else Precision.FP32, fact.origin, fact.location)
    dtype = settings.fact("dtype")
    if dtype.value in ("float16", "float32"):  # maskrcnn-benchmark, config/defaults.py: apex mixed precision
        kind = Precision.FP16 if dtype.value == "float16" else Precision.FP32
        return Fact(kind, dtype.origin, dtype.location)
    if settings.spelled("amp") or not complete:
        return unknown(fact.note or "a _BASE_ file that is not at hand may say", fact.location)
    return default(Precision.FP32, f"default of {_SOURCE}")


def _sizes(draft: Draft, settings: Settings[Config], *, complete: bool) -> None:
    """The largest frame an image is fitted into (short side x long side), or the crop that is cut out of it.

    A crop that is a share of the image comes before the resizing, so that the frame stays what it is.

    Source: detectron2 2026-06 ``data/detection_utils.py#build_augmentation``, ``config/defaults.py`` (INPUT),
    ``data/dataset_mapper.py#from_config`` (the crop is put first).
    """
    values = settings.values
    absolute = bool(values.crops) and str(values.crop_type).startswith("absolute")
    named = ("crop",) if absolute else ("short_sides", "long_side")
    place = next((settings.places[name] for name in named if name in settings.places), None)
    if place is None and not complete:
        draft.put("image_size", unknown("a _BASE_ file that is not at hand may say"))
        return
    sides = sorted(_numbers(values.short_sides))
    cut = _numbers(values.crop) if absolute and values.crop_type == "absolute" else []
    if (len(cut) != 2) if absolute else not (sides and values.long_side):
        draft.put("image_size", unknown("crops of a range of sizes" if absolute else "no constant sizes"))
        return
    size = ImageSize(*cut) if cut else ImageSize(sides[-1], values.long_side or 0)
    where = location(place) if place is not None else None
    origin = place.source.origin if place is not None else Origin.DEFAULT
    note = "" if place is not None else f"default of {_SOURCE}"
    draft.put("image_size", Fact(size, origin, where, note))
    draft.put("multi_scale", derived(len(sides) > 1 and not cut, f"{len(sides)} short sides to draw from"))


def _numbers(value: object) -> list[int]:
    """The whole numbers of a list, or of a tuple as yacs reads it from text (``"(640, 800)"``)."""
    if isinstance(value, list):
        return [side for side in value if isinstance(side, int) and side > 0]
    return [int(word) for word in re.findall(r"\d+", str(value))] if "." not in str(value) else []


def _task(settings: Settings[Config]) -> Fact[str]:
    architecture = settings.values.meta_architecture or ""
    if settings.values.mask_on or "Seg" in architecture or "Panoptic" in architecture:
        return derived("segment", "MASK_ON" if settings.values.mask_on else architecture)
    return derived("detect", architecture or "no mask head")
