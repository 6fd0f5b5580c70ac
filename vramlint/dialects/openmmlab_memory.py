"""Facts of an OpenMMLab config that only the memory of a run depends on: the model's tree, the padded batch, frames.

Sources: mmdet 3.3.0 ``models/data_preprocessors/data_preprocessor.py`` (pad_size_divisor 1, BatchFixedSizePad), mmdet
2.28 ``datasets/pipelines/transforms.py#Pad`` (size_divisor), mmaction2 1.2.0 ``datasets/transforms/loading.py``
(SampleFrames: num_clips 1), mmengine 0.10.7 ``runner/runner.py#setup_env`` (cudnn_benchmark off).
"""

from __future__ import annotations

from typing import ClassVar

from vramlint.dialects.draft import Draft
from vramlint.dialects.model_tree import model_tree
from vramlint.dialects.openmmlab import Config, Sizes, left_out
from vramlint.dialects.openmmlab_sizes import transforms_of
from vramlint.dialects.reading import Count, Flag, Schema, keys, plain_value, read_settings
from vramlint.plan import Fact, ImageSize, ModelTree, Origin, derived, unknown
from vramlint.sources.model import Mapping, Node, Scalar, lookup

FRAMEWORK = "openmmlab"

_SAMPLERS = frozenset(
    {
        "SampleFrames",
        "DenseSampleFrames",
        "UniformSample",
        "UniformSampleFrames",
        "SampleAVAFrames",
        "UntrimmedSampleFrames",
        "SampleCharadesFrames",
    }
)


class _Runtime(Schema):
    """Switches of the run that change its memory."""

    source: ClassVar[str] = "mmengine 0.10.7 and mmcv 1.7.2"

    cudnn_benchmark: Flag | None = keys("env_cfg.cudnn_benchmark", "cudnn_benchmark")
    find_unused_parameters: Flag | None = keys("find_unused_parameters")
    pad_size_divisor: Count | None = keys("model.data_preprocessor.pad_size_divisor", default=1)


def memory_facts(draft: Draft, config: Config, dataset: str, sizes: Sizes) -> None:
    """Put the facts into the plan. ``dataset`` is the training dataset's dotted place, ``sizes`` what it leaves."""
    settings = read_settings(_Runtime, config.sources)
    for name in ("cudnn_benchmark", "find_unused_parameters"):
        fact = settings.fact(name)
        draft.put(name, fact if settings.spelled(name) else left_out(config, value=False, note="off by default"))
    draft.put("architecture", _architecture(config))
    pipeline = list(transforms_of(config, dataset))
    divisor = max([settings.values.pad_size_divisor or 1, *(_whole(item, "size_divisor") or 1 for item in pipeline)])
    shape = _batch_shape(config, sizes, divisor)
    mixing = _mixing_crop(pipeline)
    images = draft.plan.micro_batch.value or 1
    if shape.value is not None and mixing and images > 1 and _fixed_padding(config) is None:
        shape = _both_ways_up(shape.value, mixing, divisor)
    draft.put("batch_shape", shape)
    fitted = any(_flag(item, "keep_ratio") for item in pipeline) and not _one_size(config, pipeline)
    draft.put("shapes_vary", derived(fitted or sizes.vary, "images keep their ratio or are drawn at several sizes"))
    _frames(draft, pipeline)
    _skeleton(draft, config)
    _objects(draft, config, dataset, pipeline)


_MOST_OBJECTS = {"Objects365": 560}
"""Annotated objects in the fullest image of a dataset, by the start of its class's name, where that is not about
COCO's. Objects365: what its eight published runs need beyond the same models on COCO (mmdet 3.3.0
``configs/objects365/README.md``): 400 to 600 at 36 bytes a pair of anchor and object."""


_MOSAIC_OBJECTS = 192
"""``Mosaic`` joins four images into one: COCO's fullest has 93 objects, 99 % of the others no more than 33
(``memory/layers/heads/detection/common.py``)."""


def _objects(draft: Draft, config: Config, dataset: str, pipeline: list[Mapping]) -> None:
    """How many objects an image may have, which decides what anchors are compared with."""
    kinds = {str(plain_value(item.get("type") or item)).rsplit(".", 1)[-1] for item in pipeline}
    if kinds & {"Mosaic", "CachedMosaic"}:
        draft.put("ground_truths", derived(_MOSAIC_OBJECTS, "four images, the fullest with 93 objects"))
    section, depth = lookup(config.root, dataset), 4
    while isinstance(section, Mapping) and depth:
        kind = str(plain_value(section.get("type") or section)).rsplit(".", 1)[-1]
        most = next((count for name, count in _MOST_OBJECTS.items() if kind.startswith(name)), None)
        if most is not None:
            draft.put("ground_truths", derived(most, f"most objects in an image of {kind}"))
        section, depth = section.get("dataset"), depth - 1


def _architecture(config: Config) -> Fact[ModelTree]:
    section = config.root.get("model")
    if not isinstance(section, Mapping):
        return unknown("the config sets no model")
    if config.missing:
        return unknown(f"{config.missing[0]} is not at hand")
    scope = plain_value(config.root.get("default_scope") or Scalar(section.span, "", ""))
    kind = str(plain_value(section.get("type") or section))
    tree = model_tree(section, FRAMEWORK, str(scope or _scope_of(kind)))
    for key in ("train_cfg", "test_cfg"):  # mmdet 2.4 and before: beside the model, not in it
        outside = config.root.get(key)
        if key not in tree and isinstance(outside, Mapping) and (outside.get("rcnn") or outside.get("assigner")):
            tree[key] = dict(model_tree(outside, FRAMEWORK, ""))
    return Fact(tree, Origin.FILE)


