"""detectron2 LazyConfig: a GLOBAL batch in Python files that take each other over.

Expectations: detectron2 2026-06 ``configs/common/data/coco.py`` (16 images, 4 workers), ``data/build.py`` (the batch is
divided by the world size, asserted to divide).
"""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values
from vramlint import sources
from vramlint.plan import Precision

COCO = """\
from detectron2.config import LazyCall as L

dataloader = OmegaConf.create()

dataloader.train = L(build_detection_train_loader)(
    dataset=L(get_detection_dataset_dicts)(names="coco_2017_train"),
    total_batch_size=16,
    num_workers=4,
)
"""
TRAIN = 'train = dict(output_dir="./output", max_iter=90000, amp=dict(enabled=False))\n'
OPTIMIZER = "SGD = L(torch.optim.SGD)(params=L(get_params)(weight_decay_norm=0.0), lr=0.02, momentum=0.9)\n"
FIRST = """\
from ..common.data.coco import dataloader
from ..common.optim import SGD as optimizer
from ..common.train import train

train.amp.enabled = True
dataloader.train.total_batch_size = 64
train.max_iter = 184375
optimizer.lr = 0.1
"""
SECOND = (
    "from .first import (\n    dataloader,\n    optimizer,\n    train,\n)\n\ntrain.max_iter *= 2  # twice as long\n"
)
FILES = {
    "configs/common/data/coco.py": COCO,
    "configs/common/train.py": TRAIN,
    "configs/common/optim.py": OPTIMIZER,
    "configs/new/first.py": FIRST,
}


@pytest.mark.parametrize(("gpus", "micro"), [(1, 64), (2, 32), (3, None), (8, 8)])
def test_values_taken_over_and_changed(gpus: int, micro: int | None) -> None:
    found = reading("configs/new/second.py", SECOND, Surroundings(FILES, gpus=gpus))
    assert values(found, "micro_batch", "global_batch", "accumulation") == (micro, 64, 1)
    assert values(found, "effective_batch", "precision") == (64 if micro else None, Precision.FP16)
    assert values(found, "max_steps", "learning_rate", "optimizer", "workers_per_rank") == (368750, 0.1, "SGD", 4)


def test_a_value_is_edited_in_the_file_that_spells_it() -> None:
    slot = reading("configs/new/second.py", SECOND, Surroundings(FILES, gpus=8)).slots["micro_batch"]
    assert slot.document.path == "configs/new/first.py"
    assert slot.node is not None
    edit = sources.replace_value(slot.document, slot.node, slot.spell(2))
    assert (FIRST[edit.span.start : edit.span.end], edit.text) == ("64", "16")


def test_each_importing_file_has_a_copy_of_its_own() -> None:
    text = "from ..common.data.coco import dataloader\nfrom ..common.train import train\n\ntrain.max_iter = 1\n"
    found = reading("configs/new/third.py", text, Surroundings(FILES, gpus=8))
    assert told(found.plan.global_batch) == (16, "file", 7)
    assert values(found, "micro_batch", "precision") == (2, Precision.FP32)


ZOO = """\
from detectron2 import model_zoo

dataloader = model_zoo.get_config("common/data/coco.py").dataloader
train = model_zoo.get_config("common/train.py").train
train.amp.enabled = True
"""


@pytest.mark.parametrize("gpus", [1, 2, 8])
def test_detectron2s_own_files_are_known(gpus: int) -> None:
    found = reading("projects/x/configs/a.py", ZOO, Surroundings(gpus=gpus))
    assert told(found.plan.global_batch) == (16, "default", None)
    assert values(found, "micro_batch", "workers_per_rank", "max_steps") == (16 // gpus, 4, 90000)


def test_a_file_that_is_not_at_hand_leaves_it_open() -> None:
    assert values(reading("configs/new/second.py", SECOND, Surroundings(gpus=8)), "micro_batch", "precision") == (
        None,
        None,
    )


def test_words_of_the_launch_line_win() -> None:
    line = "tools/lazyconfig_train_net.py --num-gpus 4 --config-file x.py dataloader.train.total_batch_size=8\n"
    found = reading("configs/new/second.py", SECOND, Surroundings(FILES, launched_by=line))
    assert values(found, "world_size", "micro_batch", "effective_batch") == (4, 2, 8)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("configs/common/data/coco.py", COCO),
        ("configs/common/data/other.py", "from .coco import dataloader\n\ndataloader.train.num_workers = 2\n"),
        ("loop.py", "from torch.utils.data import DataLoader\n\ndataloader = DataLoader(data, batch_size=4)\n"),
    ],
)
def test_parts_and_other_programs_are_left_alone(path: str, text: str) -> None:
    assert readings(path, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "if fast:\n    dataloader.train.total_batch_size = 8\n",
        "dataloader.train.total_batch_size = choose()\n",
        "for _ in range(rounds):\n    dataloader.train.total_batch_size = 8\n",
        "while busy():\n    dataloader.train.total_batch_size = 8\n",
    ],
)
def test_what_only_the_code_tells_is_unknown(text: str) -> None:
    found = reading("configs/new/third.py", FIRST + text, Surroundings(FILES, gpus=8))
    assert values(found, "global_batch", "micro_batch", "effective_batch") == (None, None, None)


