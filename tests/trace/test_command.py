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
        ("diffusers/no-such", "folders with a config.json"),
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


def test_a_model_is_traced_as_chosen_with_a_whole_step(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--checkpoint", "0", "--channels-last", "--at", "4x64x96", "--optimizer", "sgd"]
    step = ["--optimizer-option", "momentum=0.9", "--ema", "--parallel", "ddp", "--accumulate", "4", "--grad-scaler"]
    arguments = ["trace", "mine:build", "--variants", "amp", "--quiet", "--folder", str(repository)]
    assert main([*arguments, *chosen, *step]) == 0
    data = json.loads(profile_path(repository, "mine_build").read_text(encoding="utf-8"))
    profile = load_profile(data)
    assert profile.variants.keys() == {"amp", "amp+checkpointing"}
    assert profile.fixed_size == (64, 96)
    assert {"channels_last", "checkpointing recomputes the modules 0"} <= set(profile.assumptions)
    assert profile.optimizer is not None
    assert (profile.optimizer.name, profile.optimizer.state_bytes) == (
        "SGD",
        5 * 512,
    )  # 864 bytes of one weight, three of a block each
    plain, recomputed = data["steps"]
    assert (plain["shape"], plain["variant"], recomputed["variant"]) == ([4, 64, 96], "amp", "amp+checkpointing")
    assert plain["parts"]["weights"] == 5 * 512
    assert plain["parts"]["ema"] == 6 * 512  # it counts its updates in a buffer
    assert plain["peak_bytes"] == sum(plain["parts"].values()) > recomputed["peak_bytes"]
    assert "whole step at 4x64x96, amp, SGD: at its peak, in " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ema"], "--optimizer AdamW"),
        (["--optimizer", "adamw", "--ema", "--parallel", "fsdp2"], "leave --ema out"),
        (["--at", "4"], "no batch and size"),
        (["--at", "4x64"], "BATCHxHEIGHTxWIDTH"),
        (["--at", "2x64x64", "--at", "3x96x64"], "the last confirms the others"),
        (["--optimizer", "no-such"], "no optimizer called 'no-such'"),
        (["--optimizer", "lbfgs", "--update", "fused"], "LBFGS has no fused update"),
        (["--optimizer-option", "momentum"], "is no option"),
    ],
)
def test_choices_that_make_no_sense_are_said(
    repository: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["trace", "mine:build", "--quiet", "--folder", str(repository), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert not (repository / ".vramlint").exists()
