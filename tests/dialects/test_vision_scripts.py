"""Vision training scripts on a command line: timm, YOLOv5 and v7, MAE, OpenCLIP, DETR, MoCo; and DINOv2's YAML.

Each table names the lines of the framework's own source that its expectations were worked out from.
"""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values
from vramlint.plan import ImageSize, Precision

TIMM = "train.py /data --model vit_base_patch16_224.augreg_in1k -b 32 --sched cosine --aa rand-m9-mstd0.5"


@pytest.mark.parametrize("gpus", [1, 2, 3, 8])
@pytest.mark.parametrize(
    ("flags", "micro", "accumulation", "precision"),
    [
        ("", 32, 1, Precision.FP32),
        ("--amp --grad-accum-steps 4", 32, 4, Precision.FP16),
        ("--amp --amp-dtype bfloat16", 32, 1, Precision.BF16),
        ("--model-dtype bfloat16", 32, 1, Precision.PURE_BF16),
        ("--batch-size 16", 16, 1, Precision.FP32),
    ],
)
def test_timm(flags: str, micro: int, accumulation: int, precision: Precision, gpus: int) -> None:
    """timm train.py: 142 (-b), 150 (accumulation), 516-525 (autocast), 838 (effective batch)."""
    found = reading("t.sh", f"torchrun --nproc_per_node={gpus} {TIMM} {flags}\n")
    assert values(found, "micro_batch", "accumulation", "precision") == (micro, accumulation, precision)
    assert values(found, "effective_batch", "model") == (micro * accumulation * gpus, "vit_base_patch16_224")
    assert values(found, "image_size", "workers_per_rank", "ema") == (ImageSize(224, 224), 4, False)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_timm_script_that_starts_the_processes(count: int) -> None:
    """timm distributed_train.sh: NUM_PROC=$1."""
    line = f"./distributed_train.sh {count} /data --model resnet50 --sched cosine -b 64 --lr-base 0.1 -j 8 --opt lamb\n"
    assert values(reading("t.sh", line), "world_size", "effective_batch", "workers_per_rank") == (count, 64 * count, 8)


def test_timm_config_file() -> None:
    """timm train.py 466: a YAML gives the flags' defaults, the command wins."""
    files = {"cfg/r50.yaml": "batch_size: 96\namp: true\nmodel: resnet50\naa: rand\n"}
    line = "python train.py -c cfg/r50.yaml --model resnet50d --sched cosine --opt sgd --img-size 160\n"
    found = reading("t.sh", line, Surroundings(files, gpus=2))
    assert told(found.plan.micro_batch) == (96, "file", 1)
    assert values(found, "precision", "model", "image_size") == (Precision.FP16, "resnet50d", ImageSize(160, 160))


ARGS = "aa: rand-m9\namp: true\nbatch_size: 256\ncrop_pct: 0.95\nmixup: 0.1\nmodel: resnet50\nsched: cosine\n"


@pytest.mark.parametrize("gpus", [1, 2, 3, 8])
def test_timm_args_yaml(gpus: int) -> None:
    found = reading("output/args.yaml", ARGS, Surroundings(gpus=gpus))
    assert told(found.plan.micro_batch) == (256, "file", 3)
    assert values(found, "effective_batch", "precision") == (256 * gpus, Precision.FP16)


@pytest.mark.parametrize(
    "line",
    [
        "torchrun --nproc_per_node=8 train.py --model resnet50 --opt sgd --model-ema --lr-scheduler cosineannealinglr",
        "python validate.py /data --model resnet50 -b 64 --sched x --amp --opt y",
    ],
)
def test_not_timm(line: str) -> None:
    assert [found.plan.dialect for found in readings("t.sh", line + "\n")] in ([], ["argparse_trainer"])


