"""What the two OpenMMLab eras share: chains of base files, launch words, training pipelines and their image size.

Base files merge as mmengine 0.10.7 ``Config._merge_a_into_b`` does it; a value that a base file spells is edited there.
"""

from __future__ import annotations

import posixpath
from typing import ClassVar, NamedTuple, TypeVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Context
from vramlint.dialects.neighbours import reader_of
from vramlint.dialects.overrides import WordSource
from vramlint.dialects.places import FlagSource, Place, Source, location
from vramlint.dialects.reading import Count, Flag, Schema, Settings, Text, keys, plain_value, read_settings
from vramlint.dialects.values import as_count
from vramlint.plan import Fact, ImageSize, Origin, default, derived, unknown
from vramlint.sources.model import Command, Document, Entry, Mapping, Node, Scalar, Sequence, Unknown, lookup
from vramlint.sources.python_project import PythonProject, Resolved

T = TypeVar("T")


class Sizes(NamedTuple):
    """The usual training size, the largest one, and whether sizes vary from batch to batch."""

    usual: Fact[ImageSize]
    largest: ImageSize | None = None
    vary: bool = False


class ResolvedSource(Source):
    """A config merged from several files; each setting belongs to the file that spells it."""

    def __init__(self, resolved: Resolved) -> None:
        super().__init__(resolved.documents[0], resolved.mapping)
        self.resolved = resolved

    def find(self, dotted: str) -> Place | None:
        """The place of ``dotted`` in the file that spells it."""
        place = super().find(dotted)
        if place is None:
            return None
        parent = self.resolved.original(place.parent)
        return Place(Source(self.resolved.owner(place.entry), parent), dotted, place.entry, parent)


class Config(NamedTuple):
    """A config file with its base files, and the words of its launch line in front of it."""

    document: Document
    source: ResolvedSource
    launched: tuple[Document, Command] | None

    @property
    def root(self) -> Mapping:
        return self.source.mapping

    @property
    def missing(self) -> list[str]:
        """Base files that are not at hand: what they say is unknown."""
        return self.source.resolved.missing

    @property
    def sources(self) -> list[Source]:
        """Where settings are looked up: ``--cfg-options a.b=c`` words first."""
        if self.launched is None:
            return [self.source]
        return [WordSource(self.launched[0], self.launched[1].overrides), self.source]

    def has(self, *names: str) -> bool:
        """Whether the merged config sets any of ``names`` at its top."""
        return any(self.root.get(name) is not None for name in names)

    def switch(self, name: str) -> Place | None:
        """A switch of the launch line (``--amp``)."""
        return None if self.launched is None else FlagSource(self.launched[0], self.launched[1].options).find(name)


def open_config(document: Document, context: Context) -> Config:
    """``document`` with every base file that can be read merged in."""
    launches = context.launches(document)
    launched = launches[0] if len(launches) == 1 else None
    resolved = PythonProject(reader_of(document, context)).module(document.path)
    if resolved is None:
        root = document.root if isinstance(document.root, Mapping) else Mapping(document.root.span, [])
        resolved = Resolved(root, [document], ["_base_"] if root.get("_base_") is not None else [])
    return Config(document, ResolvedSource(resolved), launched)


def start(draft: Draft, config: Config) -> None:
    """Name every file that the plan is read from."""
    for document in config.source.resolved.documents:
        draft.use(document)


def left_out(config: Config, value: T, note: str) -> Fact[T]:
    """A default, unless a base file that is not at hand may say otherwise."""
    if config.missing:
        return unknown(f"{config.missing[0]} is not at hand")
    return default(value, note)


def offer_child_key(draft: Draft, config: Config, fact: str, section: str, key: str) -> None:
    """Let repairs add ``key`` to ``section``, where this very file spells the section."""
    root = config.document.root
    found = root.get(section) if isinstance(root, Mapping) else None
    if isinstance(found, Mapping) and not draft.plan.fact(fact).spelled:
        draft.offer_insert(fact, config.document, found, key)


def put_sizes(draft: Draft, sizes: Sizes) -> None:
    """The training sizes, and the largest where they vary."""
    draft.put("image_size", sizes.usual)
    if sizes.usual.known:
        draft.put("multi_scale", derived(sizes.vary, "the training pipeline's transforms"))
    if sizes.largest is not None:
        draft.put("largest_image_size", derived(sizes.largest, "the largest size of the training pipeline"))


def model_facts(draft: Draft, config: Config) -> None:
    """Model, task, classes, queries, checkpointing and averaged weights, as far as the config says them."""
    settings = read_settings(_Model, config.sources)
    draft.fill(settings, ("num_classes", "num_queries"))
    kind = settings.values.kind or ""
    draft.put("model", left_out(config, "", "") if not kind and config.missing else _known_model(settings, kind))
    task = _task(config, kind)
    if task:
        draft.put("task", derived(task, f"a {kind} is trained"))
    checkpointing = settings.fact("checkpointing")
    if not settings.spelled("checkpointing"):
        checkpointing = left_out(config, value=False, note="with_cp is off by default in every backbone")
    draft.put("grad_checkpointing", checkpointing)
    if "checkpointing" in settings.places:
        draft.offer("grad_checkpointing", settings.places["checkpointing"])
    hooks = lookup(config.root, "custom_hooks")
    averaged = [hook for hook in hooks.items if _is_average(hook)] if isinstance(hooks, Sequence) else []
    draft.put(
        "ema", derived(value=True, note="an EMAHook") if averaged else left_out(config, value=False, note="no EMAHook")
    )


