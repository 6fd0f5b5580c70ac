"""RT-DETR, RT-DETRv2, D-FINE and their kin: a YAML that ``__include__``s others, trained by the repository's script.

``total_batch_size`` is the batch of all ranks together and has to divide by them; ``batch_size`` is that of one rank.
Nothing accumulates::

    effective batch = train_dataloader.total_batch_size

Example (``rtdetrv2_r18vd.yml``):

```yaml
__include__: []
RTDETR:
  backbone: PResNet
  decoder: RTDETRTransformerv2
PResNet:
  depth: 18
eval_spatial_size: [640, 640]
train_dataloader:
  total_batch_size: 16
  num_workers: 4
use_amp: True
use_ema: True
```

```plan gpus=2
micro_batch: 8 file 9
global_batch: 16 file 9
effective_batch: 16 derived
image_size: 640x640 file 7
precision: fp16 file 11
ema: true file 12
workers_per_rank: 4 file 10
model: rtdetr_v2_r18vd derived
```

Values of ``-u key=value`` on the launch line go before the file, the file before what it includes, and later includes
before earlier ones. ``use_amp`` alone is decided by the launch line of ``train.py``, where one is known: ``--use-amp``,
or no autocast. Files that are not at hand leave what they may say UNKNOWN.

Sources: lyuwenyu/RT-DETR 2025-05, ``rtdetrv2_pytorch/src/core/yaml_utils.py`` (includes), ``yaml_config.py`` (batch of
a rank, an assertion), ``_config.py`` (no AMP and no EMA by default), ``tools/train.py``; Peterande/D-FINE 2025-03, the
same files and ``src/data/dataloader.py#generate_scales``.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any, ClassVar

from vramlint.dialects import spelling_out
from vramlint.dialects.detectron2 import share
from vramlint.dialects.draft import Draft
from vramlint.dialects.launch import world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.neighbours import reader_of
from vramlint.dialects.overrides import only_launch, word_overrides
from vramlint.dialects.places import Source
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Size, Text, keys, read_settings
from vramlint.plan import Fact, ImageSize, Precision, default, derived, unknown
from vramlint.sources.model import Document, Mapping, plain

NAME = "rtdetr"
TITLE = "RT-DETR and D-FINE"

_SOURCE = "RT-DETR 2025-05"
_DEEPEST = 8


class Config(Schema):
    """The keys that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    total_batch: Count | None = keys("train_dataloader.total_batch_size")
    micro_batch: Count | None = keys("train_dataloader.batch_size")
    workers_per_rank: Natural | None = keys("train_dataloader.num_workers")
    ema: Flag | None = keys("use_ema")
    epochs: Count | None = keys("epoches", "epochs")
    learning_rate: float | None = keys("optimizer.lr")
    num_classes: Count | None = keys("num_classes")
    num_queries: Count | None = keys(
        "RTDETRTransformerv2.num_queries", "DFINETransformer.num_queries", "RTDETRTransformer.num_queries"
    )
    image_size: Size | None = keys("eval_spatial_size")
    amp: Flag | None = keys("use_amp")
    optimizer: Text | None = keys("optimizer.type")

    scales: Any = keys("train_dataloader.collate_fn.scales")
    base_size: Count | None = keys("train_dataloader.collate_fn.base_size")
    depth: Count | None = keys("PResNet.depth")
    backbone: Text | None = keys("RTDETR.backbone", "DFINE.backbone", "DEIM.backbone")
    decoder: Text | None = keys("RTDETR.decoder", "DFINE.decoder", "DEIM.decoder")
    hg_size: Text | None = keys("HGNetv2.name")
    hidden: Count | None = keys("HybridEncoder.hidden_dim")
    expansion: float | None = keys("HybridEncoder.expansion")


