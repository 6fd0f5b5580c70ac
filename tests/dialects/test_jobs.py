"""Job files: SkyPilot tasks, Kubernetes jobs, GitHub workflows. Worlds, variables, places, and repairs in place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values
from vramlint.dialects import registry
from vramlint.engine import CheckOptions, check
from vramlint.engine.repair import fix_source

TASK = """\
num_nodes: {nodes}
resources:
  accelerators: {gpus}
envs:
  BATCH: 4
run: |
  cd work
  torchrun --nnodes=$SKYPILOT_NUM_NODES --nproc_per_node=$SKYPILOT_NUM_GPUS_PER_NODE \\
    sft.py --per_device_train_batch_size $BATCH --gradient_accumulation_steps 2
"""


@pytest.mark.parametrize(
    ("nodes", "gpus", "ranks"),
    [(1, "A100:8", 8), (2, "A100:8", 16), (1, "{A100: 4}", 4), (1, "L4", 1), (1, "[A100:8, H100:8]", None)],
)
def test_skypilot_worlds(nodes: int, gpus: str, ranks: int | None) -> None:
    found = reading("task.yaml", TASK.format(nodes=nodes, gpus=gpus))
    assert found.plan.dialect == "skypilot"
    assert values(found, "world_size", "micro_batch", "effective_batch") == (ranks, 4, 8 * ranks if ranks else None)


def test_without_a_launcher_the_tasks_gpus_are_the_target() -> None:
    text = "resources: {accelerators: H100:4}\nrun: yolo detect train model=yolo11n.pt data=a.yaml batch=64\n"
    assert values(reading("task.yaml", text), "world_size", "effective_batch")[1] == 64


JOB = """\
apiVersion: batch/v1
kind: {kind}
metadata: {{name: a}}
spec:
  template:
    spec:
      containers:
        - name: side
          command: [sleep, infinity]
        - name: t
          env: [{{name: STEPS, value: "4"}}]
          command: {command}
          resources: {{limits: {{nvidia.com/gpu: 2}}}}
"""
WORDS = "[torchrun, --nproc_per_node=2, sft.py, --per_device_train_batch_size=8, --gradient_accumulation_steps=4]"
SHELL = (
    '["bash", "-c", "torchrun --nproc_per_node=2 sft.py --per_device_train_batch_size=8 '
    '--gradient_accumulation_steps=$STEPS"]'
)


@pytest.mark.parametrize("kind", ["Job", "Pod", "MPIJob"])
@pytest.mark.parametrize("command", [WORDS, SHELL])
def test_kubernetes(kind: str, command: str) -> None:
    found = reading("job.yaml", JOB.format(kind=kind, command=command))
    assert found.plan.dialect == "kubernetes_job"
    assert values(found, "world_size", "micro_batch", "accumulation", "effective_batch") == (2, 8, 4, 64)
    assert told(found.plan.micro_batch) == (8, "launch", 12)


@pytest.mark.parametrize("kind", ["Deployment", "Service", "ConfigMap"])
def test_other_manifests_are_left_alone(kind: str) -> None:
    assert readings("job.yaml", JOB.format(kind=kind, command=WORDS)) == []


@pytest.mark.parametrize(
    "text",
    [
        JOB.format(kind="Job", command="[python, serve.py, --batch-size, '8']"),
        "on: push\njobs:\n  a:\n    steps:\n      - run: pytest --batch-size 8\n",
        "resources: {cpus: 4}\nrun: python evaluate.py --batch-size 8 --num_workers 2\n",
    ],
)
def test_jobs_that_train_nothing_are_left_alone(text: str) -> None:
    assert readings("job.yaml", text) == []


WORKFLOW = """\
on: push
env: {BATCH: "8"}
jobs:
  one:
    runs-on: gpu
    env: {STEPS: 2}
    steps:
      - uses: actions/checkout@v4
      - run: |
          # why
          python train.py --model a --batch_size $BATCH --gradient_accumulation_steps $STEPS --lr 0.1
      - run: python train.py --model a --batch_size ${{ matrix.batch }} --lr 0.1
      - shell: pwsh
        run: python train.py --model a --batch_size 8 --lr 0.1
