"""Fixing through the engine: over files, over standard input, and what it leaves alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vramlint.engine import CheckOptions, check, fix, fix_source
from vramlint.errors import EditRefused
from vramlint.fix.write import write_files

Fake = Callable[..., None]


def write(path: str, text: str) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(text.encode())
    return path


def test_to_the_fixpoint_without_touching_the_disk(fake: Fake) -> None:
    fake()
    write("a.yml", "# top\r\nbatch: 32 # why\r\nlr: 1\r\n")
    write("fine.yml", "batch: 2\n")
    outcome = fix(["."])
    (file,) = outcome.files
    assert file.new == b"# top\r\nbatch: 4 # why\r\naccum: 8\r\nlr: 1\r\n"
    assert Path("a.yml").read_bytes() == file.old == b"# top\r\nbatch: 32 # why\r\nlr: 1\r\n"
    assert [each.title for each in outcome.applied] == ["set batch to 16", "set batch to 8", "set batch to 4"]
    assert [finding.code for finding in outcome.before.findings] == ["VL101"]
    assert outcome.result.findings == ()
    assert outcome.result.files_seen == outcome.before.files_seen == 2
    write_files(outcome.files)
    assert Path("a.yml").read_bytes() == file.new
    assert fix(["."]).files == ()


def test_standard_input(fake: Fake) -> None:
    fake()
    outcome = fix_source("sub/a.yml", b"batch: 8\n")
    assert [(file.path, file.new) for file in outcome.files] == [("sub/a.yml", b"batch: 4\naccum: 2\n")]
    assert not Path("sub").exists()


def test_suppressed_findings_are_not_fixed(fake: Fake) -> None:
    fake()
    write("a.yml", "batch: 32 # vramlint: ignore[batch-large] on purpose\n")
    assert fix(["."]).files == ()


def test_ignored_rules_do_not_fix(fake: Fake) -> None:
    fake()
    write("a.yml", "batch: 32\n")
    assert fix(["."], CheckOptions(ignore=("VL1",))).files == ()


def test_two_runs_of_one_file_are_fixed_together(fake: Fake) -> None:
    fake()
    write("a.yml", "- batch: 8\n- batch: 16\n")
    assert fix(["."]).files[0].new == b"- batch: 4\n  accum: 2\n- batch: 4\n  accum: 4\n"


def test_a_failure_of_the_first_pass_is_still_told(fake: Fake) -> None:
    fake()
    write("a.yml", "- {batch: 8, explode: 1}\n- {batch: 8}\n")
    outcome = fix(["a.yml"])
    assert outcome.files[0].new == b"- {batch: 8, explode: 1}\n- {batch: 4, accum: 2}\n"
    assert len(outcome.result.failures) == 1


def test_a_bom_survives(fake: Fake) -> None:
    fake()
    Path("a.yml").write_bytes(b"\xef\xbb\xbfbatch: 8\n")
    assert fix(["a.yml"]).files[0].new == b"\xef\xbb\xbfbatch: 4\naccum: 2\n"


def test_a_link_out_of_the_project_is_checked_and_not_written(fake: Fake) -> None:
    fake()
    write("../outside.yml", "batch: 8\n")
    os.symlink("../outside.yml", "link.yml")
    assert len(check(["link.yml"]).findings) == 1
    with pytest.raises(EditRefused, match="symlink"):
        write_files(fix(["link.yml"]).files)
    assert Path("../outside.yml").read_bytes() == b"batch: 8\n"


def test_project_b_with_the_real_rules() -> None:
    """The queue is repaired, the batch stays, and a second run changes nothing."""
    text = (
        "# vramlint: gpu=rtx3070-8gb gpus=2\nclass Config:\n    backbone: str = 'resnet50'\n    batch_size: int = 96\n"
        "    queue_size: int = 65_536  # keys\n    gradient_accumulation_steps: int = 4\n    use_amp: bool = True\n"
    )
    write("src/config.py", text)
    outcome = fix(["src/config.py"])
    assert outcome.files[0].new.decode() == text.replace("65_536", "76_800")
    write_files(outcome.files)
    assert fix(["src/config.py"]).files == ()
