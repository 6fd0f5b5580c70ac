"""A script with flags of its own: project A and its relatives."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values
from vramlint.plan import ImageSize, Precision

LINE = """\
#!/bin/bash
torchrun --nproc_per_node=2 train.py \\
    --dataset_path "$DATA" \\
    --model hrnet \\
    --image_size 1024 1024 \\
    --batch_size 3 \\
    --gradient_accumulation_steps 4 \\
    --num_workers 4 \\
    --prefetch_factor 2 \\
    --pin_memory False \\
    --mixed_precision \\
    --use_ema \\
    --use_ddp
"""

SCRIPT = """\
import argparse

def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="hrnet")
    parser.add_argument("-b", "--batch-size", type=int, default=8)
    parser.add_argument("--accum-steps", type=int, default=2)
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--pin-memory", type=bool, default=True)
    parser.add_argument("--img-size", type=int, default=512)
    return parser.parse_args()
"""


def test_project_a_without_the_script() -> None:
    found = reading("train.sh", LINE)
    plan = found.plan
    assert plan.dialect == "argparse_trainer"
    assert told(plan.micro_batch) == (3, "launch", 6)
    assert told(plan.accumulation) == (4, "launch", 7)
    assert told(plan.world_size) == (2, "launch", 2)
    assert told(plan.image_size) == (ImageSize(1024, 1024), "launch", 5)
    assert told(plan.pin_memory) == (False, "launch", 10)
    assert told(plan.precision) == (Precision.FP16, "launch", 11)
    assert told(plan.ema) == (True, "launch", 12)
    assert values(found, "effective_batch", "workers_per_rank", "prefetch_factor", "model") == (24, 4, 2, "hrnet")
    assert not plan.grad_checkpointing.known
    assert {"micro_batch", "accumulation", "workers_per_rank", "prefetch_factor"} <= set(found.slots)
    assert found.slots["micro_batch"].name == "--batch_size"


@pytest.mark.parametrize(("batch", "accumulation", "effective"), [(2, 4, 16), (2, 5, 20), (3, 4, 24)])
def test_the_rows_of_project_a(batch: int, accumulation: int, effective: int) -> None:
    text = LINE.replace("--batch_size 3", f"--batch_size {batch}").replace("steps 4", f"steps {accumulation}")
    assert reading("train.sh", text).plan.effective_batch.value == effective


def test_the_scripts_defaults_fill_what_the_line_leaves_out() -> None:
    found = reading("jobs/train.sh", "python train.py -b 16 --lr 1e-4\n", Surroundings({"train.py": SCRIPT}))
    plan = found.plan
    assert told(plan.micro_batch) == (16, "launch", 1)
    assert told(plan.accumulation) == (2, "default", 7)
    assert plan.accumulation.note == "argparse default of train.py"
    assert told(plan.precision) == (Precision.FP32, "default", 10)
    assert values(found, "workers_per_rank", "effective_batch", "world_size") == (6, 32, 1)
    assert [document.path for document in found.documents] == ["jobs/train.sh", "train.py"]


@pytest.mark.parametrize(
    ("flags", "batch", "workers"),
    [
        ("-b 16 -j 6", 16, 6),
        ("-b=16", 16, None),
        ("-b resnet50 -j auto", None, None),
        ("-b 16 --batch-size 32", 32, None),
        ("-b", None, None),
    ],
)
def test_usual_short_flags_are_counts(flags: str, batch: int | None, workers: int | None) -> None:
    found = reading("train.sh", f"torchrun --nproc_per_node=2 train.py --model resnet50 --epochs 9 --lr 1 {flags}\n")
    assert values(found, "micro_batch", "workers_per_rank") == (batch, workers)


def test_only_declared_flags_can_be_added_in_the_scripts_spelling() -> None:
    found = reading("train.sh", "python train.py -b 16 --lr 1e-4\n", Surroundings({"train.py": SCRIPT}))
    (command,) = found.document.commands
    assert {fact: slot.key for fact, slot in found.slots.items() if slot.node is None} == {
        "accumulation": "--accum-steps",
        "workers_per_rank": "--workers",
        "pin_memory": "--pin-memory",
        "image_size": "--img-size",
        "precision": "--amp",
    }
    assert all(slot.parent is command.options for slot in found.slots.values())
    assert found.slots["precision"].spell(Precision.FP16) is True
    assert all(slot.node is not None for slot in reading("train.sh", LINE).slots.values())


def test_a_script_without_the_flag_does_not_accumulate_or_checkpoint() -> None:
    script = SCRIPT.replace('    parser.add_argument("--accum-steps", type=int, default=2)\n', "")
    found = reading("train.sh", "python train.py -b 16 --lr 1e-4\n", Surroundings({"train.py": script}))
    assert told(found.plan.accumulation) == (1, "default", None)
    assert told(found.plan.grad_checkpointing) == (False, "default", None)


def test_any_text_is_true_for_type_bool() -> None:
    found = reading("train.sh", "python train.py -b 4 --lr 1 --pin-memory False\n", Surroundings({"train.py": SCRIPT}))
    assert told(found.plan.pin_memory) == (True, "launch", 1)
    (finding,) = found.findings
    assert finding.name == "value-misread"
    assert "type=bool" in finding.message


@pytest.mark.parametrize(
    ("prefix", "gpus", "ranks", "origin"),
    [
        ("python", None, 1, "default"),
        ("python", 2, 2, "derived"),
        ("torchrun", None, 1, "default"),
        ("torchrun --nproc_per_node 4", None, 4, "launch"),
        ("torchrun --nproc-per-node=4 --nnodes=2", 16, 8, "launch"),
        ("torchrun --nproc_per_node=gpu", None, None, "unknown"),
        ("torchrun --nproc_per_node=gpu", 3, 3, "derived"),
        ("python -m torch.distributed.run --nproc_per_node 2", None, 2, "launch"),
        ("python -m torch.distributed.launch --nproc_per_node=2", None, 2, "launch"),
        ("accelerate launch --num_processes 8 --num_machines 2", None, 8, "launch"),
        ("accelerate launch", 2, 2, "derived"),
        ("deepspeed --num_gpus=4", None, 4, "launch"),
        ("mpirun -np 4 python", None, 4, "launch"),
        ("srun --ntasks-per-node=8 --nodes=2 python", None, 16, "launch"),
    ],
)
def test_the_world(prefix: str, gpus: int | None, ranks: int | None, origin: str) -> None:
    plan = reading("run.sh", f"{prefix} train.py --batch_size 2 --lr 1\n", Surroundings(gpus=gpus)).plan
    assert (plan.world_size.value, plan.world_size.origin.value) == (ranks, origin)


@pytest.mark.parametrize("switch", ["--use_ddp", "--distributed", "--multiprocessing-distributed"])
def test_a_script_that_starts_its_own_ranks_leaves_the_world_open(switch: str) -> None:
    assert not reading("run.sh", f"python train.py --batch_size 2 --lr 1 {switch}\n").plan.world_size.known


def test_a_number_of_gpus_that_the_script_is_told() -> None:
    plan = reading("run.sh", "python train.py --batch_size 2 --lr 1 --world_size 4 --use_ddp\n").plan
    assert told(plan.world_size) == (4, "launch", 1)


@pytest.mark.parametrize(
    ("spelling", "fact", "value"),
    [
        ("--batch 4 --epochs 3", "micro_batch", 4),
        ("--batch-size 4 --epochs 3", "micro_batch", 4),
        ("--bs=4 --epochs 3", "micro_batch", 4),
        ("--train_batch_size 4 --epochs 3", "micro_batch", 4),
        ("--bs 4 --accum 2", "accumulation", 2),
        ("--bs 4 --accumulate 2", "accumulation", 2),
        ("--bs 4 --grad_accum_steps 2", "accumulation", 2),
        ("--bs 4 --workers 2", "workers_per_rank", 2),
        ("--bs 4 --imgsz 640", "image_size", ImageSize(640, 640)),
        ("--bs 4 --img-size 640 512", "image_size", ImageSize(640, 512)),
        ("--bs 4 --lr 1 --resolution 384", "image_size", ImageSize(384, 384)),
        ("--bs 4 --lr 1 --size 224", "image_size", ImageSize(224, 224)),
        ("--bs 4 --lr 1 --size small", "image_size", None),
        ("--bs 4 --amp", "precision", Precision.FP16),
        ("--bs 4 --bf16", "precision", Precision.BF16),
        ("--bs 4 --fp16 --lr 1", "precision", Precision.FP16),
        ("--bs 4 --lr 1 --mixed_precision bf16", "precision", Precision.BF16),
        ("--bs 4 --lr 1 --mixed_precision no", "precision", Precision.FP32),
        ("--bs 4 --lr 1 --no-amp", "precision", Precision.FP32),
        ("--bs 4 --lr 1 --grad_ckpt", "grad_checkpointing", True),
        ("--bs 4 --lr 1 --queue_size 4096", "queue_size", 4096),
        ("--bs 4 --lr 1 --num-queries 300", "num_queries", 300),
        ("--bs 4 --lr 1 --multi_scale 0", "multi_scale", False),
        ("--bs 4 --lr 1 --arch resnet50", "model", "resnet50"),
        ("--bs 4 --lr 1 --max_length 512", "seq_len", 512),
    ],
)
def test_spellings(spelling: str, fact: str, value: object) -> None:
    assert reading("run.sh", f"python train.py {spelling}\n").plan.fact(fact).value == value


def test_variables_of_the_script_are_followed_and_unknown_ones_stay_unknown() -> None:
    text = "BATCH=4\npython train.py --batch_size $BATCH --num_workers ${WORKERS} --lr 1\n"
    plan = reading("run.sh", text).plan
    assert plan.micro_batch.value == 4
    assert not plan.workers_per_rank.known


@pytest.mark.parametrize(
    "line",
    [
        "python eval.py --batch_size 4 --num_workers 2",
        "python tools/test.py --batch-size 4 --workers 2",
        "python -m lm_eval --batch_size 4 --epochs 1",
        "python serve.py --batch-size 4 --workers 2",
        "curl --batch 4 --lr 2",
        "python train.py --name x",
        "torchrun pretrain_gpt.py --micro-batch-size 4 --global-batch-size 64 --lr 1",
        "python train.py --model resnet50 --batch-size 4 --sched cosine --opt adamw",
        "python -m open_clip_train.main --batch-size 4 --lr 1 --workers 2",
        "python main_moco.py -b 256 --batch-size 4 --moco-k 65536 --lr 1",
    ],
)
def test_no_training_or_another_frameworks(line: str) -> None:
    assert [found for found in readings("run.sh", line + "\n") if found.plan.dialect == "argparse_trainer"] == []


def test_two_commands_are_two_runs_with_their_lines() -> None:
    text = "python train.py --batch_size 2 --lr 1\npython train.py --batch_size 4 --lr 1\n"
    found = readings("run.sh", text)
    assert [(one.plan.title, one.plan.micro_batch.value) for one in found] == [
        ("train.py (line 1)", 2),
        ("train.py (line 2)", 4),
    ]
