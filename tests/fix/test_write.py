"""Writing: atomic, only over what was read, all files of a repair or none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vramlint.errors import EditRefused
from vramlint.fix.loop import FileFix
from vramlint.fix.write import write_files


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "repo").mkdir()
    monkeypatch.chdir(tmp_path / "repo")


def write(path: str, data: bytes = b"old") -> FileFix:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data)
    return FileFix(path, data, data.replace(b"old", b"new"))


def left_over() -> list[str]:
    return [path.name for path in Path().rglob(".vramlint-*")]


def test_bytes_and_mode() -> None:
    file = write("a.sh", b"\xef\xbb\xbfold\r\n")
    os.chmod("a.sh", 0o750)
    write_files([file])
    assert Path("a.sh").read_bytes() == b"\xef\xbb\xbfnew\r\n"
    assert os.stat("a.sh").st_mode & 0o777 == 0o750
    assert left_over() == []


def test_a_file_that_changed_since_it_was_read_is_left_alone() -> None:
    file = write("a.yml")
    Path("a.yml").write_bytes(b"someone else's")
    with pytest.raises(EditRefused, match="changed"):
        write_files([file])
    assert Path("a.yml").read_bytes() == b"someone else's"


def test_a_file_that_changes_at_the_last_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [write("a.yml"), write("b.yml")]
    replace = os.replace

    def replace_and_meddle(source: str, target: str) -> None:
        replace(source, target)
        Path("b.yml").write_bytes(b"someone else's")

    monkeypatch.setattr(os, "replace", replace_and_meddle)
    with pytest.raises(EditRefused, match="changed"):
        write_files(files)
    assert Path("a.yml").read_bytes() == b"old", "the first file was put back"
    assert Path("b.yml").read_bytes() == b"someone else's"
    assert left_over() == []


def test_all_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [write("a.yml"), write("b.yml")]
    replace = os.replace

    def fail_at_b(source: str, target: str) -> None:
        if target.endswith("b.yml"):
            raise PermissionError(1, "Operation not permitted", target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_at_b)
    with pytest.raises(EditRefused, match="cannot be written"):
        write_files(files)
    assert [Path(name).read_bytes() for name in ("a.yml", "b.yml")] == [b"old", b"old"]
    assert left_over() == []


def test_nothing_is_replaced_before_every_file_is_ready() -> None:
    first, second = write("a.yml"), write("b.yml")
    Path("b.yml").write_bytes(b"changed")
    with pytest.raises(EditRefused):
        write_files([first, second])
    assert Path("a.yml").read_bytes() == b"old"


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    file = write("a.yml")
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(EditRefused, match="folder cannot be written"):
        write_files([file])
    assert Path("a.yml").read_bytes() == b"old"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_read_only_folder() -> None:
    file = write("locked/a.yml")
    os.chmod("locked", 0o555)
    try:
        with pytest.raises(EditRefused, match="folder cannot be written"):
            write_files([file])
    finally:
        os.chmod("locked", 0o755)


def test_a_write_protected_file(monkeypatch: pytest.MonkeyPatch) -> None:
    file = write("a.yml")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(EditRefused, match="write-protected"):
        write_files([file])


def test_a_file_that_is_gone() -> None:
    file = write("a.yml")
    os.unlink("a.yml")
    with pytest.raises(EditRefused, match="cannot be written"):
        write_files([file])
    assert not Path("a.yml").exists()


def test_no_write_through_a_symlink_that_leaves_the_project() -> None:
    outside = write("../outside/a.yml")
    os.symlink("../outside/a.yml", "link.yml")
    os.symlink("../outside", "folder")
    for path in ("link.yml", "folder/a.yml"):
        with pytest.raises(EditRefused, match="symlink leads out"):
            write_files([FileFix(path, outside.old, outside.new)])
    assert Path("../outside/a.yml").read_bytes() == b"old"


def test_a_symlink_inside_the_project_stays_a_symlink() -> None:
    real = write("configs/a.yml")
    os.symlink("configs/a.yml", "link.yml")
    write_files([FileFix("link.yml", real.old, real.new)])
    assert Path("link.yml").is_symlink()
    assert Path("configs/a.yml").read_bytes() == b"new"


def test_a_named_file_outside_the_current_folder() -> None:
    file = write("../outside/a.yml")
    write_files([file])
    assert Path("../outside/a.yml").read_bytes() == b"new"
