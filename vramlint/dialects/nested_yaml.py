"""A training program's own YAML or TOML: settings in sections such as ``trainer:``, ``data:`` and ``model:``.

The batch is taken per rank, as a loop around ``accelerate`` or a ``DistributedSampler`` takes it::

    effective batch = batch_size x ranks x gradient_accumulation_steps

Example (``config.yml``):

```yaml
model:
  name: unet
trainer:
  epochs: 100
  gradient_accumulation_steps: 4
  mixed_precision: fp16
dataset:
  FIVES:
    image_size: 1024
    batch_size: 1
    num_workers: 4
```

```plan gpus=1
micro_batch: 1 file 10
accumulation: 4 file 5
precision: fp16 file 6
image_size: 1024x1024 file 9
workers_per_rank: 4 file 11
effective_batch: 4 derived
model: unet file 2
```

Two places that give one setting different values make it UNKNOWN, unless the file names the data set it trains on.
Missing settings can be added to a section that exists, in the spelling family that the file already uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vramlint.dialects import generic
from vramlint.dialects.draft import Draft
from vramlint.dialects.launch import World, device_count, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import Place, Source, location
from vramlint.dialects.reading import plain_value
from vramlint.dialects.signature import normal_name
from vramlint.dialects.spellings import INSERTED_LONG, INSERTED_SHORT, NOT_TRAINING, SHORT_FAMILY, SPELLINGS
from vramlint.plan import Fact, unknown
from vramlint.sources.model import Document, Entry, Mapping, Scalar

NAME = "nested_yaml"
TITLE = "a training program's own YAML or TOML"

_TRAINER_SECTIONS = (
    "trainer",
    "training",
    "train",
    "train_config",
    "trainer_config",
    "optimization",
    "optim",
    "solver",
)
_MODEL_PATHS = (
    "model.name",
    "model.arch",
    "model.architecture",
    "model.model_name",
    "model.type",
    "model.backbone",
    "model",
    "model_name",
    "arch",
    "architecture",
    "network.name",
    "network",
    "net",
    "backbone",
)
_LOADER_FACTS = ("prefetch_factor", "persistent_workers", "pin_memory")
_TRAINER_FACTS = ("accumulation", "precision")
"""What every trainer of this kind reads. Checkpointing is up to the model: a key it ignores would promise memory."""


class Leaf(NamedTuple):
    """One scalar or list of the file: its keys from the root, and its place."""

    path: tuple[str, ...]
    place: Place

    @property
    def name(self) -> str:
        return self.path[-1]


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one file."""
    root = document.root
    assert isinstance(root, Mapping)
    draft = Draft(claim, document)
    leaves = list(_leaves(document, root))
    chosen: dict[str, Leaf] = {}
    for fact in generic.Trainer.model_fields:
        candidates = [leaf for leaf in leaves if leaf.name in SPELLINGS[fact]] if fact != "model" else []
        leaf = _pick(draft, fact, _preferred(fact, candidates), leaves)
        if leaf is not None:
            chosen[fact] = leaf
    model = _model(leaves)
    if model is not None:
        chosen["model"] = model
    precisions = [
        leaf.place
        for leaf in leaves
        if leaf.name in SPELLINGS["precision"] and not isinstance(leaf.place.node, Mapping)
    ]
    doubts = {fact: draft.plan.fact(fact) for fact in generic.Trainer.model_fields if draft.plan.fact(fact).note}
    generic.fill(draft, {fact: leaf.place for fact, leaf in chosen.items()}, precisions, generic.NO_KEY)
    for fact, doubt in doubts.items():
        draft.put(fact, doubt)
    _insertable(draft, document, root, chosen)
    return draft.close(_world(document, context, leaves))


def _leaves(document: Document, root: Mapping) -> Iterator[Leaf]:
    """Scalars and lists outside of evaluation sections, each once, in file order."""
    source = Source(document, root)
    seen: set[int] = set()

    def walk(mapping: Mapping, path: tuple[str, ...], dotted: str = "") -> Iterator[Leaf]:
        if id(mapping) in seen:
            return
        seen.add(id(mapping))
        for entry in _counting(mapping):
            name = normal_name(entry.key)
            if isinstance(entry.value, Mapping):
                if name not in NOT_TRAINING:
                    yield from walk(entry.value, (*path, name), f"{dotted}{entry.key}.")
            else:
                yield Leaf((*path, name), Place(source, f"{dotted}{entry.key}", entry, mapping))

    yield from walk(root, ())


