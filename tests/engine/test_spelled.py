"""Settings by the names their files give them, in every syntax, and when they are not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from vramlint.engine import CheckOptions, check, check_source
from vramlint.engine.spelled import SpelledSettings
from vramlint.plan import Fact, Origin

HF = "output_dir: out\nnum_train_epochs: 1\nper_device_train_batch_size: 4\n"
CALL = "from transformers import TrainingArguments\nargs = TrainingArguments(output_dir='o', learning_rate=1e-4, {})\n"
LINE = "python train.py --output_dir o --per_device_train_batch_size 4 {}\n"
TUNE = "batch_size: 2\nmodel:\n  _component_: torchtune.models.a\noptimizer:\n  _component_: torch.optim.AdamW\n{}\n"
CLIP = "SOLVER:\n  IMS_PER_BATCH: 16\nMODEL:\n  META_ARCHITECTURE: A\n"


@pytest.fixture(autouse=True)
def _empty_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)


def setting(path: str, text: str, key: str) -> Fact[object]:
    (run,) = check_source(path, text.encode(), CheckOptions(isolated=True)).runs
    return SpelledSettings(run.reading).fact(key)


@pytest.mark.parametrize(
    ("path", "text", "key", "value", "origin"),
    [
        ("a.yaml", HF + "bf16: true\n", "bf16", True, Origin.FILE),
        ("a.yaml", HF + "deepspeed:\n", "deepspeed", None, Origin.FILE),
        ("a.yaml", HF, "bf16", None, Origin.DEFAULT),
        ("a.yaml", HF + "fsdp_config:\n  version: 2\n", "fsdp_config.version", 2, Origin.FILE),
        ("a.yaml", HF + "fsdp_config: ${fsdp}\n", "fsdp_config.version", None, Origin.UNKNOWN),
        ("a.yaml", HF + "bf16: ${precision}\n", "bf16", None, Origin.UNKNOWN),
        ("a.py", CALL.format("bf16=True"), "bf16", True, Origin.FILE),
        ("a.py", CALL.format("fp16=True"), "bf16", None, Origin.DEFAULT),
        ("a.py", CALL.format("bf16=half()"), "bf16", None, Origin.UNKNOWN),
        ("a.py", CALL.format("**more"), "bf16", None, Origin.UNKNOWN),
        ("a.sh", LINE.format("--bf16 True"), "bf16", True, Origin.LAUNCH),
        ("a.sh", LINE.format("--bf16"), "bf16", True, Origin.LAUNCH),
        ("a.sh", LINE.format("--bf16 $HALF"), "bf16", None, Origin.UNKNOWN),
        ("a.sh", LINE.format("--config more.yaml"), "bf16", None, Origin.UNKNOWN),
        ("a.sh", LINE.format("--fp16"), "bf16", None, Origin.DEFAULT),
        ("a.yaml", TUNE.format("optimizer_in_bwd: ???"), "optimizer_in_bwd", None, Origin.UNKNOWN),
        ("a.yaml", CLIP, "SOLVER.AMP.ENABLED", None, Origin.DEFAULT),
        ("a.yaml", "_BASE_: b.yaml\n" + CLIP, "SOLVER.AMP.ENABLED", None, Origin.UNKNOWN),
    ],
)
def test_a_setting_of_the_claimed_part(path: str, text: str, key: str, value: object, origin: Origin) -> None:
    found = setting(path, text, key)
    assert (found.value, found.origin) == (value, origin)


def test_the_launch_line_goes_first(tmp_path: Path) -> None:
    (tmp_path / "sft.yaml").write_text(HF + "bf16: true\n")
    (tmp_path / "run.sh").write_text("python train.py --config sft.yaml --bf16 false\n")
    (run,) = [run for run in check(["sft.yaml"]).runs if run.reading.document.path == "sft.yaml"]
    found = SpelledSettings(run.reading).fact("bf16")
    assert (found.value, found.origin) == (False, Origin.LAUNCH)
    assert found.location is not None
    assert found.location.path == "run.sh"


def test_launch_lines_that_differ_leave_it_open(tmp_path: Path) -> None:
    (tmp_path / "sft.yaml").write_text(HF + "bf16: true\n")
    (tmp_path / "run.sh").write_text("python a.py --config sft.yaml --bf16 false\npython b.py --config sft.yaml\n")
    (run,) = [run for run in check(["sft.yaml"]).runs if run.reading.document.path == "sft.yaml"]
    assert SpelledSettings(run.reading).fact("bf16").origin is Origin.UNKNOWN
