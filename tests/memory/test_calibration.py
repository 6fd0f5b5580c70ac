"""A measured card stands in for the tables, where it is the target."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vramlint.cli.main import main
from vramlint.errors import SettingsError
from vramlint.hardware.catalogue import find_gpu
from vramlint.memory.calibration import Calibration, read_calibration

GIB = 2**30


@pytest.mark.parametrize(
    ("card", "total_gib", "gpu", "same"),
    [
        ("NVIDIA GeForce RTX 3060", 12.0, "rtx3060-12gb", True),
        ("NVIDIA GeForce RTX 3060", 8.0, "rtx3060-12gb", False),
        ("NVIDIA GeForce RTX 4060 Ti", 16.0, "rtx4060ti-16gb", True),
        ("NVIDIA GeForce RTX 4060", 8.0, "rtx4060ti-16gb", False),
        ("NVIDIA GeForce RTX 3090", 24.0, "rtx3090", True),
        ("NVIDIA GeForce RTX 3090 Ti", 24.0, "rtx3090", False),
        ("NVIDIA GeForce RTX 4090", 24.0, "rtx3090", False),
        ("NVIDIA A100-SXM4-80GB", 80.0, "a100-80gb", True),
    ],
)
def test_a_card_is_told_from_its_relatives(card: str, total_gib: float, gpu: str, same: bool) -> None:
    target = find_gpu(gpu)
    measured = Calibration(card, round(total_gib / round(target.total_bytes / GIB) * target.total_bytes), 1, 1, "")
    assert measured.names(target) is same


def result(card: str, total: int) -> str:
    stages = [{"name": "before", "outside_torch_bytes": 0}, {"name": "cudnn", "outside_torch_bytes": 500 * 2**20}]
    data = {
        "schema": "vramlint.probe/1", "date": "2026-11-27", "card": {"name": card, "total_bytes": total},
        "usable_bytes": 11 * GIB, "stages": stages, "rows": [],
    }  # fmt: skip
    return json.dumps(data)


@pytest.mark.parametrize("gpu", ["rtx3060-12gb", "rtx3090"])
def test_check_uses_the_result_of_a_probe_of_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], gpu: str
) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".vramlint").mkdir()
    line = "torchrun --nproc_per_node=1 train.py --model resnet50 --image_size 512 512 --batch_size 2 --epochs 5\n"
    (tmp_path / "train.sh").write_text(line, encoding="utf-8")
    total = find_gpu("rtx3060-12gb").total_bytes
    (tmp_path / ".vramlint" / "probe.json").write_text(result("NVIDIA GeForce RTX 3060", total), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["check", "train.sh", "--gpu", gpu, "--output-format", "json"]) in (0, 1)
    capsys.readouterr()
    assert main(["plan", "train.sh", "--gpu", gpu]) == 0
    from vramlint.engine import check
    from vramlint.engine.options import CheckOptions

    (run,) = check(("train.sh",), CheckOptions(gpu=(gpu,))).runs
    assert run.target.gpu is not None
    measured = gpu == "rtx3060-12gb"
    assert (run.target.gpu.context_bytes == 500 * 2**20) is measured
    assert ("probe" in run.target.gpu.source) is measured
    context = {part.name: part.bytes for part in run.estimate.components}["CUDA context"]
    assert (context == 500 * 2**20) is measured
    for asked in (["--gpu", gpu], ["--sweep", f"gpu={gpu},t4"]):
        capsys.readouterr()
        assert main(["estimate", "train.sh", *asked, "--output-format", "json"]) == 0
        row = json.loads(capsys.readouterr().out)["estimates"][0]
        (context,) = (part["bytes"] for part in row["components"] if part["name"] == "CUDA context")
        assert (context == 500 * 2**20) is measured


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "vramlint.probe/9"}', '{"schema": "vramlint.probe/1"}'])
def test_what_is_no_result_is_told_with_its_path(text: str) -> None:
    with pytest.raises(SettingsError, match="no result of a probe"):
        read_calibration(text, ".vramlint/probe.json")
