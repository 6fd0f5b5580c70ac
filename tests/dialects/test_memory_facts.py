"""The facts that only memory depends on: the model's tree, the padded batch, frames of a video.

Expectations: mmdet 3.3.0 ``models/data_preprocessors/data_preprocessor.py``, mmdet 2.28
``pipelines/transforms.py#Pad``, mmaction2 1.2.0 ``datasets/transforms/loading.py``, detectron2 2026-06
``config/config.py`` and ``modeling/backbone/fpn.py``.
"""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading
from vramlint.plan import ImageSize, ModelTree
from vramlint.plan.tree import NOT_CONSTANT, open_places

BASE = """\
model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
    backbone=dict(type='ResNet', depth=50, frozen_stages=1, norm_cfg=dict(type='BN', requires_grad=True)),
    neck=dict(type='FPN', in_channels=[256, 512, 1024, 2048], num_outs=5),
    rpn_head=dict(type='RPNHead'), roi_head=dict(type='StandardRoIHead', bbox_head=dict(num_classes=80)))
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=[dict(type='Resize', scale=(1333, 800), keep_ratio=True)]))
env_cfg = dict(cudnn_benchmark=False)
"""
CHILD = """\
_base_ = './base.py'
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint=find())), neck=dict(_delete_=True, type='PAFPN'))
"""


def test_the_tree_is_the_merged_model() -> None:
    plan = reading("child.py", CHILD, Surroundings({"base.py": BASE}, gpus=8)).plan
    tree = plan.fact("architecture").value
    assert isinstance(tree, ModelTree)
    assert (tree["backbone"]["depth"], tree["backbone"]["frozen_stages"]) == (101, 1)
    assert tree["neck"]["type"] == "PAFPN"
    assert "num_outs" not in tree["neck"]
    assert tree["backbone"]["init_cfg"]["checkpoint"] == {NOT_CONSTANT: "find()"}
    assert list(open_places(tree)) == ["backbone.init_cfg.checkpoint"]
    assert str(tree) == "FasterRCNN, ResNet, PAFPN, DetDataPreprocessor, …"
    assert plan.fact("cudnn_benchmark").value is False


def test_a_base_that_is_not_at_hand_leaves_the_model_open() -> None:
    fact = reading("child.py", CHILD, Surroundings({}, gpus=8)).plan.fact("architecture")
    assert (fact.value, fact.note) == (None, "./base.py is not at hand")


def test_a_new_style_config_names_classes() -> None:
    text = "from mmdet.models import FCOS\nmodel = dict(type=FCOS, backbone=dict(type=ResNet, depth=n()))\n"
    tree = reading("x.py", text + "train_dataloader = dict(batch_size=2)\n", Surroundings()).plan.fact("architecture")
    assert tree.value is not None
    assert (tree.value["type"], tree.value["backbone"]["type"]) == ("FCOS", "ResNet")
    assert list(open_places(tree.value)) == ["backbone.depth"]


@pytest.mark.parametrize(
    ("model", "pipeline", "shape"),
    [
        ("pad_size_divisor=32", "dict(type='Resize', scale=(1333, 800), keep_ratio=True)", ImageSize(800, 1344)),
        ("pad_size_divisor=128", "dict(type='Resize', scale=(1333, 800), keep_ratio=True)", ImageSize(896, 1408)),
        ("", "dict(type='Resize', scale=(1333, 800), keep_ratio=True)", ImageSize(800, 1333)),
        (
            "pad_size_divisor=32",
            "dict(type='RandomChoiceResize', scales=[(1333, 640), (1333, 800)], keep_ratio=True)",
            ImageSize(800, 1344),
        ),
        (
            "batch_augments=[dict(type='BatchFixedSizePad', size=(1024, 1024))]",
            "dict(type='Resize', scale=(1333, 800), keep_ratio=True)",
            ImageSize(1024, 1024),
        ),
        (
            "pad_size_divisor=32, batch_augments=[dict(type='BatchSyncRandomResize', random_size_range=(480, 800))]",
            "dict(type='Resize', scale=(640, 640), keep_ratio=True)",
            ImageSize(800, 800),
        ),
        ("pad_size_divisor=32", "dict(type='Flip')", None),
    ],
)
def test_the_batch_is_padded(model: str, pipeline: str, shape: ImageSize | None) -> None:
    text = (
        f"model = dict(type='X', data_preprocessor=dict({model}))\n"
        f"train_dataloader = dict(batch_size=2, dataset=dict(pipeline=[{pipeline}]))\n"
    )
    assert reading("x.py", text, Surroundings(gpus=1)).plan.fact("batch_shape").value == shape