_DIRECT = (
    "workers_per_rank", "ema", "epochs", "learning_rate", "num_classes", "num_queries", "image_size", "optimizer",
)  # fmt: skip
_MISSING = "a file that is included and not at hand may say"


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one YAML with what it includes."""
    chain = _Chain(document, context)
    sources = [*word_overrides(document, context), *chain.sources]
    settings = read_settings(Config, sources)
    draft = Draft(claim, document)
    for source in chain.sources:
        draft.use(source.document)
    draft.fill(settings, _DIRECT)
    draft.put("precision", _precision(draft, settings, document, context, complete=chain.complete))
    if not settings.spelled("ema"):
        draft.put("ema", default(value=False, note=f"default of {_SOURCE}") if chain.complete else unknown(_MISSING))
    draft.put("task", derived("detect", "a detector is trained"))
    draft.put("model", _model(settings))
    if chain.complete or settings.spelled("scales") or settings.spelled("base_size"):
        _scales(draft, settings)
    found = world(document, None, context, alone="one process: no launcher is known")
    _batch(draft, settings, found.ranks)
    _only_own(draft, found.ranks.value)
    return draft.close(found)


class _Chain:
    """A file and what it includes, nearest first; ``complete`` tells whether all of them are at hand."""

    def __init__(self, document: Document, context: Context) -> None:
        self._read = reader_of(document, context)
        self.complete = True
        self.sources = list(self._of(document, 0))

    def _of(self, document: Document, depth: int) -> Iterator[Source]:
        root = document.root
        if not isinstance(root, Mapping):
            return
        yield Source(document, root)
        named = plain(root.get("__include__"))
        for path in reversed(named if isinstance(named, list) else []):
            folder = posixpath.dirname(document.path)
            found = self._read(posixpath.normpath(posixpath.join(folder, str(path)))) if depth < _DEEPEST else None
            if found is None:
                self.complete = False
                continue
            yield from self._of(found, depth + 1)


def _precision(
    draft: Draft, settings: Settings[Config], document: Document, context: Context, *, complete: bool
) -> Fact[Precision]:
    """``--use-amp`` on the launch line (``--amp`` of RT-DETR's first release), else ``use_amp``: autocast to fp16 with
    loss scaling. ``tools/train.py`` writes its flag over the files' key, also where the flag is not there."""
    launch = only_launch(document, context)
    if launch is not None:
        if any(launch[1].options.get(flag) is not None for flag in ("--use-amp", "--amp")):
            return derived(Precision.FP16, "--use-amp of the launch line")
        if posixpath.basename(launch[1].program) == "train.py":
            return derived(Precision.FP32, f"no --use-amp on the launch line, which goes before use_amp ({_SOURCE})")
    fact = settings.fact("amp")
    if "amp" in settings.places and settings.spelled("amp"):
        draft.offer("precision", settings.places["amp"])
        return Fact(Precision.FP16 if fact.value else Precision.FP32, fact.origin, fact.location, fact.note)
    if not complete or "amp" in settings.doubts:
        return unknown(fact.note or _MISSING, fact.location)
    return default(Precision.FP32, f"default of {_SOURCE}")


_EXPANSIONS = {18: 0.5, 34: 0.5, 50: 1.0, 101: 1.0}
"""ResNets by depth, with the ``expansion`` of the encoder that stands over each (the ``m`` of r50vd_m has 0.5)."""


def _model(settings: Settings[Config]) -> Fact[str]:
    """The model by the name that Hugging Face gives its port: ``rtdetr_v2_r18vd``, ``dfine_small``."""
    values = settings.values
    second = "v2_" if str(values.decoder).endswith("v2") else ""
    if values.backbone == "PResNet" and values.depth in _EXPANSIONS:
        usual = _EXPANSIONS[values.depth]
        if values.expansion not in (None, usual):
            return unknown(f"r{values.depth}vd under an encoder of expansion {values.expansion} is no usual model")
        return derived(f"rtdetr_{second}r{values.depth}vd", "backbone and decoder of the file")
    size = _dfine_size(values) if values.decoder == "DFINETransformer" else None
    if size is not None:
        return derived(f"dfine_{size}", "backbone and decoder of the file")
    return unknown(f"{values.backbone or 'its backbone'} under {values.decoder or 'its decoder'} is not known by name")


def _dfine_size(values: Config) -> str | None:
    """Source: D-FINE ``configs/dfine/dfine_hgnetv2_{n,s,m,l,x}_coco.yml``."""
    if values.hg_size == "B0":
        return "nano" if values.hidden == 128 else "small"
    return {"B2": "medium", "B4": "large", "B5": "xlarge"}.get(str(values.hg_size))


def _scales(draft: Draft, settings: Settings[Config]) -> None:
    """Batches are resized to a size drawn from a list, or from three quarters to five quarters of ``base_size``."""
    scales, base = settings.values.scales, settings.values.base_size
    drawn = [side for side in scales if isinstance(side, int)] if isinstance(scales, list) else []
    if base and not settings.spelled("scales"):
        drawn = [int(base * 0.75 / 32) * 32, base, int(base * 1.25 / 32) * 32]
    draft.put("multi_scale", derived(len(set(drawn)) > 1, f"{len(set(drawn))} sizes to draw from"))
    if drawn:
        largest = ImageSize(max(drawn), max(drawn))
        draft.put("largest_image_size", derived(largest, "the largest size that a batch is resized to"))


def _batch(draft: Draft, settings: Settings[Config], ranks: Fact[int]) -> None:
    draft.put("accumulation", derived(1, f"{_SOURCE} has no accumulation"))
    total = settings.fact("total_batch")
    if not settings.spelled("total_batch"):
        draft.fill(settings, ("micro_batch",))
        return
    draft.put("global_batch", total)
    if ranks.value is not None:
        draft.offer("micro_batch", settings.places["total_batch"], spelling_out.scaled(ranks.value))
    draft.put("micro_batch", share(total, ranks))


def _only_own(draft: Draft, ranks: int | None) -> None:
    """What a file includes is other files' too: a repair writes the file itself, where its key goes before theirs."""
    draft.slots = {name: slot for name, slot in draft.slots.items() if slot.document is draft.document}
    root = draft.document.root
    loader = root.get("train_dataloader") if isinstance(root, Mapping) else None
    if isinstance(loader, Mapping) and ranks is not None and draft.plan.global_batch.known:
        draft.offer_insert("micro_batch", draft.document, loader, "total_batch_size", spelling_out.scaled(ranks))
