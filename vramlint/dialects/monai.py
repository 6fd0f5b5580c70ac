"""MONAI bundles: a ``train.json`` or ``train.yaml`` that builds network, loss and loaders with ``_target_``.

The batch is per rank. A crop transform that draws several patches of a volume (``num_samples``) makes each of them a
sample of the batch, so the network sees ``batch_size`` times as many::

    effective batch = DataLoader batch_size x ranks x SupervisedTrainer accumulation_steps

Example (``configs/train.yaml``):

```yaml
patch: [96, 96, 96]
network_def:
  _target_: UNet
  spatial_dims: 3
  in_channels: 1
  out_channels: 2
  channels: [16, 32, 64, 128, 256]
  strides: [2, 2, 2, 2]
  num_res_units: 2
  norm: batch
loss:
  _target_: DiceCELoss
  to_onehot_y: true
  softmax: true
optimizer:
  _target_: torch.optim.Adam
  params: $@network.parameters()
  lr: 1e-4
train:
  random_transforms:
  - _target_: RandCropByPosNegLabeld
    keys: [image, label]
    spatial_size: '@patch'
    num_samples: 4
  dataloader:
    _target_: DataLoader
    dataset: '@train#dataset'
    batch_size: 2
    num_workers: 4
  trainer:
    _target_: SupervisedTrainer
    max_epochs: 100
    amp: true
```

```plan gpus=1
micro_batch: 2 file 28
accumulation: 1 default
effective_batch: 2 derived
precision: fp16 file 33
image_size: 96x96 file 1
workers_per_rank: 4 file 29
optimizer: Adam file 16
learning_rate: 0.0001 file 18
epochs: 100.0 file 32
task: segment derived
```

Plain references (``@patch``, ``@train#num_workers``) are followed; ``$`` expressions are never evaluated and leave what
they give UNKNOWN.

Sources: MONAI 1.6.1 ``bundle/config_parser.py``, ``bundle/reference_resolver.py`` (``@`` and ``#``),
``engines/trainer.py`` (``amp`` False, ``accumulation_steps`` 1), ``data/utils.py#list_data_collate``,
``transforms/croppad/dictionary.py`` (``num_samples`` 1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from typing import Any, ClassVar, NamedTuple

from vramlint.dialects.draft import Draft
from vramlint.dialects.language import torch_prefetch
from vramlint.dialects.launch import world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.model_tree import model_tree
from vramlint.dialects.places import Place, Source, locate, location
from vramlint.dialects.reading import Count, Flag, Natural, Schema, keys, plain_value, settings_from
from vramlint.plan import Fact, ImageSize, ModelTree, Origin, Precision, default, derived, unknown
from vramlint.sources.model import Document, Entry, Mapping, Node, Scalar, Sequence

NAME = "monai"
TITLE = "MONAI bundles"

_SOURCE = "MONAI 1.6.1"


class Config(Schema):
    """What decides batch and memory beside the network."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("train.dataloader.batch_size", default=1)
    workers_per_rank: Natural | None = keys("train.dataloader.num_workers", default=0)
    prefetch_factor: Natural | None = keys("train.dataloader.prefetch_factor")
    pin_memory: Flag | None = keys("train.dataloader.pin_memory", default=False)
    persistent_workers: Flag | None = keys("train.dataloader.persistent_workers")
    accumulation: Count | None = keys("train.trainer.accumulation_steps", default=1)
    epochs: float | None = keys("train.trainer.max_epochs")
    learning_rate: float | None = keys("optimizer.lr")

    amp: Flag | None = keys("train.trainer.amp", default=False)


_DIRECT = tuple(Config.model_fields)[:8]
_CROPS = {
    "RandCropByPosNegLabel": "spatial_size",
    "RandCropByLabelClasses": "spatial_size",
    "RandWeightedCrop": "spatial_size",
    "RandSpatialCrop": "roi_size",
    "RandSpatialCropSamples": "roi_size",
    "CenterSpatialCrop": "roi_size",
    "Resize": "spatial_size",
    "ResizeWithPadOrCrop": "spatial_size",
}
"""Transforms that give every sample one size, by the key of the size; dictionary ones end in ``d``."""
_SAMPLING = ("RandCropByPosNegLabel", "RandCropByLabelClasses", "RandWeightedCrop", "RandSpatialCropSamples")
_PIPELINES = ("train.deterministic_transforms", "train.random_transforms", "train.preprocessing.transforms")
_REFERENCE = re.compile(r"\$?@([A-Za-z_]\w*(?:(?:#|::)\w+)*)")
_MOST_REFERENCES = 8


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one bundle's training config."""
    root = document.root if isinstance(document.root, Mapping) else Mapping(document.root.span, [])
    source = Source(document, root)
    places = {
        name: place for name, setting in Config.model_fields.items() if (place := _place(source, setting.keys[0]))
    }
    settings = settings_from(Config, places)
    draft = Draft(claim, document)
    draft.fill(settings, _DIRECT)
    torch_prefetch(draft)
    draft.put("precision", _precision(source, settings.fact("amp")))
    draft.put("optimizer", _target(source, "optimizer"))
    draft.put("model", unknown("the bundle names its network by its class"))
    draft.put("ema", default(value=False, note=f"{_SOURCE} has none of its own"))
    draft.put("grad_checkpointing", default(value=False, note=f"{_SOURCE}: an option of few networks"))
    _patches(draft, source)
    _architecture(draft, source)
    return draft.close(world(document, None, context))


def _place(source: Source, dotted: str) -> Place | None:
    """The place that spells ``dotted``, behind the references that lead there."""
    place = source.find(dotted)
    for _ in range(_MOST_REFERENCES):
        found = _reference(place.node) if place is not None else ""
        further = source.find(found) if found else None
        if further is None:
            break  # a reference that leads nowhere stays text, which no setting is
        place = further
    return place


