"""The pre-commit hooks, run by pre-commit itself in a scratch repository."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PACKAGE = ("pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml", "vramlint", "rules")
HOOKS: dict[str, dict[str, Any]] = {
    hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
}
FIXED = """\
model_name_or_path: Qwen/Qwen2.5-0.5B  # small
output_dir: out
per_device_train_batch_size: 4
gradient_accumulation_steps: 2
num_train_epochs: 1
learning_rate: 2.0e-5
dataloader_num_workers: 0
save_strategy: epoch
"""
BROKEN = FIXED.replace("save_strategy", "dataloader_prefetch_factor: 2\nsave_strategy")
SETTINGS = '[tool.vramlint]\nexclude = ["legacy/"]\n'


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=tester", "-c", "user.email=tester@example.org", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit_all(folder: Path) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--no-verify", "--message", "state")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def index_reachable(tmp_path_factory: pytest.TempPathFactory) -> None:
    """pre-commit installs the hook with pip, which needs a package index."""
    folder = tmp_path_factory.mktemp("index")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--disable-pip-version-check",
            "--dest",
            folder,
            "hatchling",
        ],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"pip reaches no package index: {done.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="module")
def hook_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh commit of the package as it is now, whatever the checkout's own history."""
    folder = tmp_path_factory.mktemp("vramlint")
    for name in PACKAGE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    git(folder, "init", "--quiet")
    commit_all(folder)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache of hook environments for all tests here, so that pip runs once."""
    return tmp_path_factory.mktemp("pre-commit-home")


class Scratch:
    """A user's repository with the hooks configured."""

    def __init__(self, root: Path, home: Path) -> None:
        self.root = root
        self._home = home

    def pre_commit(self, hook: str, *arguments: str) -> tuple[int, str]:
        import os

        environment = {**os.environ, "PRE_COMMIT_HOME": str(self._home), "PRE_COMMIT_COLOR": "never"}
        program = Path(sys.executable).with_name("pre-commit")
        done = subprocess.run(
            [program, "run", hook, *(arguments or ("--all-files",))],
            cwd=self.root, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def scratch(tmp_path: Path, home: Path, hook_repository: Path, index_reachable: None) -> Scratch:
    hooks = [{"id": name} for name in HOOKS]
    revision = git(hook_repository, "rev-parse", "HEAD")
    config = {"repos": [{"repo": hook_repository.as_uri(), "rev": revision, "hooks": hooks}]}
    (tmp_path / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (tmp_path / "config.yml").write_text(BROKEN, encoding="utf-8")
    (tmp_path / "plain.yml").write_text("name: hello\n", encoding="utf-8")
    git(tmp_path, "init", "--quiet")
    commit_all(tmp_path)
    return Scratch(tmp_path, home)


@pytest.mark.slow
def test_a_broken_config_fails_is_rewritten_and_passes(scratch: Scratch) -> None:
    code, shown = scratch.pre_commit("vramlint")
    assert code == 1, shown
    assert "config.yml:" in shown
    assert "prefetch-without-workers" in shown

    code, shown = scratch.pre_commit("vramlint-fix")
    assert code == 1, shown
    assert "files were modified by this hook" in shown
    assert (scratch.root / "config.yml").read_text(encoding="utf-8") == FIXED

    code, shown = scratch.pre_commit("vramlint-fix")
    assert code == 0, shown
    code, shown = scratch.pre_commit("vramlint")
    assert code == 0, shown


@pytest.mark.slow
def test_an_excluded_file_stays_excluded(scratch: Scratch) -> None:
    """pre-commit names files one by one, which would override the exclusion but for --force-exclude."""
    (scratch.root / "legacy").mkdir()
    (scratch.root / "config.yml").rename(scratch.root / "legacy/config.yml")
    (scratch.root / "pyproject.toml").write_text(SETTINGS, encoding="utf-8")
    commit_all(scratch.root)
    for hook in HOOKS:
        code, shown = scratch.pre_commit(hook)
        assert code == 0, shown
    assert (scratch.root / "legacy/config.yml").read_text(encoding="utf-8") == BROKEN


@pytest.mark.parametrize("hook", HOOKS)
def test_hooks_run_once_over_all_files_and_respect_exclusions(hook: str) -> None:
    assert HOOKS[hook]["require_serial"] is True
    assert "--force-exclude" in HOOKS[hook]["entry"].split()
    assert set(HOOKS[hook]["types_or"]) == {"yaml", "json", "toml", "python", "shell"}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(
    ("path", "looked_at"),
    [
        ("config.yml", True),
        ("sft.yaml", True),
        ("a/b/ds_zero3.json", True),
        ("src/config_broken.py", True),
        ("configs/moco.py", True),
        ("train_stage1.sh", True),
        ("jobs/pretrain.slurm", True),
        ("src/models/resnet.py", False),
        ("tests/test_math.py", False),
        ("package-lock.json", False),
        ("pnpm-lock.yaml", False),
        (".github/workflows/ci.yml", False),
        (".pre-commit-config.yaml", False),
        ("README.md", False),
    ],
)
def test_the_path_filter(hook: str, path: str, looked_at: bool) -> None:
    """pre-commit searches both patterns in the path from the repository's root."""
    found = re.search(HOOKS[hook]["files"], path) and not re.search(HOOKS[hook]["exclude"], path)
    assert bool(found) is looked_at


@pytest.mark.parametrize(
    "path",
    [path for path in sorted((ROOT / "examples").rglob("*")) if path.suffix in (".sh", ".yml", ".yaml")],
    ids=lambda path: str(path.relative_to(ROOT / "examples")),
)
def test_every_config_of_the_examples_passes_the_filter(path: Path) -> None:
    assert re.search(HOOKS["vramlint"]["files"], str(path.relative_to(ROOT / "examples")))