def _mixing_crop(pipeline: list[Mapping]) -> float:
    """How far from square a random crop can make an image that is resized with its ratio afterwards; 0 without one.

    Batches are grouped by the ratio of the file, so a crop can put an upright image beside a wide one (the
    ``absolute_range`` crop of DETR, Swin and ConvNeXt recipes: 384 to 600 on either side).
    """
    found = 0.0
    for item in pipeline:
        kind = str(plain_value(item.get("type") or item)).rsplit(".", 1)[-1]
        size = plain_value(item.get("crop_size") or item)
        if kind == "RandomCrop" and plain_value(item.get("crop_type") or item) == "absolute_range":
            if isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size):
                low, high = sorted(side for side in size if isinstance(side, int))
                found = high / low
        elif found and "Crop" in kind:
            found = 0.0
    return found


def _both_ways_up(shape: ImageSize, ratio: float, divisor: int) -> Fact[ImageSize]:
    """A wide image beside an upright one, as far as the crop's ratio lets it rise."""
    short, long = sorted(shape)
    upright = min(long, -(-round(short * ratio) // divisor) * divisor)
    note = f"a wide image beside an upright one: a crop before the last resize may turn an image {ratio:.2f} : 1"
    return derived(ImageSize(max(short, upright), long), note)


def _flag(item: Mapping, key: str) -> bool:
    node = item.get(key)
    return node is not None and plain_value(node) is True


def _scope_of(kind: str) -> str:
    """The project that a model's type belongs to, in configs from before ``default_scope``."""
    if any(word in kind for word in ("Recognizer", "SkeletonGCN", "Localizer")):
        return "mmaction"
    return "mmseg" if "EncoderDecoder" in kind else "mmdet"


def _batch_shape(config: Config, sizes: Sizes, divisor: int) -> Fact[ImageSize]:
    """The largest image of the pipeline as it stands in a batch: what the run's peak belongs to."""
    largest = sizes.largest or sizes.usual.value
    padded, grid = _fixed_padding(config), _pillar_grid(config)
    if padded is not None:
        return derived(padded, "BatchFixedSizePad")
    if grid is not None:
        return derived(grid, "the grid of pillars")
    if largest is None:
        return unknown(sizes.usual.note)
    height, width = (-(-side // divisor) * divisor for side in largest)
    if (height, width) == tuple(largest):
        return derived(largest, "the largest size of the training pipeline")
    return derived(ImageSize(height, width), f"the largest size, {largest}, padded to multiples of {divisor}")


def _one_size(config: Config, pipeline: list[Mapping]) -> bool:
    """Whether all batches are padded to one size: ``data_preprocessor.size``, BatchFixedSizePad, ``Pad(size=…)``."""
    sections = ("model.data_preprocessor.size", "data_preprocessor.size")
    given = [node for path in sections if (node := lookup(config.root, path)) is not None]
    if _fixed_padding(config) is not None or any(plain_value(node) for node in given):
        return True
    pads = (item.get("size") for item in pipeline if plain_value(item.get("type") or item) == "Pad")
    return any(node is not None and plain_value(node) is not None for node in pads)


def _fixed_padding(config: Config) -> ImageSize | None:
    augments = lookup(config.root, "model.data_preprocessor.batch_augments")
    items: list[Node] = getattr(augments, "items", [])
    for item in items:
        kind = plain_value(item.get("type") or item) if isinstance(item, Mapping) else None
        size = plain_value(item.get("size") or item) if isinstance(item, Mapping) else None
        if kind == "BatchFixedSizePad" and isinstance(size, list) and len(size) == 2:
            height, width = size
            if isinstance(height, int) and isinstance(width, int):
                return ImageSize(height, width)
    return None


def _pillar_grid(config: Config) -> ImageSize | None:
    """The bird's-eye view that mmdetection3d's PointPillarsScatter fills, whatever the points are."""
    for name in ("model.middle_encoder", "model.pts_middle_encoder"):
        section = lookup(config.root, name)
        found = plain_value(section) if isinstance(section, Mapping) else None
        sides = found.get("output_shape") if isinstance(found, dict) else None
        scatters = isinstance(found, dict) and found.get("type") == "PointPillarsScatter"
        whole = [side for side in sides if isinstance(side, int)] if isinstance(sides, list) else []
        if scatters and len(whole) == 2:
            return ImageSize(*whole)
    return None


def _frames(draft: Draft, pipeline: list[Mapping]) -> None:
    """Frames of a clip and clips of a video, where the pipeline samples any."""
    for item in pipeline:
        kind = plain_value(item.get("type") or item)
        if str(kind).rsplit(".", 1)[-1] not in _SAMPLERS:
            continue
        length, clips = _whole(item, "clip_len"), _whole(item, "num_clips") or 1
        if length is not None:
            draft.put("clip_len", derived(length, f"frames of a clip: {kind}"))
            draft.put("num_clips", derived(clips, f"clips of a video: {kind}"))


_JOINTS = {"coco": 17, "nturgb+d": 25, "openpose": 18}
"""Joints by layout (mmaction2 1.2.0 ``models/utils/graph.py#get_layout``)."""


def _skeleton(draft: Draft, config: Config) -> None:
    """A skeleton's clip is frames by joints, whatever the video's size."""
    layout = lookup(config.root, "model.backbone.graph_cfg.layout")
    joints = _JOINTS.get(str(plain_value(layout))) if layout is not None else None
    frames = draft.plan.fact("clip_len").value
    if joints and isinstance(frames, int):
        draft.put("batch_shape", derived(ImageSize(frames, joints), f"{frames} frames of {joints} joints"))
        draft.put("shapes_vary", derived(value=False, note="clips of one length"))


def _whole(item: Mapping, key: str) -> int | None:
    node = item.get(key)
    value = plain_value(node) if node is not None else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
