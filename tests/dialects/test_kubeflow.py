"""Kubeflow jobs: worlds of both versions, commands as lists and as shell texts."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values

JOB = """\
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainJob
metadata: {{name: a}}
spec:
  trainer:
    {world}
    command: [{command}]
"""
FLAGS = "torchrun, train.py, --per_device_train_batch_size=2, --gradient_accumulation_steps=4"


def job(world: str, command: str = FLAGS) -> str:
    return JOB.format(world=world, command=command)


@pytest.mark.parametrize(
    ("world", "ranks", "effective"),
    [
        # torch.go:121-194: numNodes x numProcPerNode; auto is the GPUs of a node.
        ("numProcPerNode: 1", 1, 8),
        ("numProcPerNode: 2", 2, 16),
        ("numNodes: 3\n    numProcPerNode: 1", 3, 24),
        ("numNodes: 2\n    numProcPerNode: 4", 8, 64),
        ("numNodes: 2\n    resourcesPerNode: {limits: {nvidia.com/gpu: 4}}", 8, 64),
        ('numProcPerNode: auto\n    resourcesPerNode: {requests: {nvidia.com/gpu: "2"}}', 2, 16),
        ("numNodes: 2", None, None),
    ],
)
def test_train_jobs(world: str, ranks: int | None, effective: int | None) -> None:
    found = reading("job.yaml", job(world))
    assert values(found, "world_size", "micro_batch", "effective_batch") == (ranks, 2, effective)
    assert found.plan.dialect == "kubeflow"


def test_a_launcher_that_names_its_processes_wins() -> None:
    command = FLAGS.replace("torchrun", "torchrun, --nproc_per_node=2")
    assert values(reading("job.yaml", job("numProcPerNode: 8", command)), "world_size", "effective_batch") == (2, 16)


def test_a_shell_text_is_read_as_a_script() -> None:
    command = '"bash", "-c", "set -e; torchrun train.py --per_device_train_batch_size 3"'
    found = reading("job.yaml", job("numProcPerNode: 2", command), Surroundings())
    assert values(found, "micro_batch", "accumulation", "effective_batch") == (3, 1, 6)
    assert told(found.plan.micro_batch)[2] == 7
    assert set(found.slots) >= {"micro_batch", "accumulation"}


SCRIPT = """\
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainJob
metadata: {name: a}
spec:
  trainer:
    numProcPerNode: 2
    command: [bash, -c]
    args:
      - |
        cd /work   # first
        torchrun train.py \\
          --per_device_train_batch_size 3 \\
          --gradient_accumulation_steps=4
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_settings_of_a_script_stand_where_they_are_written(newline: str) -> None:
    text = SCRIPT.replace("\n", newline)
    plan = reading("job.yaml", text).plan
    assert (plan.micro_batch.value, plan.accumulation.value, plan.effective_batch.value) == (3, 4, 24)
    for fact, line in ((plan.micro_batch, 12), (plan.accumulation, 13)):
        place = fact.location
        assert place is not None
        assert (place.path, place.line, text[place.start : place.end]) == ("job.yaml", line, str(fact.value))


def test_a_batch_over_all_ranks_is_shared_out_by_the_jobs_world() -> None:
    command = "python, train.py, --data, coco.yaml, --hyp, hyp.yaml, --weights, yolov5s.pt, --batch-size, '16'"
    found = readings("job.yaml", job("numProcPerNode: 4", command))
    assert [item.plan.world_size.value for item in found] == [4]


PYTORCH = """\
apiVersion: kubeflow.org/v1
kind: PyTorchJob
spec:
  nprocPerNode: "{each}"
  pytorchReplicaSpecs:
    Master:
      replicas: 1
      template:
        spec:
          containers:
            - {{name: a, command: [python], args: [train.py, --per_device_train_batch_size, 2]}}
    Worker:
      replicas: {workers}
      template: {{spec: {{containers: [{{name: a}}]}}}}
"""


@pytest.mark.parametrize(("each", "workers", "ranks"), [(1, 1, 2), (1, 2, 3), (4, 1, 8), (8, 3, 32)])
def test_pytorch_jobs(each: int, workers: int, ranks: int) -> None:
    found = reading("job.yaml", PYTORCH.format(each=each, workers=workers))
    assert values(found, "world_size", "effective_batch") == (ranks, 2 * ranks)


def test_a_runtime_is_no_run() -> None:
    assert readings("r.yaml", job("numNodes: 1").replace("TrainJob", "ClusterTrainingRuntime")) == []


def test_of_a_job_with_a_foreign_command_the_world_is_known() -> None:
    found = reading("j.yaml", job("numNodes: 2\n    numProcPerNode: 8", "python, train.py"))
    assert values(found, "world_size", "nodes", "micro_batch") == (16, 2, None)
