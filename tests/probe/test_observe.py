"""``vramlint observe``: by hand, from logs, around a command; kept, used and never in the command's way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vramlint.cli.main import main
from vramlint.probe.nvml import Watch
from vramlint.probe.watched import run

CONFIG = """\
# vramlint: gpu=rtx4060ti-16gb gpus=1
model:
  name: r2unet
trainer:
  epochs: 120
  lr: 1.0e-4
  optimizer: adamw
dataset:
  image_size: 512
  batch_size: 2
  num_workers: 4
"""
FILE = Path(".vramlint/observations.jsonl")


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "config.yml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kept() -> list[dict[str, object]]:
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()] if FILE.exists() else []


def device_gib(capsys: pytest.CaptureFixture[str]) -> float:
    capsys.readouterr()
    assert main(["estimate", "config.yml", "--output-format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["estimates"]
    value: int = row["device_bytes"]["value"]
    return value / 2**30


def test_a_peak_typed_in_corrects_the_estimate_from_then_on(capsys: pytest.CaptureFixture[str]) -> None:
    before = device_gib(capsys)
    measured = round(before * 1.2, 2)
    assert main(["observe", "--peak", f"{measured}GiB", "config.yml"]) == 0
    assert "kept in" in capsys.readouterr().err
    (line,) = kept()
    assert (line["micro_batch"], line["meter"], line["bytes"]) == (2, "device", round(measured * 2**30))
    assert device_gib(capsys) == pytest.approx(measured, rel=0.01)


def test_a_log_is_kept_for_the_run_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("train.log").write_text("iter 1 max_mem: 6231M\niter 2 max_mem: 6240M\n", encoding="utf-8")
    assert main(["observe", "train.log"]) == 0
    out, err = capsys.readouterr()
    assert "6.09 GiB allocated" in out
    assert "--run" in err
    assert not kept()
    assert main(["observe", "train.log", "--run", "config.yml", "--gpu", "rtx3060-12gb"]) == 0
    (line,) = kept()
    assert (line["bytes"], line["meter"], line["gpu"]) == (6240 * 2**20, "allocated", "rtx3060-12gb")
    assert line["source"] == "detectron2, train.log"


def test_a_dry_run_keeps_nothing() -> None:
    assert main(["observe", "--dry-run", "--peak", "7.4GiB", "config.yml"]) == 0
    assert not kept()


@pytest.mark.parametrize(
    "arguments",
    [
        ["observe"],
        ["observe", "--peak", "lots", "config.yml"],
        ["observe", "--peak", "7.4GiB"],
        ["observe", "--peak", "7.4GiB", "missing.yml"],
        ["observe", "missing.log"],
        ["observe", "config.yml"],
        ["observe", "--peak", "7.4GiB", "--", "true"],
    ],
)
def test_what_makes_no_sense_is_said_and_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err
    assert not kept()


def observe(*words: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "vramlint", "observe", "--run", "config.yml", "--", *words]
    return subprocess.run(command, capture_output=True, timeout=60, **options)  # type: ignore[call-overload, no-any-return]


def test_a_command_keeps_its_streams_and_status() -> None:
    code = (
        "import sys; sys.stdout.buffer.write(b'out\\xff\\r' + sys.stdin.buffer.read());"
        "print('max_mem: 6231M', file=sys.stderr); sys.exit(7)"
    )
    done = observe(sys.executable, "-c", code, input=b"in")
    assert done.returncode == 7
    assert done.stdout == b"out\xff\rin"
    assert done.stderr.startswith(b"max_mem: 6231M")
    (line,) = kept()
    assert line["bytes"] == 6231 * 2**20


def test_a_command_that_is_not_there_ends_as_in_a_shell() -> None:
    assert observe("no-such-command-9000").returncode == 127
    assert observe("./config.yml").returncode == 126


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_command(number: signal.Signals) -> None:
    code = (
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(41))\n"
        "print('ready', flush=True)\n"
        "time.sleep(30)"
    )
    command = [sys.executable, "-m", "vramlint", "observe", "--run", "config.yml", "--", sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(timeout=20) == 41


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_killed_command_ends_as_in_a_shell() -> None:
    assert observe("sh", "-c", "kill -9 $$").returncode == 128 + 9


class FakeDriver:
    """Two cards; the process under watch grows on the second, and somebody else's is large on the first."""

    def __init__(self) -> None:
        self.pid = 0
        self.asked = 0

    def cards(self) -> tuple[str, ...]:
        return ("RTX 3060", "A100")

    def used(self) -> tuple[dict[int, int], ...]:
        self.asked += 1
        return ({1: 9 * 2**30}, {self.pid: min(self.asked, 3) * 2**30})


def test_the_driver_is_sampled_for_the_commands_own_processes() -> None:
    driver = FakeDriver()
    driver.pid = os.getpid()
    watch = Watch(driver, os.getpid(), interval=0.01)
    watch.start()
    deadline = time.monotonic() + 5
    while driver.asked < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    watch.stop()
    assert (watch.peak_bytes, watch.card) == (3 * 2**30, "A100")


def test_a_command_without_driver_is_only_read(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    found = run([sys.executable, "-c", "print('max_mem: 100M')"])
    assert (found.status, found.device_bytes) == (0, 0)
    assert [peak.bytes for peak in found.peaks] == [100 * 2**20]
