"""Without a card: one clear line. With one: the whole command, quickly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # the networks are small, and threads wait for each other on a busy machine

from vramlint.cli.main import main  # noqa: E402
from vramlint.probe.backend import Setting  # noqa: E402
from vramlint.probe.workloads import WORKLOADS, job_of, train  # noqa: E402


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a card")
def test_without_a_card_probe_says_so_and_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "no CUDA card" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("model", sorted(WORKLOADS))
@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_workload_trains_on_the_cpu(model: str, checkpointing: bool) -> None:
    size = 16 if model == "decoder" else 32
    setting = Setting(model, 2, size, "bf16", checkpointing, "sgd")
    losses: list[Any] = []
    job = job_of(setting, torch.device("cpu"))
    watched = job._replace(loss=lambda m, b: losses.append(job.loss(m, b)) or losses[-1])
    train(watched, setting, torch.device("cpu"), 1)
    assert torch.isfinite(losses[0])


def test_a_target_of_trace_trains_as_well() -> None:
    setting = Setting("plain/unet", 2, 32, "fp32", False, "adamw")
    job = job_of(setting, torch.device("cpu"))
    train(job, setting, torch.device("cpu"), 2)
    assert all(parameter.grad is None for parameter in job.model.parameters())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_a_card_is_measured(tmp_path: Path) -> None:
    result = tmp_path / "probe.json"
    arguments = ["probe", "--quick", "--model", "resnet50", "--batch", "2", "--output", str(result)]
    assert main(arguments) == 0
    rows = json.loads(result.read_text(encoding="utf-8"))["rows"]
    assert all(0 < row["allocated_bytes"] <= row["reserved_bytes"] <= row["device_bytes"] for row in rows)