CASCADE = """\
from detectron2.config import LazyCall as L

model = L(GeneralizedRCNN)(
    backbone=L(FPN)(bottom_up=L(ResNet)(stem=L(BasicStem)(), stages=L(ResNet.make_default_stages)(depth=50))),
    roi_heads=L(StandardROIHeads)(num_classes=80, box_head=L(Old)(), box_predictor=L(Old)(), mask_head=L(Mask)()),
)
(first, *rest) = 1, 2
width, rounds = 256, 3
[model.roi_heads.pop(k) for k in ["box_head", "box_predictor"]]
model.roi_heads.update(
    _target_=CascadeROIHeads,
    box_heads=[L(FastRCNNConvFCHead)(conv_dims=[width] * 4, fc_dims=[1024]) for _ in range(rounds)],
    box_predictors=[L(FastRCNNOutputLayers)(weights=(w1, w1, w2, w2)) for (w1, w2) in [(10, 5), (20, 10), (30, 15)]],
)
for i in range(3):
    model.roi_heads.box_predictors[i].cls_agnostic_bbox_reg = i == 7
    model.roi_heads.box_predictors[i].cls_agnostic_bbox_reg = True
model.indexes = list(range(0, 3)) + list(range(4, 6))
del model.roi_heads.mask_head
dataloader = dict(train=dict(total_batch_size=16))
train = dict(max_iter=9, amp=dict(enabled=False))
"""


def test_parts_taken_out_and_put_in_by_loops_over_constants() -> None:
    tree = reading("configs/new/cascade.py", CASCADE, Surroundings(gpus=8)).plan.fact("architecture").value
    assert tree is not None
    assert tree["ROI_HEADS"]["NAME"] == "CascadeROIHeads"
    assert tree["ROI_BOX_HEAD"] == {"NUM_CONV": 4, "CONV_DIM": 256, "NUM_FC": 1, "FC_DIM": 1024,
                                    "CLS_AGNOSTIC_BBOX_REG": True}  # fmt: skip
    assert tree["MASK_ON"] is False


def test_parts_taken_out_by_code_leave_the_class_open() -> None:
    text = CASCADE + "for name in names():\n    model.roi_heads.pop(name)\n"
    tree = reading("configs/new/cascade.py", text, Surroundings(gpus=8)).plan.fact("architecture").value
    assert tree is not None
    assert tree["ROI_HEADS"]["NAME"] != "CascadeROIHeads"


def test_images_padded_to_a_square() -> None:
    text = (
        FIRST + "model = dict(backbone=dict(square_pad=1024))\n"
        "dataloader.train.mapper = dict(augmentations=[L(T.ResizeShortestEdge)(short_edge_length=800, max_size=999)])\n"
    )
    found = reading("configs/new/third.py", text, Surroundings(FILES, gpus=8))
    assert values(found, "image_size", "batch_shape") == ((800, 999), (1024, 1024))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", (False, False)),
        ("train.model_ema = dict(enabled=True)\n", (True, False)),
        ("model = dict(backbone=dict(net=dict(use_act_checkpoint=True)))\n", (False, True)),
    ],
)
def test_averaged_copy_and_recomputation(more: str, expected: tuple[bool, bool]) -> None:
    found = reading("configs/new/third.py", FIRST + more, Surroundings(FILES, gpus=8))
    assert values(found, "ema", "grad_checkpointing") == expected


def test_a_list_that_doubles_and_doubles_is_left_open() -> None:
    text = "from ..common.data.coco import dataloader\nx = [1]\n" + "x = x + x\n" * 40
    text += "dataloader.train.total_batch_size = x[0]\n"
    found = reading("configs/new/third.py", text, Surroundings(FILES, gpus=8))
    assert found.plan.global_batch.value is None


THIRD = "from ..common.data.coco import dataloader\nfrom ..common.train import train\n\ntrain.max_iter = 1\n"


@pytest.mark.parametrize(
    "lines",
    [
        "if flag:\n    {}.total_batch_size //= 2\n",
        "if flag:\n    {}.total_batch_size: int = 2\n",
        "if flag:\n    {}.update(total_batch_size=2)\n",
        "if flag:\n    del {}.total_batch_size\n",
        "for size in (2, 4):\n    if flag:\n        break\n    {}.total_batch_size = size\n",
    ],
)
def test_what_a_branch_changes_is_left_open(lines: str) -> None:
    text = f"{THIRD}{lines.format('dataloader.train')}"
    found = reading("configs/new/third.py", text, Surroundings(FILES, gpus=8))
    assert found.plan.global_batch.value is None


def test_a_loop_over_constants_is_gone_through() -> None:
    text = f"{THIRD}for size in (2, 4):\n    dataloader.train.total_batch_size = size\n"
    found = reading("configs/new/third.py", text, Surroundings(FILES, gpus=4))
    assert found.plan.global_batch.value == 4