@pytest.mark.parametrize(
    ("batch", "gpus", "micro", "accumulation", "effective"),
    [
        (16, 1, 16, 4, 64), (16, 2, 8, 4, 64), (24, 3, 8, 3, 72), (64, 8, 8, 1, 64), (40, 8, 5, 2, 80),
        (128, 8, 16, 1, 128), (43, 1, 43, 1, 43), (32, 3, None, None, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("flag", ["--batch", "--batch-size"])
def test_yolov5(flag: str, batch: int, gpus: int, micro: int | None, accumulation: int | None, effective: int) -> None:
    """YOLOv5 train.py 234 (max(round(64 / batch), 1)), 277 (batch // WORLD_SIZE), 661 (batch % WORLD_SIZE == 0)."""
    line = (
        f"torchrun --nproc_per_node {gpus} train.py --data coco.yaml --weights '' --cfg yolov5m.yaml {flag} {batch}\n"
    )
    found = reading("t.sh", line)
    assert values(found, "micro_batch", "accumulation", "effective_batch") == (micro, accumulation, effective)
    assert values(found, "global_batch", "model", "image_size") == (batch, "yolov5m", ImageSize(640, 640))
    assert found.slots["micro_batch"].spell(2) == 2 * gpus


def test_yolov7() -> None:
    """WongKinYiu/yolov7 README, "Multiple GPU training"; train.py 535 (two sizes: train and test)."""
    line = (
        "python -m torch.distributed.launch --nproc_per_node 4 train.py --workers 8 --device 0,1,2,3 "
        "--sync-bn --batch-size 128 --data data/coco.yaml --img 1280 640 --cfg cfg/yolov7-w6.yaml --weights '' "
        "--hyp data/hyp.scratch.p5.yaml --multi-scale\n"
    )
    found = reading("t.sh", line)
    assert values(found, "micro_batch", "accumulation", "world_size", "model") == (32, 1, 4, "yolov7-w6")
    assert values(found, "image_size", "largest_image_size") == (ImageSize(1280, 1280), ImageSize(1920, 1920))


def test_yolov5_spreads_over_its_devices_by_itself() -> None:
    found = reading("t.sh", "python train.py --data coco.yaml --weights yolov5s.pt --batch 64 --device 0,1\n")
    assert values(found, "micro_batch", "world_size", "effective_batch") == (32, 2, 64)


def test_yolov5_autobatch_is_unknown() -> None:
    plan = reading("t.sh", "python train.py --data coco.yaml --weights yolov5s.pt --batch -1 --img 640\n").plan
    assert not plan.micro_batch.known
    assert "searches" in plan.micro_batch.note


def test_hyper_parameters_hold_no_run() -> None:
    text = "lr0: 0.01\nlrf: 0.1\nwarmup_bias_lr: 0.1\nbox: 0.05\ncls: 0.5\nobj: 1.0\nanchor_t: 4.0\nhsv_h: 0.015\n"
    assert readings("hyp.yaml", text) == []


@pytest.mark.parametrize("gpus", [1, 2, 3, 8])
@pytest.mark.parametrize("accumulation", [1, 4])
def test_mae(gpus: int, accumulation: int) -> None:
    """MAE main_pretrain.py 41 ("effective batch size is batch_size * accum_iter * # gpus")."""
    line = f"torchrun --nproc_per_node={gpus} main_pretrain.py --blr 1e-3 --batch_size 32 --accum_iter {accumulation}\n"
    found = reading("t.sh", line)
    assert values(found, "micro_batch", "effective_batch") == (32, 32 * gpus * accumulation)
    assert values(found, "precision", "workers_per_rank", "pin_memory") == (Precision.FP16, 10, True)


def test_mae_submits_a_job() -> None:
    """MAE PRETRAIN.md: 8 nodes of 8 GPUs, "effective batch size is 64 * 8 * 8 = 4096"; submitit_pretrain.py 21-23."""
    line = "python submitit_pretrain.py --job_dir x --nodes 8 --use_volta32 --batch_size 64 --blr 1.5e-4\n"
    assert values(reading("t.sh", line), "world_size", "effective_batch") == (64, 4096)
    fewer = line.replace("--nodes 8 ", "")
    assert told(reading("t.sh", fewer).plan.world_size) == (16, "default", None)


def test_mae_without_pinned_memory() -> None:
    line = "python main_pretrain.py --blr 1e-3 --batch_size 32 --no_pin_mem\n"
    assert reading("t.sh", line).plan.pin_memory.value is False


@pytest.mark.parametrize("gpus", [1, 2, 3, 8])
@pytest.mark.parametrize(
    ("precision", "kind"),
    [
        ("amp", Precision.FP16),
        ("amp_bf16", Precision.BF16),
        ("fp32", Precision.FP32),
        ("pure_bf16", Precision.PURE_BF16),
    ],
)
def test_open_clip(gpus: int, precision: str, kind: Precision) -> None:
    """open_clip params.py 272 ("Batch size per GPU"), 403 (words), 535 (accumulation)."""
    line = (
        f"torchrun --nproc_per_node {gpus} -m open_clip_train.main --train-data x.tar --batch-size=100 --accum-freq 2 "
        f"--precision {precision} --model ViT-B-32\n"
    )
    found = reading("t.sh", line)
    assert values(found, "micro_batch", "effective_batch", "precision") == (100, 200 * gpus, kind)
    assert values(found, "workers_per_rank", "image_size", "model") == (4, None, "ViT-B-32")


@pytest.mark.parametrize("gpus", [1, 2, 3, 8])
def test_detr(gpus: int) -> None:
    """DETR main.py 25 (2 a GPU), 60 (100 queries); README: 8 GPUs, "total batch size 16"."""
    line = f"python -m torch.distributed.launch --nproc_per_node={gpus} --use_env main.py --coco_path /d --masks\n"
    line = line.replace("--masks", "--masks --batch_size 2")
    found = reading("t.sh", line)
    assert values(found, "micro_batch", "effective_batch", "task", "model") == (2, 2 * gpus, "segment", "detr_resnet50")


def test_a_relative_of_detr_has_defaults_of_its_own() -> None:
    line = "torchrun --nproc_per_node=8 main.py --coco_path /d --lr_drop 40 --with_box_refine --two_stage\n"
    assert values(reading("t.sh", line), "micro_batch", "num_queries", "model", "effective_batch") == (None,) * 4


MOCO2 = "python main_moco.py -b 256 --mlp --aug-plus --multiprocessing-distributed --world-size {} --rank 0 /d\n"
MOCO3 = "python main_moco.py --moco-m-cos --crop-min=.2 --multiprocessing-distributed --world-size {} --rank 0 /d\n"


@pytest.mark.parametrize(
    ("line", "nodes", "gpus", "micro", "effective", "queue"),
    [
        (MOCO2, 1, 1, 256, 256, 65536), (MOCO2, 1, 2, 128, 256, 65536), (MOCO2, 1, 3, 85, 255, 65536),
        (MOCO2, 1, 8, 32, 256, 65536), (MOCO2, 2, 8, 32, 512, 65536),
        (MOCO3, 1, 1, 4096, 4096, None), (MOCO3, 1, 2, 2048, 4096, None), (MOCO3, 1, 3, 1365, 4095, None),
        (MOCO3, 1, 8, 512, 4096, None), (MOCO3, 2, 8, 256, 4096, None),
    ],
)  # fmt: skip
def test_moco(line: str, nodes: int, gpus: int, micro: int, effective: int, queue: int | None) -> None:
    """v2 main_moco.py 172 (int(b / ngpus_per_node)); v3 main_moco.py 202 (int(b / world_size)), 4096 by default."""
    found = reading("t.sh", line.format(nodes), Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "effective_batch", "queue_size", "task") == (
        micro, effective, queue, "self-supervised"
    )  # fmt: skip
    assert found.plan.workers_per_rank.value == -(-32 // gpus)


def test_moco_on_an_unknown_machine() -> None:
    assert values(reading("t.sh", MOCO2.format(1)), "micro_batch", "world_size", "workers_per_rank") == (
        None,
        None,
        None,
    )


DINO = "train:\n  batch_size_per_gpu: 32\nstudent:\n  arch: vit_large\ncrops:\n  local_crops_number: 6\n"


@pytest.mark.parametrize("gpus", [1, 2, 3, 8])
def test_dinov2(gpus: int) -> None:
    """dinov2/utils/config.py 23: batch_size_per_gpu * world size."""
    found = reading("vitl14.yaml", DINO, Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "effective_batch", "workers_per_rank") == (32, 32 * gpus, 10)
    assert "8 crops" in found.plan.model.note


def test_dinov2_submits_a_job() -> None:
    line = "python dinov2/run/train/train.py --nodes 4 --config-file vitl14.yaml train.batch_size_per_gpu=64\n"
    found = reading("vitl14.yaml", DINO, Surroundings(launched_by=line))
    assert values(found, "world_size", "micro_batch", "effective_batch") == (32, 64, 2048)


def test_dinov2_networks_are_left_alone() -> None:
    assert readings("vitb14.yaml", "student:\n  arch: vit_base\ncrops:\n  global_crops_size: 518\n") == []
