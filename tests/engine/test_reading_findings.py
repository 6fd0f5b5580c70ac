"""VL0: what the engine sees in how a file is written: keys twice, misspelled keys, wide characters."""

from __future__ import annotations

from pathlib import Path

import pytest

from vramlint.dialects import known_keys
from vramlint.engine import CheckOptions, check, check_source
from vramlint.findings import Finding

HF = "output_dir: out\nnum_train_epochs: 1\nper_device_train_batch_size: 4\nlearning_rate: 2.0e-5\n"
TUNE = """\
batch_size: 2
epochs: 1
model:
  _component_: torchtune.models.a
optimizer:
  _component_: torch.optim.AdamW
"""
DEEPSPEED = '{"train_micro_batch_size_per_gpu": 4,\n "zero_optimization": {"stage": 2, "stage": 3}}\n'
ACCELERATE = "compute_environment: LOCAL_MACHINE\ndistributed_type: FSDP\nnum_processes: 8\n"


@pytest.fixture(autouse=True)
def _empty_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)


def findings(path: str, text: str) -> tuple[Finding, ...]:
    result = check_source(path, text.encode(), CheckOptions(select=("VL0",), isolated=True))
    assert not result.failures
    assert result.runs
    return result.findings


@pytest.mark.parametrize(
    ("path", "text", "severity", "line", "message"),
    [
        ("sft.yaml", HF + "learning_rate: 1.0e-5\n", "warning", 5, "lines 4 and 5: only the last counts"),
        ("sft.yaml", HF.replace("\n", "\r\n") + "bf16: true\r\n" * 2, "warning", 6, "lines 5 and 6"),
        ("tune.yaml", TUNE + "batch_size: 4\n", "error", 7, "lines 1 and 7: the loader refuses the file"),
        ("ds.json", DEEPSPEED, "error", 2, "stage stands twice, on lines 2 and 2: the loader refuses the file"),
    ],
)
def test_a_key_that_stands_twice(path: str, text: str, severity: str, line: int, message: str) -> None:
    (found,) = findings(path, text)
    assert (found.code, found.name, str(found.severity)) == ("VL002", "duplicate-key", severity)
    assert found.location.line == line
    assert message in found.message


def test_the_same_key_in_two_mappings_is_no_duplicate() -> None:
    assert findings("tune.yaml", TUNE) == ()


@pytest.mark.parametrize(
    ("path", "text", "severity", "suggestion"),
    [
        ("sft.yaml", HF + "gradient_accumulaton_steps: 8\n", "warning", "gradient_accumulation_steps"),
        ("accelerate.yaml", ACCELERATE + "mixed_precison: bf16\n", "error", "mixed_precision"),
    ],
)
def test_a_misspelled_key(path: str, text: str, severity: str, suggestion: str) -> None:
    (found,) = findings(path, text)
    assert (found.code, str(found.severity)) == ("VL003", severity)
    assert found.help == f"Did you mean {suggestion}?"
    assert text[found.location.start : found.location.end] == text.splitlines()[-1].partition(":")[0]


@pytest.mark.parametrize(
    "extra",
    [
        "dataset_name: acme/data\n",  # the program's own
        "evaluation_strategy: steps\n",  # a name of 4.x
        "save_step: 4\nsave_steps: 8\n",  # the right one is there as well
        "bf17: true\n",  # too short to tell
    ],
)
def test_other_keys_are_the_programs_own(extra: str) -> None:
    assert findings("sft.yaml", HF + extra) == ()


def test_every_list_of_keys_is_sorted_and_complete() -> None:
    for dialect in known_keys.DIALECTS:
        settings, others = known_keys.load(dialect)
        assert list(settings) == sorted(settings)
        assert not set(settings) & set(others)
        assert len(settings) > 40


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_named_file_of_wide_characters_is_a_failure(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "sft.yaml").write_bytes(HF.encode(encoding))
    (failure,) = check(["sft.yaml"]).failures
    assert "UTF-8" in failure.message
    assert failure.help == "Save it as UTF-8."


def test_other_binaries_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"\xff\xfe\0\0data")
    assert check(["weights.bin"]).failures == ()


def test_one_contradiction_is_told_once() -> None:
    """DeepSpeed's own assertion (VL705) and the two files that disagree (VL004) are the same error."""
    batches = '"train_micro_batch_size_per_gpu": 8, "gradient_accumulation_steps": 4, "zero_optimization": {"stage": 2}'
    Path("ds.json").write_text(f'{{"train_batch_size": 256, {batches}}}\n', encoding="utf-8")
    Path("run.sh").write_text("torchrun --nproc_per_node=4 train.py --deepspeed ds.json\n", encoding="utf-8")
    found = check(["ds.json"], CheckOptions(isolated=True)).findings
    assert [finding.code for finding in found if finding.location.line == 1] == ["VL004"]
    alone = check(["ds.json"], CheckOptions(isolated=True, gpus=4, ignore=("VL004",))).findings
    assert "VL705" in [finding.code for finding in alone]
