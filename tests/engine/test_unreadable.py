"""Broken files: one that is named is always told, one that a walk meets where it is a training config."""

from __future__ import annotations

from pathlib import Path

import pytest

from vramlint.cli.main import main
from vramlint.engine import check

SFT = (
    "model_name_or_path: meta-llama/Llama-3.1-8B\noutput_dir: out\nper_device_train_batch_size: 4\n"
    "gradient_accumulation_steps: 2\nnum_train_epochs: 3\nlearning_rate: 1.0e-4\n"
)
DEEPSPEED = (
    '{\n  "train_micro_batch_size_per_gpu": 4,\n  "zero_optimization": {"stage": 2},\n'
    '  "fp16": {"enabled": true},,\n}\n'
)
SCRIPT = "torchrun --nproc_per_node 2 train.py --batch-size 8 --epochs 3 --lr 0.1\necho 'never closed\n"

BROKEN = {
    "flow.yaml": (SFT + "list: [1\n").encode(),
    "tab.yaml": (SFT + "a:\n\tb: 1\n").encode(),
    "wide.yaml": SFT.encode("utf-16"),
    "wide_be.yaml": b"\xfe\xff" + SFT.encode("utf-16-be"),
    "nul.yaml": SFT.encode() + b"\0",
    "latin.yaml": SFT.encode() + "# caf\xe9\n".encode("latin-1"),
    "bom_latin.yaml": b"\xef\xbb\xbf" + SFT.encode() + b"# \xff\n",
    "ds.json": DEEPSPEED.encode(),
    "train.sh": SCRIPT.encode(),
}
OTHERS = {
    "services.yaml": b"services:\n  batch: [1\n",
    "wide_services.yaml": "services: batch\n".encode("utf-16"),
    "template.yaml": (SFT + "{% if x %}\n").encode(),
    "huge.yaml": SFT.encode() + b"x: [" + b"1," * 200_000 + b"1]\n",
    "package.json": b'{"name": "batch", "scripts": {,}}',
    "deep.json": b'{"batch": ' + b"[" * 5000,
    "build.sh": b"python setup.py --batch 'x\n",
    "old.py": b"print 'batch'\nbatch_size = 3\n",
}


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_training_config_is_told_wherever_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(name).write_bytes(BROKEN[name])
    for arguments in ([name], ["."]):
        assert main(["check", *arguments]) == 2
        told = capsys.readouterr().err
        assert f"{name}:" in told
        assert "help: " in told


@pytest.mark.parametrize("name", OTHERS)
def test_a_walk_is_silent_about_broken_files_of_other_kinds(name: str) -> None:
    Path(name).write_bytes(OTHERS[name])
    assert check(["."]).failures == ()
    assert main(["check", "."]) == 0


@pytest.mark.parametrize("name", ["wide_services.yaml"])
def test_a_named_file_that_cannot_be_searched_is_told(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(name).write_bytes(OTHERS[name])
    assert main(["check", name]) == 2
    assert "Save it as UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in BROKEN if name != "train.sh"])
@pytest.mark.parametrize("option", ["--fix", "--unsafe-fixes"])
def test_no_fix_touches_a_broken_file(name: str, option: str) -> None:
    Path(name).write_bytes(BROKEN[name])
    assert main(["check", "--fix", option, "--gpu", "rtx3090", name]) == 2
    assert Path(name).read_bytes() == BROKEN[name]


@pytest.mark.parametrize("ending", [b"\r\n", b"\r", b"\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_fix_keeps_line_ends_and_the_mark(ending: bytes, mark: bytes) -> None:
    text = SFT + "dataloader_prefetch_factor: 4\ndataloader_num_workers: 0  # é\n"
    old = mark + text.encode().replace(b"\n", ending)
    Path("sft.yaml").write_bytes(old)
    main(["check", "--fix", "--unsafe-fixes", "sft.yaml"])
    new = Path("sft.yaml").read_bytes()
    assert new != old, "there is something to fix"
    assert new.startswith(mark)
    assert new.count(b"\xef\xbb\xbf") == old.count(b"\xef\xbb\xbf")
    lines, old_lines = new.split(ending), old.split(ending)
    assert b"\r" not in b"".join(lines)
    assert b"\n" not in b"".join(lines)
    assert sum(line not in old_lines for line in lines) <= 2
