"""Base configs of installed OpenMMLab packages: found, read, never edited."""

from __future__ import annotations

from pathlib import Path

import pytest

from vramlint.engine import CheckOptions, check
from vramlint.project.installed import installed_config, is_package_config

BASE = "model = dict(type='FCN')\ntrain_dataloader = dict(batch_size=2, num_workers=2)\n"
OWN = "_base_ = ['mmseg::_base_/models/fcn.py']\n"


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.delenv("CONDA_PREFIX", raising=False)


def install(root: Path, inside: str = ".mim/configs") -> Path:
    base = root / "lib/python3.11/site-packages/mmseg" / inside / "_base_/models/fcn.py"
    base.parent.mkdir(parents=True)
    base.write_text(BASE, encoding="utf-8")
    return base


@pytest.mark.parametrize("inside", [".mim/configs", "configs"])
def test_the_repositorys_own_environment(tmp_path: Path, inside: str) -> None:
    base = install(tmp_path / ".venv", inside)
    assert installed_config("mmseg::_base_/models/fcn.py", str(tmp_path)) == str(base)
    assert installed_config("mmseg::_base_/models/other.py", str(tmp_path)) is None


def test_the_active_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = install(tmp_path / "elsewhere")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "elsewhere"))
    assert installed_config("mmseg::_base_/models/fcn.py", str(tmp_path)) == str(base)


@pytest.mark.parametrize("name", ["mmseg::../../../secret.py", "a/b::x.py", "mmseg::", "::x.py", "x.py"])
def test_names_that_reach_nothing(tmp_path: Path, name: str) -> None:
    install(tmp_path / ".venv")
    assert installed_config(name, str(tmp_path)) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/env/lib/python3.11/site-packages/mmseg/.mim/configs/_base_/models/fcn.py", True),
        ("/env/lib/python3.11/site-packages/mmseg/models/fcn.py", False),
        ("/env/lib/python3.11/site-packages/mmseg/configs/../../secret.py", False),
        ("/home/me/configs/fcn.py", False),
    ],
)
def test_only_configs_of_packages_are_read_outside_of_the_repository(path: str, expected: bool) -> None:
    assert is_package_config(path) is expected


def test_a_base_of_a_package_is_read_and_offers_nothing_to_edit(tmp_path: Path) -> None:
    install(tmp_path / ".venv")
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    (run,) = check(["own.py"], CheckOptions(isolated=True, gpus=2)).runs
    assert run.reading.plan.micro_batch.value == 2
    assert run.reading.plan.effective_batch.value == 4
    assert "micro_batch" not in run.reading.slots


def test_a_base_that_no_environment_has_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN + "train_dataloader = dict(batch_size=2)\n", encoding="utf-8")
    (run,) = check(["own.py"], CheckOptions(isolated=True, gpus=2)).runs
    assert run.estimate.unknown_because == "mmseg::_base_/models/fcn.py is not at hand"