def _reference(node: Node) -> str:
    """The dotted path that a plain reference leads to; empty for anything else."""
    match = _REFERENCE.fullmatch(str(node.value)) if isinstance(node, Scalar) else None
    return re.sub("#|::", ".", match[1]) if match else ""


def _followed(source: Source, node: Node) -> Node:
    for _ in range(_MOST_REFERENCES):
        found = _reference(node)
        place = source.find(found) if found else None
        if place is None:
            return node
        node = place.node
    return node


def _target(source: Source, section: str) -> Fact[str]:
    place = source.find(f"{section}._target_")
    name = plain_value(place.node) if place is not None else None
    if place is None or not isinstance(name, str):
        return unknown(f"{section} names no _target_")
    return Fact(name.rpartition(".")[2], place.source.origin, location(place))


def _precision(source: Source, amp: Fact[bool]) -> Fact[Precision]:
    """``amp`` is torch's autocast, to fp16 unless ``amp_kwargs`` names another type."""
    if not amp.known:
        return unknown(amp.note, amp.location)
    place = source.find("train.trainer.amp_kwargs.dtype")
    kind = Precision.FP16
    if place is not None:
        text = str(plain_value(place.node))
        if "bfloat16" not in text and "float16" not in text:
            return unknown(f"amp_kwargs dtype {text}", location(place))
        kind = Precision.BF16 if "bfloat16" in text else Precision.FP16
    return Fact(kind if amp.value else Precision.FP32, amp.origin, amp.location, amp.note)


# --- patches ----------------------------------------------------------------------------------------------------------


class _Crop(NamedTuple):
    name: str
    section: Mapping


def _crops(source: Source) -> Iterator[_Crop]:
    """Transforms of the training pipeline that decide a sample's size, in their order."""
    for dotted in _PIPELINES:
        place = _place(source, dotted)
        items = place.node.items if place is not None and isinstance(place.node, Sequence) else []
        for item in items:
            section = _followed(source, item)
            target = section.get("_target_") if isinstance(section, Mapping) else None
            name = str(target.value).rpartition(".")[2].removesuffix("d") if isinstance(target, Scalar) else ""
            if isinstance(section, Mapping) and name in _CROPS and not _disabled(section):
                yield _Crop(name, section)


def _disabled(section: Mapping) -> bool:
    node = section.get("_disabled_")
    return node is not None and plain_value(node) is not False


def _patches(draft: Draft, source: Source) -> None:
    """The size of a patch, and how many of them a volume gives."""
    crops = list(_crops(source))
    counts = [_count(source, crop) for crop in crops if crop.name in _SAMPLING]
    known = [count for count in counts if count is not None]
    complete = len(known) == len(counts)
    note = "num_samples of the crop transforms"
    draft.put("patches", derived(prod(known), note) if complete else unknown("num_samples is no constant"))
    if not crops:
        draft.put("image_size", unknown("no transform gives the samples one size"))
        return
    last = crops[-1]
    node = last.section.get(_CROPS[last.name])
    sides = [] if node is None else _sides(plain_value(_followed(source, node)))
    varies = last.section.get("random_size")
    if node is None or not sides or (varies is not None and plain_value(varies) is not False):
        draft.put("image_size", unknown(f"{last.name} has no constant size"))
        return
    where = locate(source.document, _followed(source, node).span)
    draft.put("image_size", Fact(ImageSize(sides[-2], sides[-1]), Origin.FILE, where))
    draft.put("multi_scale", derived(value=False, note=f"{last.name} gives every sample one size"))
    draft.put("shapes_vary", derived(value=False, note=f"{last.name} gives every sample one size"))
    if len(sides) == 3:
        draft.put("depth", Fact(sides[0], Origin.FILE, where))


def _sides(value: object) -> list[int]:
    """Two or three positive sides; empty for anything else (-1 is the whole volume)."""
    sides = [side for side in value if isinstance(side, int) and side > 0] if isinstance(value, list) else []
    return sides if isinstance(value, list) and len(sides) == len(value) and len(sides) in (2, 3) else []


def _count(source: Source, crop: _Crop) -> int | None:
    node = crop.section.get("num_samples")
    value = plain_value(_followed(source, node)) if node is not None else 1
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


# --- the network ------------------------------------------------------------------------------------------------------


def _architecture(draft: Draft, source: Source) -> None:
    network = _section(source, "network_def") or _section(source, "network")
    loss = _section(source, "loss")
    if network is None or loss is None:
        draft.put("architecture", unknown("the bundle spells no network" if network is None else "no loss is spelled"))
        return
    tree = ModelTree(_framework=NAME, _scope=NAME)
    tree.update(type="SupervisedTrainer", backbone=_part(source, network), loss=_part(source, loss))
    draft.put("architecture", Fact(tree, Origin.FILE))
    draft.put("task", derived("segment", f"a {tree['backbone'].get('type')} with {tree['loss'].get('type')}"))


def _section(source: Source, name: str) -> Mapping | None:
    place = _place(source, name)
    node = place.node if place is not None else None
    return node if isinstance(node, Mapping) and node.get("_target_") is not None else None


def _part(source: Source, section: Mapping) -> dict[str, Any]:
    """A section as the tree's component: its ``_target_`` is its type, references are followed."""
    entries = [Entry(e.key, e.key_span, _followed(source, e.value), e.span) for e in section.entries]
    found = dict(model_tree(Mapping(section.span, entries), NAME, NAME))
    kind = str(found.pop("_target_", "")).rpartition(".")[2]
    return {"type": kind, **{key: value for key, value in found.items() if not key.startswith("_")}}
