"""MMEngine and mmcv 1.x: a batch per rank, base files, launch words. Published wheels are compared in the slow tests.

Expectations: mmengine 0.10.7 ``optim/optimizer/optimizer_wrapper.py`` (accumulative_counts), ``runner/runner.py``
(one DataLoader a rank); mmcv 1.7.2 ``runner/hooks/optimizer.py`` (cumulative_iters).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values
from vramlint import sources
from vramlint.plan import ImageSize, Precision

DATA = """\
bs = 4
train_pipeline = [
    dict(type='RandomResize', scale=(2048, 1024), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(512, 1024), cat_max_ratio=0.75),
]
train_dataloader = dict(
    batch_size=2, num_workers=4, persistent_workers=True, dataset=dict(type='Cityscapes', pipeline=train_pipeline))
"""
MODEL = (
    "data_preprocessor = dict(size=(512, 1024))\nmodel = dict(type='EncoderDecoder', backbone=dict(with_cp=False))\n"
)
SCHEDULE = (
    "optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))\ntrain_cfg = dict(max_iters=10)\n"
)
FILES = {
    "configs/_base_/data.py": DATA,
    "configs/_base_/model.py": MODEL,
    "configs/_base_/schedule.py": SCHEDULE,
}
CHILD = "_base_ = ['../_base_/data.py', '../_base_/model.py', '../_base_/schedule.py']\n"
PATH = "configs/fcn/fcn_r50-d8_4xb2.py"


@pytest.mark.parametrize("gpus", [1, 2, 3, 8])
def test_a_chain_of_base_files(gpus: int) -> None:
    found = reading(PATH, CHILD, Surroundings(FILES, gpus=gpus))
    assert values(found, "micro_batch", "accumulation", "effective_batch") == (2, 1, 2 * gpus)
    assert values(found, "image_size", "precision", "task", "max_steps") == (
        ImageSize(512, 1024), Precision.FP32, "segment", 10
    )  # fmt: skip
    assert found.plan.micro_batch.location is not None
    assert found.plan.micro_batch.location.path == "configs/_base_/data.py"
    assert [document.path for document in found.documents] == [PATH, *FILES]


@pytest.mark.parametrize(
    ("extra", "micro", "accumulation", "precision"),
    [
        ("train_dataloader = dict(batch_size=8)\n", 8, 1, Precision.FP32),
        ("optim_wrapper = dict(accumulative_counts=4)\n", 2, 4, Precision.FP32),
        ("optim_wrapper = dict(type='AmpOptimWrapper')\n", 2, 1, Precision.FP16),
        ("optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16')\n", 2, 1, Precision.BF16),
        ("optim_wrapper = dict(_delete_=True, type='AmpOptimWrapper')\n", 2, 1, Precision.FP16),
        ("train_dataloader = dict(batch_size=_base_.bs)\n", 4, 1, Precision.FP32),
        ("train_dataloader = dict(_delete_=True, batch_size=16)\n", 16, 1, Precision.FP32),
    ],
)
@pytest.mark.parametrize("gpus", [1, 8])
def test_a_child_overrides(extra: str, micro: int, accumulation: int, precision: Precision, gpus: int) -> None:
    found = reading(PATH, CHILD + extra, Surroundings(FILES, gpus=gpus))
    assert values(found, "micro_batch", "accumulation", "precision") == (micro, accumulation, precision)
    assert found.plan.effective_batch.value == micro * accumulation * gpus


def test_a_base_that_is_not_at_hand_leaves_it_open() -> None:
    found = reading(PATH, CHILD, Surroundings({}, gpus=8))
    assert values(found, "micro_batch", "accumulation", "precision", "workers_per_rank") == (None, None, None, None)
    assert "is not at hand" in found.plan.micro_batch.note


def test_a_value_of_a_base_file_is_edited_there() -> None:
    context = Surroundings(FILES, gpus=8)
    slot = reading(PATH, CHILD, context).slots["micro_batch"]
    assert slot.document.path == "configs/_base_/data.py"
    assert slot.node is not None
    edit = sources.replace_value(slot.document, slot.node, slot.spell(1))
    assert DATA[edit.span.start : edit.span.end] == "2"
    assert edit.text == "1"


def test_accumulation_is_added_only_where_this_file_spells_the_wrapper() -> None:
    assert "accumulation" not in reading(PATH, CHILD, Surroundings(FILES, gpus=1)).slots
    own = CHILD + "optim_wrapper = dict(clip_grad=None)\n"
    slot = reading(PATH, own, Surroundings(FILES, gpus=1)).slots["accumulation"]
    assert slot.parent is not None
    edit = sources.insert_entry(slot.document, slot.parent, slot.key, slot.spell(4), slot.after)
    assert (slot.document.path, edit.text) == (PATH, ", accumulative_counts=4")


@pytest.mark.parametrize(
    ("line", "world", "micro", "accumulation", "precision"),
    [
        (f"bash tools/dist_train.sh {PATH} 4 --amp", 4, 2, 1, Precision.FP16),
        (f"NNODES=2 ./tools/dist_train.sh {PATH} 4", 8, 2, 1, Precision.FP32),
        (f"GPUS=16 tools/slurm_train.sh part job {PATH} work", 16, 2, 1, Precision.FP32),
        (f"tools/slurm_train.sh part job {PATH} work", 8, 2, 1, Precision.FP32),
        (
            f"torchrun --nproc_per_node=3 tools/train.py {PATH} --launcher pytorch "
            "--cfg-options optim_wrapper.accumulative_counts=2",
            3, 2, 2, Precision.FP32,
        ),
    ],
)  # fmt: skip
def test_launch_lines(line: str, world: int, micro: int, accumulation: int, precision: Precision) -> None:
    found = reading(PATH, CHILD, Surroundings(FILES, launched_by=line + "\n"))
    assert values(found, "world_size", "micro_batch", "accumulation", "precision") == (
        world, micro, accumulation, precision
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pipeline", "size", "largest"),
    [
        ("dict(type='Resize', scale=(1333, 800), keep_ratio=True)", ImageSize(800, 1333), None),
        ("dict(type='Resize', scale=(640, 512))", ImageSize(512, 640), None),
        ("dict(type='RandomResizedCrop', scale=224)", ImageSize(224, 224), None),
        ("dict(type='RandomChoiceResize', scales=[(480, 1333), (800, 1333)], keep_ratio=True)", ImageSize(800, 1333),
         ImageSize(800, 1333)),
        ("dict(type='RandomResize', scale=(2048, 512)), dict(type='RandomCrop', crop_size=(512, 512))",
         ImageSize(512, 512), None),
        ("dict(type='TopdownAffine', input_size=(192, 256))", ImageSize(256, 192), None),
        ("dict(type='Mosaic', img_scale=(640, 640)), dict(type='RandomAffine', border=(-320, -320))",
         ImageSize(640, 640), None),
        ("dict(type='Resize', scale=make()), dict(type='RandomCrop', crop_size=64)", ImageSize(64, 64), None),
        ("dict(type='RandomCrop', crop_size=64), dict(type='Resize', scale=make())", None, None),
        ("dict(type='RandomFlip', prob=0.5)", None, None),
    ],
)  # fmt: skip
def test_image_sizes(pipeline: str, size: ImageSize | None, largest: ImageSize | None) -> None:
    text = f"model = dict(type='X')\ntrain_dataloader = dict(batch_size=2, dataset=dict(pipeline=[{pipeline}]))\n"
    plan = reading("x.py", text, Surroundings(gpus=1)).plan
    assert plan.image_size.value == size
    assert plan.fact("largest_image_size").value == largest


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("configs/_base_/datasets/coco.py", DATA),
        ("configs/_base_/models/fcn.py", MODEL),
        ("configs/datasets/coco.py", DATA),
        ("configs/schedule.py", SCHEDULE),
        ("configs/model.py", MODEL),
        ("settings.py", "batch_size = 4\nDATABASES = dict(default=dict(ENGINE='x'))\n"),
    ],
)
def test_fragments_are_left_alone(path: str, text: str) -> None:
    assert readings(path, text) == []


LEGACY = """\
data = dict(samples_per_gpu=2, workers_per_gpu=4, train=dict(pipeline=[dict(type='RResize', img_scale=(1024, 1024))]))
optimizer = dict(type='SGD', lr=0.0025)
runner = dict(type='EpochBasedRunner', max_epochs=12)
"""


@pytest.mark.parametrize("gpus", [1, 2, 3, 8])
@pytest.mark.parametrize(
    ("extra", "accumulation", "precision"),
    [
        ("", 1, Precision.FP32),
        ("fp16 = dict(loss_scale='dynamic')\n", 1, Precision.FP16),
        (
            "optimizer_config = dict(type='GradientCumulativeFp16OptimizerHook', cumulative_iters=8)\n",
            8,
            Precision.FP32,
        ),
    ],
)
def test_mmcv(extra: str, accumulation: int, precision: Precision, gpus: int) -> None:
    found = reading("x.py", LEGACY + "model = dict(type='RetinaNet')\n" + extra, Surroundings(gpus=gpus))
    assert found.plan.dialect == "mmcv"
    assert values(found, "micro_batch", "accumulation", "effective_batch", "precision", "image_size", "epochs") == (
        2, accumulation, 2 * accumulation * gpus, precision, ImageSize(1024, 1024), 12
    )  # fmt: skip


def test_the_era_of_a_child_is_the_era_of_its_base_files() -> None:
    files = {"configs/_base_/all.py": LEGACY + "model = dict(type='RetinaNet')\n"}
    found = reading("configs/x/y.py", "_base_ = '../_base_/all.py'\n", Surroundings(files, gpus=4))
    assert (found.plan.dialect, told(found.plan.workers_per_rank)) == ("mmcv", (4, "file", 1))
    assert found.plan.effective_batch.value == 8


@pytest.mark.parametrize(
    "extra", ["", "train_dataloader = dict(batch_size=8)\n", "optim_wrapper = dict(_delete_=True)\n"]
)
def test_mmengine_reads_the_same(extra: str, tmp_path: Path) -> None:
    config = pytest.importorskip("mmengine.config").Config
    for path, text in {**FILES, PATH: CHILD + extra}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    theirs = config.fromfile(str(tmp_path / PATH))
    found = reading(PATH, CHILD + extra, Surroundings(FILES, gpus=1))
    assert values(found, "micro_batch", "workers_per_rank", "learning_rate", "max_steps") == (
        theirs.train_dataloader.batch_size,
        theirs.train_dataloader.num_workers,
        theirs.optim_wrapper.get("optimizer", {}).get("lr"),
        theirs.train_cfg.max_iters,
    )


def test_data_that_still_stand_as_mmcv_had_them() -> None:
    """nuImages' base file in mmdetection3d 1.4.0, beside schedules and a runtime of mmengine."""
    base = (
        "data = dict(samples_per_gpu=2, train=dict(type='CocoDataset', pipeline=[\n"
        "    dict(type='Resize', img_scale=[(1280, 720), (1920, 1080)], multiscale_mode='range', keep_ratio=True)]))\n"
    )
    text = (
        "_base_ = ['base.py']\n"
        "optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))\n"
        "train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12)\n"
    )
    found = reading("configs/nuimages/x.py", text, Surroundings({"configs/nuimages/base.py": base}, gpus=8))
    assert values(found, "micro_batch", "batch_shape") == (2, (1080, 1920))


