"""``vramlint check`` end to end: real files, real processes, bytes in and bytes out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vramlint.cli.formats import FORMATS

PROGRAM = Path(sys.executable).with_name("vramlint")
FIXED = b"""\
model_name_or_path: Qwen/Qwen2.5-0.5B  # klein, aber fein: \xc3\xa4\xc3\xb6\xc3\xbc
output_dir: out
per_device_train_batch_size: 4
gradient_accumulation_steps: 2
num_train_epochs: 1
learning_rate: 2.0e-5
dataloader_num_workers: 0
save_strategy: epoch
"""
BROKEN = FIXED.replace(b"save_strategy", b"dataloader_prefetch_factor: 2\nsave_strategy")
RULE = "prefetch-without-workers"


def vramlint(
    folder: Path, *arguments: str, stdin: bytes | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([PROGRAM, *arguments], cwd=folder, input=stdin, capture_output=True, env=env)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "sft.yaml").write_bytes(BROKEN)
    (tmp_path / "plain.yml").write_text("name: hello\n")
    return tmp_path


def test_a_finding_is_exit_code_1_with_its_place(folder: Path) -> None:
    done = vramlint(folder, "sft.yaml")
    assert done.returncode == 1
    assert b"sft.yaml:8:29: error[VL301] prefetch-without-workers" in done.stdout
    assert done.stdout.endswith(b"1 error in 1 file \xc2\xb7 1 fix with --fix\n")
    assert done.stderr == b""


def test_a_folder_is_walked_and_other_files_stay_silent(folder: Path) -> None:
    done = vramlint(folder, ".")
    assert done.returncode == 1
    assert b"plain.yml" not in done.stdout
    assert b"1 of 2 files" in done.stdout


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_file_that_is_no_config_is_clean_in_every_format(folder: Path, output_format: str) -> None:
    done = vramlint(folder, "--output-format", output_format, "plain.yml")
    assert done.returncode == 0
    if output_format in ("json", "sarif", "jsonl", "gitlab"):
        json.loads(done.stdout)
    elif output_format in ("junit", "markdown", "html"):
        assert b"vramlint" in done.stdout
        assert done.stderr == b""
    else:
        assert len((done.stdout + done.stderr).splitlines()) <= 1


@pytest.mark.parametrize("output_format", FORMATS)
def test_every_format_tells_the_finding_on_clean_standard_output(folder: Path, output_format: str) -> None:
    done = vramlint(folder, "--output-format", output_format, "sft.yaml")
    assert done.returncode == 1
    assert RULE.encode() in done.stdout
    again = vramlint(folder, "--output-format", output_format, "sft.yaml")
    assert again.stdout == done.stdout
    if output_format != "concise":
        assert done.stderr == b""


def test_a_report_goes_to_a_file_and_the_closing_line_to_standard_error(folder: Path) -> None:
    done = vramlint(folder, "--output-format", "json", "--output-file", "report.json", "sft.yaml")
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.startswith(b"1 error in 1 file")
    assert json.loads((folder / "report.json").read_bytes())["summary"]["errors"] == 1


def test_a_report_that_cannot_be_written_says_so(folder: Path) -> None:
    done = vramlint(folder, "--output-format", "html", "--output-file", "no/such/folder.html", "sft.yaml")
    assert done.returncode == 2
    assert b"no/such/folder.html: cannot be written" in done.stderr


def test_fix_changes_the_file_and_nothing_else(folder: Path) -> None:
    done = vramlint(folder, "--fix", "sft.yaml")
    assert done.returncode == 0, done.stdout
    assert (folder / "sft.yaml").read_bytes() == FIXED
    assert b"fixed   sft.yaml: " in done.stdout
    again = vramlint(folder, "--fix", "sft.yaml")
    assert again.returncode == 0
    assert b"fixed" not in again.stdout
    assert (folder / "sft.yaml").read_bytes() == FIXED


@pytest.mark.parametrize("flags", [["--diff"], ["--fix", "--diff"]])
def test_diff_writes_nothing_and_applies_with_git(folder: Path, flags: list[str]) -> None:
    done = vramlint(folder, *flags, "sft.yaml")
    assert done.returncode == 1
    assert (folder / "sft.yaml").read_bytes() == BROKEN
    assert b"-dataloader_prefetch_factor: 2" in done.stdout
    assert b"with --fix" in done.stderr
    subprocess.run(["git", "apply"], cwd=_repository(folder), input=done.stdout, check=True)
    assert (folder / "sft.yaml").read_bytes() == FIXED


def _repository(folder: Path) -> Path:
    (folder / ".git").rmdir()
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


def test_unsafe_fixes_are_not_made_unasked(folder: Path) -> None:
    line = b"python yolo3d.py train --model s --imgsz 640 --batch 24 --nbs 64 --epochs 100\n"
    (folder / "yolo3d.py").write_text("from ultralytics import YOLO\n")
    (folder / "train.sh").write_bytes(line)
    vramlint(folder, "--fix", "train.sh")
    assert (folder / "train.sh").read_bytes() == line
    vramlint(folder, "--fix", "--unsafe-fixes", "train.sh")
    assert (folder / "train.sh").read_bytes() == line.replace(b"24", b"32")


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_standard_input_is_fixed_to_standard_output(folder: Path, ending: bytes) -> None:
    given, wanted = (text.replace(b"\n", ending) for text in (BROKEN, FIXED))
    done = vramlint(folder, "--fix", "-", "--stdin-filename", "sft.yaml", stdin=given)
    assert done.stdout == wanted
    assert done.returncode == 0


def test_standard_input_that_needs_no_fix_comes_back_as_it_was(folder: Path) -> None:
    text = b"\xef\xbb\xbfname: hello\r\n# no newline at the end"
    done = vramlint(folder, "--fix", "-", "--stdin-filename", "plain.yml", stdin=text)
    assert (done.returncode, done.stdout) == (0, text)


def test_standard_input_is_checked_under_its_name(folder: Path) -> None:
    done = vramlint(folder, "-", "--stdin-filename", "new/sft.yaml", "--output-format", "concise", stdin=BROKEN)
    assert done.returncode == 1
    assert done.stdout.startswith(b"new/sft.yaml:8:29: error[VL301]")


def test_json_after_a_fix_tells_what_was_done(folder: Path) -> None:
    data = json.loads(vramlint(folder, "--fix", "--output-format", "json", "sft.yaml").stdout)
    assert [(done["path"], done["name"], done["safety"]) for done in data["applied"]] == [("sft.yaml", RULE, "safe")]
    assert data["findings"] == []


def test_select_and_ignore(folder: Path) -> None:
    assert vramlint(folder, "--select", "VL3", "sft.yaml").returncode == 1
    assert vramlint(folder, "--select", RULE, "sft.yaml").returncode == 1
    assert vramlint(folder, "--select", "VL1", "sft.yaml").returncode == 0
    assert vramlint(folder, "--ignore", RULE, "sft.yaml").returncode == 0
    assert vramlint(folder, "--select", "no-such-rule", "sft.yaml").returncode == 2


def test_statistics(folder: Path) -> None:
    done = vramlint(folder, "--statistics", ".")
    assert done.stdout.decode().splitlines()[0].split() == ["1", "error", "VL301", RULE, "[safe", "fix]"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.yml"], b"gone.yml"),
        (["--gpu", "rtx9999", "sft.yaml"], b"rtx9999"),
        (["--config", "gone.toml", "sft.yaml"], b"gone.toml"),
    ],
)
def test_what_cannot_be_checked_is_2_and_stdout_stays_empty(folder: Path, arguments: list[str], message: bytes) -> None:
    done = vramlint(folder, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == b""


def test_an_unreadable_file_is_2_and_the_others_are_still_checked(folder: Path) -> None:
    (folder / "bad.yml").write_bytes(b"batch_size: \xff\xfe\n")
    done = vramlint(folder, "bad.yml", "sft.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith(b"bad.yml:1:")
    assert b"could not check" in done.stderr
    assert RULE.encode() in done.stdout


def test_a_card_named_in_the_file_outranks_the_option_and_that_is_said(folder: Path) -> None:
    (folder / "sft.yaml").write_bytes(b"# vramlint: gpu=rtx4090\n" + FIXED)
    done = vramlint(folder, "--gpu", "t4", "sft.yaml")
    assert b"outranks --gpu t4" in done.stderr


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colours(folder: Path, variables: dict[str, str], coloured: bool) -> None:
    done = vramlint(folder, "sft.yaml", env={"PATH": "", **variables})
    assert (b"\x1b[" in done.stdout) is coloured


def test_an_ascii_terminal_gets_marks_instead_of_a_crash(folder: Path) -> None:
    done = vramlint(folder, "sft.yaml", env={"PATH": "", "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1
    assert done.stdout.isascii()


def test_a_path_that_is_no_text_is_reported_all_the_same(folder: Path) -> None:
    name = b"caf\xe9.yaml"
    (folder / "sft.yaml").rename(folder / name.decode("utf-8", "surrogateescape"))
    for output_format in ("full", "concise", "json", "github", "sarif"):
        done = vramlint(folder, ".", "--output-format", output_format)
        assert done.returncode == 1, done.stderr