def test_the_era_before_pads_in_the_pipeline() -> None:
    text = """\
model = dict(type='RetinaNet')
data = dict(samples_per_gpu=2, train=dict(pipeline=[
    dict(type='AutoAugment', policies=[
        [dict(type='Resize', img_scale=[(480, 1333), (800, 1333)], multiscale_mode='value', keep_ratio=True)],
        [dict(type='Resize', img_scale=[(400, 4200)], keep_ratio=True), dict(type='RandomCrop', crop_size=(384, 600)),
         dict(type='Resize', img_scale=[(480, 1333), (800, 1333)], multiscale_mode='value', keep_ratio=True)]]),
    dict(type='Pad', size_divisor=32)]))
train_cfg = dict(rcnn=dict(sampler=dict(num=512)))
"""
    plan = reading("x.py", text, Surroundings(gpus=8)).plan
    assert plan.fact("batch_shape").value == ImageSize(800, 1344)
    assert plan.fact("architecture").value["train_cfg"]["rcnn"]["sampler"]["num"] == 512


@pytest.mark.parametrize("key", ["videos_per_gpu", "samples_per_gpu"])
def test_video_clips(key: str) -> None:
    text = f"""\
model = dict(type='Recognizer3D', backbone=dict(type='ResNet3dSlowFast'))
train_pipeline = [
    dict(type='SampleFrames', clip_len=32, frame_interval=2, num_clips=1),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='RandomResizedCrop'),
    dict(type='Resize', scale=(224, 224), keep_ratio=False)]
data = dict({key}=8, train=dict(type='RawframeDataset', pipeline=train_pipeline))
"""
    plan = reading("x.py", text, Surroundings(gpus=8)).plan
    found = tuple(plan.fact(name).value for name in ("micro_batch", "clip_len", "num_clips", "batch_shape"))
    assert found == (8, 32, 1, ImageSize(224, 224))


DETECTRON2 = """\
_BASE_: "base.yaml"
MODEL:
  RESNETS: {DEPTH: 101}
  FPN: {IN_FEATURES: "('res2', 'res3')"}
"""


def test_detectron2_chains() -> None:
    base = "MODEL:\n  BACKBONE: {NAME: build_resnet_fpn_backbone}\n  RESNETS: {DEPTH: 50, NORM: GN}\n"
    plan = reading(
        "x.yaml", DETECTRON2 + "SOLVER: {IMS_PER_BATCH: 16}\n", Surroundings({"base.yaml": base}, gpus=8)
    ).plan
    tree = plan.fact("architecture").value
    assert tree["RESNETS"] == {"DEPTH": 101, "NORM": "GN"}
    assert tree["FPN"]["IN_FEATURES"] == ["res2", "res3"]
    assert plan.fact("batch_shape").value == ImageSize(800, 1344)
    assert (plan.optimizer.value, plan.micro_batch.value) == ("SGD", 2)


def test_detectron2_without_its_base() -> None:
    plan = reading("x.yaml", DETECTRON2 + "SOLVER: {IMS_PER_BATCH: 16}\n", Surroundings(gpus=8)).plan
    assert not plan.fact("architecture").known


CROPPED = """\
dict(type='RandomChoice', transforms=[
    [dict(type='RandomChoiceResize', scales=[(480, 1333), (800, 1333)], keep_ratio=True)],
    [dict(type='RandomChoiceResize', scales=[(400, 1333)], keep_ratio=True),
     dict(type='RandomCrop', crop_type='absolute_range', crop_size=(384, 600)),
     dict(type='RandomChoiceResize', scales=[(480, 1333), (800, 1333)], keep_ratio=True)]])"""


@pytest.mark.parametrize(("images", "shape"), [(1, ImageSize(800, 1344)), (2, ImageSize(1280, 1344))])
def test_a_crop_before_the_last_resize_mixes_orientations(images: int, shape: ImageSize) -> None:
    text = (
        "model = dict(type='X', data_preprocessor=dict(pad_size_divisor=32))\n"
        f"train_dataloader = dict(batch_size={images}, dataset=dict(pipeline=[{CROPPED}]))\n"
    )
    plan = reading("x.py", text, Surroundings(gpus=8)).plan
    assert plan.fact("batch_shape").value == shape, "600 to 384 turns 800 wide into 1250 high"
    assert plan.fact("shapes_vary").value is True


@pytest.mark.parametrize(
    ("pipeline", "varies"),
    [
        ("dict(type='Resize', scale=(1333, 800), keep_ratio=True)", True),
        ("dict(type='Resize', scale=(640, 640), keep_ratio=False)", False),
    ],
)
def test_whether_sizes_vary(pipeline: str, varies: bool) -> None:
    text = f"model = dict(type='X')\ntrain_dataloader = dict(batch_size=2, dataset=dict(pipeline=[{pipeline}]))\n"
    assert reading("x.py", text, Surroundings(gpus=1)).plan.fact("shapes_vary").value is varies


def test_mosaic_joins_the_objects_of_four_images() -> None:
    text = (
        "model = dict(type='YOLOX')\ntrain_dataloader = dict(batch_size=8, dataset=dict(type='MultiImageMixDataset',"
        "pipeline=[dict(type='Mosaic', img_scale=(640, 640))]))\n"
    )
    assert reading("x.py", text, Surroundings(gpus=1)).plan.fact("ground_truths").value == 93 + 3 * 33