class _Model(Schema):
    """What a ``model`` section says in every OpenMMLab project."""

    source: ClassVar[str] = "mmengine 0.10.7"

    kind: Text | None = keys("model.type")
    backbone: Text | None = keys("model.backbone.type")
    depth: Count | None = keys("model.backbone.depth")
    base_channels: Count | None = keys("model.backbone.base_channels")
    checkpointing: Flag | None = keys("model.backbone.with_cp")
    num_classes: Count | None = keys(
        "model.bbox_head.num_classes",
        "model.roi_head.bbox_head.num_classes",
        "model.decode_head.num_classes",
        "model.panoptic_head.num_things_classes",
        "model.head.num_classes",
    )
    num_queries: Count | None = keys(
        "model.num_queries", "model.bbox_head.num_query", "model.panoptic_head.num_queries"
    )


_BASE_CHANNELS = 64
"""A ResNet's first width; mmpretrain's wide ones have 128 (1.2.0 ``configs/_base_/models/wide-resnet50.py``)."""


def _known_model(settings: Settings[_Model], kind: str) -> Fact[str]:
    """A ResNet classifier of usual width is torchvision's; detectors and segmentors go by no name that says all."""
    values = settings.values
    usual = values.base_channels in (None, _BASE_CHANNELS)
    if kind == "ImageClassifier" and values.backbone == "ResNet" and values.depth and usual:
        place = settings.places["depth"]
        return Fact(f"resnet{values.depth}", place.source.origin, location(place))
    if not kind:
        return unknown("the config names no model")
    parts = f"{values.backbone or 'a backbone'}{f' of depth {values.depth}' if values.depth else ''}"
    return unknown(f"nothing is known of the memory of {kind} with {parts}")


_TASKS = (("Pose", "pose"), ("Segmentor", "segment"), ("Classifier", "classify"), ("Recognizer", "classify"))
_SCOPES = {"mmseg": "segment", "mmdet": "detect", "mmpose": "pose", "mmpretrain": "classify", "mmrotate": "detect"}
_SCOPES |= {"mmyolo": "detect", "mmaction": "classify"}


def _task(config: Config, kind: str) -> str | None:
    """Masks make a detector one that segments; else the word in the model's type or the project decides."""
    masks = ("model.roi_head.mask_head", "model.mask_head", "model.panoptic_head", "model.segm_head")
    if kind == "EncoderDecoder" or any(isinstance(lookup(config.root, path), Mapping) for path in masks):
        return "segment"
    scope = plain_value(config.root.get("default_scope") or Scalar(config.root.span, "", None))
    return next((task for word, task in _TASKS if word in kind), None) or _SCOPES.get(str(scope))


def _is_average(hook: Node) -> bool:
    kind = hook.get("type") if isinstance(hook, Mapping) else None
    name = kind.text if isinstance(kind, Unknown) else plain_value(kind) if kind is not None else ""
    return str(name).endswith("EMAHook")


def ranks(config: Config, context: Context) -> World:
    """``dist_train.sh CONFIG GPUS`` starts one rank a GPU, on each of ``NNODES``; else what starts other programs.

    Source: mmdet 3.3.0 ``tools/dist_train.sh``; ``tools/slurm_train.sh`` takes GPUS, 8 unless the environment says.
    """
    if config.launched is None:
        return world(config.document, None, context)
    document, command = config.launched
    name = posixpath.basename(command.program)
    environment = Source(document, command.environment, Origin.LAUNCH)
    if name == "dist_train.sh" and len(command.positionals) > 1:
        node = command.positionals[1]
        place = Place(Source(document, command.options, Origin.LAUNCH), "GPUS", _entry_of(node), command.options)
        return _counted(place, environment.find("NNODES"))
    if name == "slurm_train.sh":
        gpus = environment.find("GPUS")
        if gpus is not None:
            return _counted(gpus, None)
        return World(default(8, "mmdet 3.3.0 tools/slurm_train.sh: GPUS is 8"), unknown())
    return world(config.document, None, context)


def _entry_of(node: Scalar) -> Entry:
    return Entry("GPUS", node.span, node, node.span)


def _counted(gpus: Place, nodes: Place | None) -> World:
    count = _number(gpus)
    machines = 1 if nodes is None else _number(nodes)
    where = location(gpus)
    if count is None or machines is None:
        return World(unknown("the number of GPUs is no constant", where), unknown())
    note = "" if machines == 1 else f"{count} on each of {machines} nodes"
    node_fact: Fact[int] = default(1, "one node") if nodes is None else Fact(machines, Origin.LAUNCH, location(nodes))
    return World(Fact(count * machines, Origin.LAUNCH, where, note), node_fact)


def _number(place: Place) -> int | None:
    try:
        value = as_count(plain_value(place.node))
    except ValueError:
        return None
    return value if isinstance(value, int) and value > 0 else None