def _counting(mapping: Mapping) -> list[Entry]:
    """The entries that count: of a key that stands twice, the last, as loaders have it."""
    return list({entry.key: entry for entry in mapping.entries}.values())


def _preferred(fact: str, candidates: list[Leaf]) -> list[Leaf]:
    """Names that say "per GPU" beat a bare ``batch_size``; sections named after training beat others."""
    if fact == "micro_batch":
        candidates = [leaf for leaf in candidates if leaf.name in generic.PER_RANK_NAMES] or candidates
    training = [leaf for leaf in candidates if any(part.startswith("train") for part in leaf.path[:-1])]
    return training or candidates


def _pick(draft: Draft, fact: str, candidates: list[Leaf], leaves: list[Leaf]) -> Leaf | None:
    """The one candidate; of several, any when they agree, else the one in the chosen data set, else none (UNKNOWN)."""
    if len({repr(plain_value(leaf.place.node)) for leaf in candidates}) <= 1:
        return candidates[0] if candidates else None
    words = {
        str(plain_value(leaf.place.node)).lower()
        for leaf in leaves
        if leaf.name in ("name", "dataset", "dataset_name", "data")
    }
    selected = [leaf for leaf in candidates if any(part in words for part in leaf.path[:-1])]
    if len(selected) == 1:
        return selected[0]
    told = ", ".join(f"{leaf.place.name} = {plain_value(leaf.place.node)}" for leaf in candidates[:4])
    draft.put(fact, unknown(f"several values: {told}", location(candidates[0].place)))
    return None


def _model(leaves: list[Leaf]) -> Leaf | None:
    by_path = {".".join(leaf.path): leaf for leaf in leaves if isinstance(leaf.place.node, Scalar)}
    for path in _MODEL_PATHS:
        leaf = by_path.get(path)
        if leaf is not None and isinstance(plain_value(leaf.place.node), str):
            return leaf
    return None


def _insertable(draft: Draft, document: Document, root: Mapping, chosen: dict[str, Leaf]) -> None:
    """Trainer settings go into the trainer's section, loader settings beside the workers."""
    batch = chosen.get("micro_batch")
    if batch is None:
        return
    family = INSERTED_SHORT if batch.name in SHORT_FAMILY else INSERTED_LONG
    section = _trainer_section(root, chosen)
    for fact in _TRAINER_FACTS:
        if fact in family and not draft.plan.fact(fact).spelled and draft.plan.fact(fact).known:
            draft.offer_insert(fact, document, section, family[fact])
    workers = chosen.get("workers_per_rank")
    for fact in _LOADER_FACTS:
        if workers is not None and fact in family and not draft.plan.fact(fact).spelled:
            draft.offer_insert(fact, document, workers.place.parent, family[fact], after=workers.place.entry.key)


def _trainer_section(root: Mapping, chosen: dict[str, Leaf]) -> Mapping:
    """The section of the training loop: by name, else where the epochs stand, else where the batch stands."""
    for entry in root.entries:
        if normal_name(entry.key) in _TRAINER_SECTIONS and isinstance(entry.value, Mapping):
            return entry.value
    for fact in ("accumulation", "epochs", "max_steps", "learning_rate", "micro_batch"):
        if fact in chosen:
            return chosen[fact].place.parent
    return root


def _world(document: Document, context: Context, leaves: list[Leaf]) -> World:
    """Launch lines first, then the file's own count of GPUs, then the target."""
    found = world(document, None, context)
    if found.ranks.spelled:
        return found
    own = next((leaf for name in SPELLINGS["world_size"] for leaf in leaves if leaf.name == name), None)
    if own is None:
        return found
    count = _gpus(plain_value(own.place.node))
    if count is None:
        return found
    return World(Fact(count, own.place.source.origin, location(own.place), own.place.name), found.nodes)


def _gpus(value: object) -> int | None:
    """``gpus: 2``, ``devices: [0, 1]``; 0, -1 and "auto" say nothing certain."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value > 0 else None
    return device_count(value) if isinstance(value, list) or (isinstance(value, str) and "," in value) else None