def test_the_grid_of_pillars_is_the_size_of_a_batch() -> None:
    text = (
        "model = dict(type='VoxelNet', middle_encoder=dict(type='PointPillarsScatter', output_shape=[496, 432]))\n"
        "train_dataloader = dict(batch_size=6, dataset=dict(type='KittiDataset', pipeline=[]))\n"
        "optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.001))\n"
    )
    assert values(reading("x.py", text, Surroundings(gpus=1)), "image_size", "batch_shape") == (None, (496, 432))


def test_a_clip_of_a_skeleton_is_frames_by_joints() -> None:
    text = (
        "model = dict(type='RecognizerGCN',\n"
        "    backbone=dict(type='STGCN', graph_cfg=dict(layout='coco', mode='spatial')))\n"
        "train_dataloader = dict(batch_size=16, dataset=dict(type='PoseDataset', pipeline=[\n"
        "    dict(type='UniformSampleFrames', clip_len=100), dict(type='FormatGCNInput', num_person=2)]))\n"
        "optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))\n"
    )
    assert values(reading("x.py", text, Surroundings(gpus=1)), "image_size", "batch_shape") == (None, (100, 17))


@pytest.mark.parametrize(("extra", "model"), [("", "resnet50"), (", base_channels=128, expansion=2", None)])
def test_a_wide_resnet_is_not_the_usual_one(extra: str, model: str | None) -> None:
    backbone = f"dict(type='ResNet', depth=50{extra})"
    files = {**FILES, "configs/_base_/model.py": f"model = dict(type='ImageClassifier', backbone={backbone})\n"}
    assert reading(PATH, CHILD, Surroundings(files, gpus=1)).plan.model.value == model