"""


def test_every_step_of_a_workflow_is_a_run_of_its_own() -> None:
    found = readings("w.yml", WORKFLOW, Surroundings(gpus=1))
    assert [values(each, "micro_batch", "accumulation") for each in found] == [(8, 2), (None, None)]
    assert [each.plan.title for each in found] == ["train.py (line 11)", "train.py (line 12)"]


def test_a_file_is_claimed_once() -> None:
    from tests.dialects.support import document

    verdicts = registry.why(document("w.yml", WORKFLOW))
    assert [verdict.dialect for verdict in verdicts] == ["github_workflow", "github_workflow"]


QUEUE = "python train.py --model resnet50 --batch_size 3 --queue_size 100 --epochs 3"
BROKEN = [
    f"resources: {{accelerators: A100:8}}\nrun: |\n  # why\n  {QUEUE} \\\n    --lr 0.1  # é\nsetup: pip install x\n",
    f"resources: {{accelerators: A100:8}}\nrun: '{QUEUE} --tag ''v1'''\n",
    f"on: push\njobs:\n  a:\n    steps:\n      - run: {QUEUE}  # end\n",
    f'on: push\njobs:\n  a:\n    steps:\n      - run: "{QUEUE} --name \\"a b\\""\n',
    JOB.format(kind="Job", command=f"[{QUEUE.replace(' ', ', ')}]"),
    JOB.format(kind="Job", command=f'[bash, -c, "set -e; {QUEUE}"]'),
    f"#!/bin/bash\n#SBATCH --nodes=1 --gpus-per-node=4\nsrun {QUEUE}\n",
]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("text", BROKEN)
def test_repairs_are_written_into_the_command(text: str, newline: str) -> None:
    """Only the value changes, byte for byte, and a second run changes nothing."""
    path = "job.sh" if text.startswith("#!") else "job.yaml"
    data = text.replace("\n", newline).encode()
    outcome = fix_source(path, data, CheckOptions(isolated=True))
    (mended,) = outcome.files
    assert mended.new == data.replace(b" 100", b" 102")
    assert fix_source(path, mended.new, CheckOptions(isolated=True)).files == ()


def test_a_flag_is_taken_out_of_a_script_but_not_out_of_a_list() -> None:
    flags = "--batch_size 3 --num_workers 0 --prefetch_factor 2 --epochs 3"
    script = f"resources: {{accelerators: A100:8}}\nrun: |\n  python train.py --model a {flags}\n"
    (mended,) = fix_source("t.yaml", script.encode(), CheckOptions(isolated=True)).files
    assert mended.new == script.replace(" --prefetch_factor 2", "").encode()
    listed = JOB.format(kind="Job", command=f"[python, train.py, --model, a, {flags.replace(' ', ', ')}]")
    assert fix_source("j.yaml", listed.encode(), CheckOptions(isolated=True)).files == ()


def test_findings_point_into_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("task.yaml").write_text(BROKEN[0], encoding="utf-8")
    (finding,) = check(["task.yaml"], CheckOptions(isolated=True)).findings
    where = finding.location
    assert (where.path, where.line, BROKEN[0][where.start : where.end]) == ("task.yaml", 4, "100")


SLURM = """\
#!/bin/bash
#SBATCH --nodes=2
#SBATCH --gpus-per-node=4
#SBATCH --ntasks-per-node=1
{line} sft.py --per_device_train_batch_size 2 --gradient_accumulation_steps 1
"""


@pytest.mark.parametrize(
    ("line", "ranks"),
    [
        ("srun torchrun --nnodes=$SLURM_NNODES --nproc_per_node=$SLURM_GPUS_ON_NODE", 8),
        ("srun torchrun --nnodes $SLURM_JOB_NUM_NODES --nproc_per_node 4", 8),
        ("accelerate launch --num_processes $((SLURM_NNODES * 4)) --num_machines $SLURM_NNODES", 8),
        ("srun python", 2),
        ("srun --ntasks-per-node=4 python", 8),
    ],
)
def test_slurm_worlds(line: str, ranks: int) -> None:
    assert values(reading("job.sh", SLURM.format(line=line)), "world_size", "effective_batch") == (ranks, 2 * ranks)
