"""The diff is one that ``git apply`` turns into exactly the new bytes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vramlint.fix.diff import unified_diff
from vramlint.fix.loop import FileFix

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def test_what_it_looks_like() -> None:
    diff = unified_diff(FileFix("conf/a.yml", b"a: 1\nb: 4\nc: 1\n", b"a: 1\nb: 2\nc: 1\n"))
    assert diff == b"--- a/conf/a.yml\n+++ b/conf/a.yml\n@@ -1,3 +1,3 @@\n a: 1\n-b: 4\n+b: 2\n c: 1\n"


def test_a_missing_newline_at_the_end_is_said() -> None:
    diff = unified_diff(FileFix("a.yml", b"b: 4", b"b: 2"))
    assert diff.endswith(b"-b: 4\n\\ No newline at end of file\n+b: 2\n\\ No newline at end of file\n")


def test_no_change_no_diff() -> None:
    assert unified_diff(FileFix("a.yml", b"x\n", b"x\n")) == b""


def applied(folder: Path, old: bytes, new: bytes) -> bytes:
    (folder / "a.yml").write_bytes(old)
    diff = unified_diff(FileFix("a.yml", old, new))
    command = ["git", "-c", "core.autocrlf=false", "apply", "--whitespace=nowarn", "-"]
    subprocess.run(command, input=diff, cwd=folder, check=True)
    return (folder / "a.yml").read_bytes()


@needs_git
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"a: 1\r\nb: 4\r\n", b"a: 1\r\nb: 2\r\n"),
        (b"\xef\xbb\xbfa: 1\nb: 4\n", b"\xef\xbb\xbfa: 1\nb: 2\nx: 1\n"),
        (b"a: 1\nb: 4", b"a: 1\nb: 4\n"),
        (b"a: 1\nb: 4\n", b"a: 1\nb: 4"),
        (b"a\rb\rc: 4\n", b"a\rb\rc: 2\n"),
        (
            b"a\x0cb: \xe2\x80\xa8 4\n" * 20,
            b"a\x0cb: \xe2\x80\xa8 4\n" * 10 + b"new\n" + b"a\x0cb: \xe2\x80\xa8 4\n" * 10,
        ),
    ],
)
def test_git_applies_it(tmp_path: Path, old: bytes, new: bytes) -> None:
    assert applied(tmp_path, old, new) == new


LINES = st.lists(st.sampled_from(["a\n", "b\r\n", "c\r", "é\n", "\n", "d"]), min_size=1, max_size=8).map("".join)


@needs_git
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES, LINES)
def test_git_applies_any_change(tmp_path: Path, old: str, new: str) -> None:
    if old != new:
        assert applied(tmp_path, old.encode(), new.encode()) == new.encode()


def test_a_file_whose_name_is_no_text() -> None:
    import os

    diff = unified_diff(FileFix(os.fsdecode(b"caf\xe9.yml"), b"b: 4\n", b"b: 2\n"))
    assert diff.startswith(b"--- a/caf\xe9.yml\n+++ b/caf\xe9.yml\n")
