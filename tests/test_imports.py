"""Start-up: what ``vramlint check`` may never import, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

NEVER = (
    "torch",
    "transformers",
    "ruamel",
    "rich",
    "libcst",
    "numpy",
    "pydantic",
    "pydantic_core",
    "importlib.metadata",
)
"""Of pydantic a check needs the engine, ``pydantic_core``, and only for a value that is not plainly of its type; the
library around it takes longer than all of a check."""
ONLY_FOR_CONFIGS = ("yaml", "dataclasses")
NOT_TO_A_PIPE = ("difflib", "hashlib", "tomllib", "traceback", "zipfile", "socket", "email")
"""Modules for errors, terminals and settings files: a check of one config to a pipe has no use for them."""
MOST_MODULES = {"plain.yml": 135, "config.yml": 400}
"""Modules a check may import, the interpreter's own included: 123 and 363 when this was last looked at."""

NO_CONFIG = "name: hello\nitems:\n  - one\n  - two\n"
CONFIG = """\
# vramlint: gpu=t4
model: {name: unet}
trainer: {epochs: 3, lr: 1.0e-4, optimizer: adamw}
dataset:
  root: /data
  image_size: 1024
  batch_size: 4
  num_workers: 4
"""
SCRIPT = "torchrun --nproc_per_node=2 train.py --model hrnet --image_size 512 --batch_size 3 --num_workers 4\n"
MMENGINE = """\
model = dict(type='FCN')
train_dataloader = dict(batch_size=2, num_workers=2)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12)
"""
CLASS = "class Config:\n    batch_size: int = 96\n    queue_size: int = 65536\n    backbone: str = 'resnet50'\n"

PROBE = """\
import json, sys
from vramlint.cli.main import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def imported(folder: Path, name: str, text: str, *arguments: str) -> tuple[int, set[str]]:
    """Exit code and the names of all modules imported by one check."""
    (folder / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments, name], cwd=folder, capture_output=True, text=True, check=False
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code != 2, done.stderr
    return code, set(modules)


@pytest.mark.parametrize("output_format", ["full", "concise", "json", "github", "sarif", "junit", "html"])
@pytest.mark.parametrize(
    ("name", "text"),
    [("plain.yml", NO_CONFIG), ("config.yml", CONFIG), ("train.sh", SCRIPT), ("config.py", CLASS)],
)
def test_a_check_imports_nothing_heavy(tmp_path: Path, name: str, text: str, output_format: str) -> None:
    _, modules = imported(tmp_path, name, text, "--output-format", output_format)
    assert modules.isdisjoint(NEVER)


@pytest.mark.parametrize("options", [(), ("--gpu", "t4")])
def test_parsers_and_schemas_wait_for_a_config(tmp_path: Path, options: tuple[str, ...]) -> None:
    _, modules = imported(tmp_path, "plain.yml", NO_CONFIG, *options)
    assert modules.isdisjoint(ONLY_FOR_CONFIGS)


def test_rows_of_a_framework_need_no_yaml(tmp_path: Path) -> None:
    _, modules = imported(tmp_path, "config.py", MMENGINE, "--gpu", "t4")
    assert "vramlint.constraints.files" in modules, "the rows were not read at all"
    assert "yaml" not in modules


@pytest.mark.parametrize(("name", "text"), [("plain.yml", NO_CONFIG), ("config.yml", CONFIG)])
def test_a_check_imports_few_modules(tmp_path: Path, name: str, text: str) -> None:
    _, modules = imported(tmp_path, name, text)
    assert modules.isdisjoint(NOT_TO_A_PIPE)
    assert len(modules) <= MOST_MODULES[name]


FINE_TUNING = """\
# vramlint: gpu=t4
model_name_or_path: Qwen/Qwen2.5-0.5B-Instruct
output_dir: out
max_seq_length: 2048
per_device_train_batch_size: 16
learning_rate: 2.0e-5
bf16: true
"""


@pytest.mark.parametrize("command", ["estimate", "plan"])
def test_an_estimate_imports_no_rule(tmp_path: Path, command: str) -> None:
    folder, name = tmp_path, "sft.yaml"
    (folder / name).write_text(FINE_TUNING)
    done = subprocess.run(
        [sys.executable, "-c", PROBE, command, name], cwd=folder, capture_output=True, text=True, check=True
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert (code, "Qwen" in done.stdout) == (0, True)
    assert not [module for module in modules if module.startswith("vramlint_rules")]


def test_a_decoder_by_name_needs_no_ledger_of_layers(tmp_path: Path) -> None:
    code, modules = imported(tmp_path, "sft.yaml", FINE_TUNING)
    assert code == 1
    assert not [module for module in modules if module.startswith("vramlint.memory.layers")]


def test_a_config_is_really_checked_by_these_tests(tmp_path: Path) -> None:
    """Without this, the ban would hold for a check that never gets to any rule."""
    code, modules = imported(tmp_path, "config.py", CLASS, "--gpu", "rtx3070-8gb", "--gpus", "1")
    assert code == 1
    assert {"vramlint_rules", "vramlint.dialects.schema"} <= modules


def test_pydantics_engine_is_for_values_that_are_not_plainly_of_their_type(tmp_path: Path) -> None:
    _, modules = imported(tmp_path, "config.py", CLASS.replace("= 96", "= 96.0"))
    assert "pydantic_core" in modules
    assert "pydantic" not in modules


def test_the_entry_imports_click_and_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import vramlint.cli.main; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - set(sys.stdlib_module_names) <= {"click", "vramlint", "typing_extensions"}
