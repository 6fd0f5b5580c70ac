"""``vramlint exec``: what is refused, what runs, and that what runs is as if nobody stood before it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("vramlint")
GOOD = """\
model_name_or_path: Qwen/Qwen2.5-0.5B
output_dir: out
per_device_train_batch_size: 4
gradient_accumulation_steps: 2
num_train_epochs: 1
learning_rate: 2.0e-5
save_strategy: epoch
"""
BROKEN = GOOD + "dataloader_num_workers: 0\ndataloader_prefetch_factor: 2\n"
TRAIN = "import sys; print('trained', *sys.argv[1:]); sys.exit(7)\n"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "broken.yaml").write_text(BROKEN)
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    def call(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([PROGRAM, "exec", *arguments], cwd=folder, capture_output=True, text=True, **options)

    return call


def fake(folder: Path, name: str, body: str = 'echo "ran $0 $@"') -> dict[str, str]:
    """An environment in which the program ``name`` is a shell script that says that it ran."""
    tool = folder / "bin" / name
    tool.parent.mkdir(exist_ok=True)
    tool.write_text(f"#!/bin/sh\n{body}\n")
    tool.chmod(0o755)
    return {**os.environ, "PATH": f"{tool.parent}{os.pathsep}{os.environ['PATH']}"}


def test_a_command_without_errors_runs_and_its_exit_code_is_ours(run: Run) -> None:
    done = run("--", sys.executable, "train.py", "--config", "good.yaml")
    assert done.returncode == 7
    assert done.stdout == "trained --config good.yaml\n"
    assert "effective batch" in done.stderr


def test_an_error_refuses_the_command(run: Run) -> None:
    done = run("--", sys.executable, "train.py", "--config", "broken.yaml")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "broken.yaml:9:29: error[VL301] prefetch-without-workers" in done.stderr
    assert done.stderr.endswith("vramlint: not run: 1 error (--anyway runs it all the same)\n")


def test_anyway_runs_it_and_still_says_why_not(run: Run) -> None:
    done = run("--anyway", "--", sys.executable, "train.py", "--config", "broken.yaml")
    assert done.returncode == 7
    assert done.stdout.startswith("trained")
    assert "prefetch-without-workers" in done.stderr


def test_what_cannot_be_checked_is_refused_with_2(run: Run, folder: Path) -> None:
    (folder / "broken.yaml").write_text(GOOD + "key: [1,\n")
    done = run("--", sys.executable, "train.py", "--config", "broken.yaml")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "broken.yaml:9" in done.stderr
    assert "not run: 1 could not be checked" in done.stderr


def test_a_command_without_a_training_run_is_run_and_said_so(run: Run) -> None:
    done = run("--", sys.executable, "-c", "print(1)")
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert done.stderr == "vramlint: no training run is recognised in the command, so nothing was checked\n"
    assert run("--require-run", "--", sys.executable, "-c", "print(1)").returncode == 2


def test_quiet_says_nothing_unless_it_refuses(run: Run) -> None:
    assert run("--quiet", "--", sys.executable, "train.py", "--config", "good.yaml").stderr == ""
    assert "prefetch" in run("--quiet", "--", sys.executable, "train.py", "--config", "broken.yaml").stderr


def test_check_only_runs_nothing(run: Run) -> None:
    done = run("--check-only", "--", sys.executable, "train.py", "--config", "good.yaml")
    assert (done.returncode, done.stdout) == (0, "")


def test_options_behind_the_command_are_the_commands(run: Run) -> None:
    done = run(sys.executable, "train.py", "--quiet", "--gpu", "x")
    assert done.stdout == "trained --quiet --gpu x\n"


def test_streams_are_untouched(run: Run) -> None:
    code = "import sys; data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data[::-1]); sys.stderr.write('own')"
    done = run("--quiet", "--", sys.executable, "-c", code, input="abc\n")
    assert (done.stdout, done.stderr) == ("\ncba", "own")


def test_the_environment_and_signal_handling_of_the_command_are_its_own(run: Run) -> None:
    code = (
        "import json, os, signal; print(json.dumps([dict(os.environ), os.environ.get('MINE'),"
        " os.getpid(), open('/proc/self/status').read() if os.path.exists('/proc/self/status') else '']))"
    )
    environment = {**os.environ, "LC_CTYPE": "C.UTF-8"}  # which Python itself adds where it is not set
    done = run("--quiet", "--", "env", "MINE=1", sys.executable, "-c", code, env=environment)
    seen, mine, _, status = json.loads(done.stdout)
    assert (seen, mine) == ({**environment, "MINE": "1"}, "1")
    # Python itself ignores SIGPIPE again, so what was inherited is asked of a program that is not Python.
    shown = run("--quiet", "--", "grep", "SigIgn", "/proc/self/status") if status else None
    plain = subprocess.run(["grep", "SigIgn", "/proc/self/status"], capture_output=True, text=True) if status else None
    assert shown is None or plain is None or shown.stdout == plain.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_command(folder: Path, number: signal.Signals) -> None:
    code = (
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: (print('cleaned up', flush=True), sys.exit(42)))\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [PROGRAM, "exec", "--quiet", "--", sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.read() == "cleaned up\n"
    assert process.wait(timeout=120) == 42


def test_death_by_a_signal_is_seen_by_the_caller(folder: Path) -> None:
    process = subprocess.Popen([PROGRAM, "exec", "--quiet", "--", "sleep", "600"], cwd=folder)
    for _ in range(2400):
        if "sleep" in _name(process.pid):
            break
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=120) == -signal.SIGTERM


def _name(pid: int) -> str:
    """The program that runs as ``pid``: the process is replaced, so its number stays."""
    path = Path(f"/proc/{pid}/cmdline")
    if not path.exists():
        pytest.skip("needs /proc to see when the command has taken over")
    return path.read_bytes().split(b"\0")[0].decode()


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [(["no-such-program"], 127, "command not found"), (["./train.py"], 126, "cannot be executed")],
)
def test_a_command_that_cannot_run(run: Run, command: list[str], code: int, message: str) -> None:
    done = run("--", *command)
    assert done.returncode == code
    assert message in done.stderr


def test_without_a_command_there_is_nothing_to_do(run: Run) -> None:
    done = run()
    assert done.returncode == 2
    assert "COMMAND" in done.stderr


LAUNCHERS = {
    "torchrun": (["torchrun", "--nproc_per_node=4", "train.py", "--config", "good.yaml"], 4 * 2 * 4),
    "accelerate": (["accelerate", "launch", "--num_processes", "2", "train.py", "--config=good.yaml"], 4 * 2 * 2),
    "deepspeed": (["deepspeed", "--num_gpus=8", "train.py", "--config", "good.yaml"], 4 * 2 * 8),
    "script": (["bash", "launch.sh"], 4 * 2 * 3),
    "text for a shell": (["bash", "-lc", "cd . && torchrun --nproc_per_node=5 train.py --config good.yaml"], 4 * 2 * 5),
    "script in a text": (["sh", "-c", "bash launch.sh"], 4 * 2 * 3),
    "srun": (["srun", "--nodes=2", "--ntasks-per-node=4", "python", "train.py", "--config", "good.yaml"], 4 * 2 * 8),
    "env": (["env", "A=1", "torchrun", "--nproc_per_node=2", "train.py", "--config", "good.yaml"], 4 * 2 * 2),
    "sbatch": (["sbatch", "job.sh"], 4 * 2 * 4),
    "sbatch options": (["sbatch", "--nodes=2", "--gpus-per-node", "8", "job.sh"], 4 * 2 * 16),
    "sbatch gres": (["sbatch", "--gres=gpu:2", "-N", "3", "job.sh"], 4 * 2 * 6),
}


@pytest.mark.parametrize(("command", "effective"), LAUNCHERS.values(), ids=LAUNCHERS.keys())
def test_launch_lines_are_read_as_what_they_launch(run: Run, folder: Path, command: list[str], effective: int) -> None:
    (folder / "launch.sh").write_text("torchrun --nproc_per_node=3 train.py --config good.yaml\n")
    (folder / "job.sh").write_text("#!/bin/bash\n#SBATCH --gpus-per-node=4\npython train.py --config good.yaml\n")
    environment = fake(folder, command[0])
    done = run("--", *command, env=environment)
    assert done.returncode == 0, done.stderr
    assert f"ran {folder}/bin/{command[0]} {' '.join(command[1:])}\n" == done.stdout
    assert f"effective batch {effective}" in done.stderr


def test_other_scripts_that_launch_the_same_config_are_not_about_to_run(run: Run, folder: Path) -> None:
    (folder / "launch.sh").write_text("torchrun --nproc_per_node=3 train.py --config good.yaml\n")
    done = run(
        "--", "torchrun", "--nproc_per_node=2", "train.py", "--config", "good.yaml", env=fake(folder, "torchrun")
    )
    assert "effective batch 16" in done.stderr
    assert "disagree" not in done.stderr


def test_flags_of_the_command_are_findings_with_their_place(run: Run, folder: Path) -> None:
    line = ["torchrun", "--nproc_per_node=2", "train.py", "--model", "resnet50", "--batch_size", "32", "--epochs", "5"]
    done = run("--check-only", "--", *line, "--num_workers", "0", "--prefetch_factor", "2")
    assert done.returncode == 1
    assert "<command>.sh:1:" in done.stderr
    assert "prefetch-without-workers" in done.stderr
