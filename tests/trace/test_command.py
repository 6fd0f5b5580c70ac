"""``vramlint trace`` on a user's own repository: the profile, errors of their code, names that do not exist."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from vramlint.cli.main import main
from vramlint.memory.knowledge import Workload
from vramlint.memory.profile import load_profile
from vramlint.plan import Precision
from vramlint.trace import profile_path

MODEL = """
import torch
from torch import nn


def build(batch, height, width):
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))
    inputs = (torch.rand(batch, 3, height, width), torch.rand(batch, 1, height, width))
    return model, inputs, lambda model, inputs: nn.functional.mse_loss(model(inputs[0]), inputs[1])


def broken(batch):
    raise ValueError("my own mistake")


def strange(dataset_root):
    return None


def nothing(batch):
    return 7
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODEL, encoding="utf-8")
    return tmp_path


def test_a_users_own_model_gets_a_profile(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["trace", "mine:build", "--name", "my-net", "--variants", "fp32", "--folder", str(repository)]
    assert main(arguments) == 0
    file = profile_path(repository, "my-net")
    assert file == repository / ".vramlint" / "profiles" / "my-net.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    assert data["code"]["sources"].keys() == {"mine.py"}
    assert len(data["code"]["sources"]["mine.py"]) == 64
    profile = load_profile(data)
    assert profile.parameters == 3 * 8 * 9 + 8 + 8 + 1
    moments = profile.moments(Workload(2, Precision.FP32, checkpointing=False, height=256, width=256))
    # The input and the target (16 B/px) stay, and at least the second layer's input (32 B/px).
    assert max(moment.activation_bytes for moment in moments) >= 48 * 2 * 256 * 256
    out, err = capsys.readouterr()
    assert "233 parameters" in out
    assert "my-net fp32 at 2x128x128" in err


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("mine:broken", "my own mistake"),
        ("mine:strange", "'dataset_root'"),
        ("mine:nothing", "returned int"),
        ("mine:missing", "no callable 'missing'"),
        ("nowhere:build", "nowhere"),
        ("no-such-model-9000", "no model called 'no-such-model-9000'"),
        ("family/thing", "no family 'family'"),
    ],
)
def test_what_cannot_be_traced_is_said_and_ends_with_2(
    repository: Path, capsys: pytest.CaptureFixture[str], target: str, said: str
) -> None:
    assert main(["trace", target, "--quiet", "--folder", str(repository)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert not (repository / ".vramlint").exists()
