"""Files and paths that are not what they should be: a clear error in a line or two, no traceback and no hang."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vramlint.cli.main import main
from vramlint.engine.check import _MOST_BYTES
from vramlint.project import discovery
from vramlint.sources.decode import MAX_FILE_BYTES

PROGRAM = Path(sys.executable).with_name("vramlint")
TEXT = """\
model_name_or_path: Qwen/Qwen2.5-0.5B  # klein
output_dir: out
per_device_train_batch_size: 4
num_train_epochs: 1
dataloader_num_workers: 0
dataloader_prefetch_factor: 2
"""
RULE = b"prefetch-without-workers"


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)


def vramlint(*arguments: str | bytes, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([PROGRAM, *arguments], input=stdin, capture_output=True, timeout=300)


READ = {
    "mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "crlf": TEXT.replace("\n", "\r\n").encode(),
    "cr": TEXT.replace("\n", "\r").encode(),
    "no newline at the end": TEXT.rstrip("\n").encode(),
    "accents": TEXT.replace("klein", "größer – 大").encode(),
}
UNREADABLE = {
    "utf-16": (TEXT.encode("utf-16"), "a.yml:1:1: could not check: the file is UTF-16"),
    "utf-16 without mark": (TEXT.encode("utf-16-le"), "a.yml: could not check: the file is UTF-16 or UTF-32"),
    "latin-1": (TEXT.replace("klein", "größer").encode("latin-1"), "a.yml:1:44: could not check: byte 0xf6"),
    "nul": (TEXT.encode() + b"\0", "a.yml:7:1: could not check: the file holds a NUL byte"),
    "broken": (TEXT.encode() + b"x: [1,\n", "a.yml:8:1: could not check:"),
    "deep": (TEXT.encode() + b"x: " + b"[" * 5000 + b"]" * 5000, "a.yml:7:1003: could not check: nested more than"),
    "huge": (
        TEXT.encode() + b"x: " + b"a" * MAX_FILE_BYTES,
        "a.yml: could not check: the file has more than the limit",
    ),
}


@pytest.mark.parametrize("data", READ.values(), ids=READ.keys())
def test_what_is_read(data: bytes) -> None:
    Path("a.yml").write_bytes(data)
    done = vramlint("a.yml")
    assert (done.returncode, done.stderr) == (1, b"")
    assert RULE in done.stdout


@pytest.mark.parametrize(("data", "message"), UNREADABLE.values(), ids=UNREADABLE.keys())
@pytest.mark.parametrize("command", ["check", "plan", "estimate"])
def test_what_cannot_be_read_says_where_and_what_to_do(data: bytes, message: str, command: str) -> None:
    Path("a.yml").write_bytes(data)
    done = vramlint(command, "a.yml")
    assert done.returncode == 2
    told = done.stderr.decode()
    assert told.startswith(message)
    assert "\n  help: " in told
    assert "Traceback" not in told
    assert len(told.splitlines()) == 2


@pytest.mark.parametrize("data", [row[0] for row in UNREADABLE.values()], ids=UNREADABLE.keys())
def test_one_bad_file_does_not_stop_the_others_and_is_never_written(data: bytes) -> None:
    Path("a.yml").write_bytes(data)
    Path("b.yml").write_bytes(READ["crlf"])
    done = vramlint("--fix", "a.yml", "b.yml")
    assert done.returncode == 2
    assert Path("a.yml").read_bytes() == data
    assert b"prefetch_factor" not in Path("b.yml").read_bytes()


def test_data_sets_in_the_repository_are_not_read_to_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _MOST_BYTES == MAX_FILE_BYTES + 1
    with Path("data.json").open("wb") as file:
        file.write(b'{"rows": [\n')
        file.truncate(50 * 2**30)  # sparse: 50 GiB that nobody has the memory for
    Path("a.yml").write_text(TEXT)
    assert RULE in vramlint(".").stdout
    assert vramlint("data.json").returncode == 0, "data that a hook names is no config, and no failure"


@pytest.mark.parametrize(
    ("make", "message", "help"),
    [
        (lambda: None, "a.yml: no such file or folder", ""),
        (lambda: os.symlink("gone.yml", "a.yml"), "a.yml: a symlink that leads nowhere", "It names 'gone.yml'."),
        (lambda: os.mkfifo("a.yml"), "a.yml: neither a file nor a folder", "--stdin-filename"),
    ],
)
def test_paths_that_are_no_files(make, message: str, help: str) -> None:
    make()
    done = vramlint("a.yml")
    assert done.returncode == 2
    told = done.stderr.decode()
    assert told.startswith(f"vramlint: {message}\n")
    assert help in told


def test_a_folder_without_permission_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("locked").mkdir()

    def refuse(path: str) -> object:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(discovery.os, "scandir", refuse)
    assert main(["locked"]) == 2
    assert capsys.readouterr().err == "vramlint: locked: the folder cannot be read: Permission denied\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_told() -> None:
    Path("a.yml").write_text(TEXT)
    Path("a.yml").chmod(0)
    done = vramlint("a.yml")
    assert done.returncode == 2
    assert done.stderr == b"a.yml: could not check: cannot be read: Permission denied\n"


def test_a_walk_leaves_neither_by_symlink_nor_in_a_circle(tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "a.yml").write_text(TEXT)
    os.symlink(outside, "out")
    os.symlink(".", "circle")
    os.symlink(outside / "a.yml", "linked.yml")
    done = vramlint(".")
    assert (done.returncode, done.stdout) == (0, b"no file to check\n")


def test_no_fix_goes_through_a_symlink_that_leaves(tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "a.yml"
    outside.write_text(TEXT)
    os.symlink(outside, "linked.yml")
    for option in ("--fix", "--add-ignore"):
        done = vramlint(option, "linked.yml")
        assert done.returncode == 2
        assert b"linked.yml: a symlink leads out of the project\n  help: Fix the file where it lies." in done.stderr
    assert outside.read_text() == TEXT


@pytest.mark.parametrize(
    "output_format", ["full", "concise", "json", "jsonl", "sarif", "github", "gitlab", "junit", "html"]
)
def test_a_name_that_is_no_text_and_one_of_two_lines(output_format: str) -> None:
    for name in (b"caf\xe9.yml", b"two\nlines.yml"):
        Path(os.fsdecode(name)).write_text(TEXT)
        done = vramlint("--output-format", output_format, name)
        assert done.returncode == 1, done.stderr
        assert RULE in done.stdout
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        (b'\xef\xbb\xbfgpu = "t4"\r\n', 1, ""),
        ('gpu = "t4"\n'.encode("utf-16"), 2, "vramlint.toml: not UTF-8\n  help: Save it as UTF-8.\n"),
        (b"gpus = two\n", 2, "vramlint.toml:1:8: not valid TOML"),
        (b"\n\ngpuss = 2\n", 2, "vramlint.toml:3: unknown setting 'gpuss'\n  help: Did you mean 'gpus'?\n"),
        (b'gpu = "t99"\n', 2, "vramlint.toml: unknown GPU 't99'"),
    ],
)
def test_settings_that_are_wrong_say_where(data: bytes, code: int, message: str) -> None:
    Path("a.yml").write_text(TEXT)
    Path("vramlint.toml").write_bytes(data)
    done = vramlint("a.yml")
    assert done.returncode == code
    assert done.stderr.decode().removeprefix("vramlint: ").startswith(message)


@pytest.mark.parametrize("name", ["config", "config.txt"])
def test_standard_input_that_nothing_tells_how_to_read(name: str) -> None:
    done = vramlint("-", "--stdin-filename", name, stdin=TEXT.encode())
    assert done.returncode == 2
    assert f"nothing tells how to read '{name}'" in done.stderr.decode()


def test_a_file_that_goes_away_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yml").write_text(TEXT)
    found = discovery.discover

    def and_gone(*arguments: object, **options: object) -> object:
        candidates = found(*arguments, **options)
        Path("a.yml").unlink()
        return candidates

    monkeypatch.setattr(sys.modules["vramlint.engine.check"], "discover", and_gone)  # the package exports check()
    assert main(["a.yml"]) == 2
    assert capsys.readouterr().err == "a.yml: could not check: cannot be read: No such file or directory\n"
