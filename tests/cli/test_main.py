"""The entry: exit codes, the default command, errors in one place, lazy commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.report.support import finding, result, run
from vramlint import __version__, engine
from vramlint.cli.main import COMMANDS, main
from vramlint.errors import TargetError
from vramlint.results import Failure
from vramlint.rule import Severity

PROGRAM = Path(sys.executable).with_name("vramlint")
FOUND, CLEAN, INFO = run(finding()), run(), run(finding(severity=Severity.INFO))
WARNING = run(finding(severity=Severity.WARNING))
BROKEN = (Failure("bad.yml", "not UTF-8", 3, 1, "save it as UTF-8"),)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch):
    """Make every check return the given result, and record what it was asked."""
    asked: list = []

    def use(made: object) -> list:
        def check(paths: object, options: object, **_: object) -> object:
            asked.append((paths, options))
            if isinstance(made, Exception):
                raise made
            return made

        monkeypatch.setattr(engine, "check", check)
        return asked

    return use


@pytest.mark.parametrize(
    ("made", "arguments", "code"),
    [
        (result(CLEAN), [], 0),
        (result(), [], 0),
        (result(INFO), [], 0),
        (result(WARNING), [], 1),
        (result(FOUND), [], 1),
        (result(FOUND), ["--exit-zero"], 0),
        (result(WARNING), ["--fail-on", "error"], 0),
        (result(FOUND), ["--fail-on", "error"], 1),
        (result(INFO), ["--fail-on", "info"], 1),
        (result(CLEAN, failures=BROKEN), [], 2),
        (result(FOUND, failures=BROKEN), ["--exit-zero"], 2),
        (TargetError("unknown GPU 'rtx9999'", help="see `vramlint gpus`"), [], 2),
        (ZeroDivisionError("a bug"), [], 2),
    ],
)
def test_exit_codes(checked, made: object, arguments: list[str], code: int) -> None:
    checked(made)
    assert main(["check", *arguments, "x.yml"]) == code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-such-option"], "No such option"),
        (["x.yml", "--output-format", "xml"], "xml"),
        (["--gpus", "0", "x.yml"], "gpus"),
        (["--unsafe-fixes", "x.yml"], "add --fix"),
        (["-"], "--stdin-filename"),
        (["-", "x.yml", "--stdin-filename", "a.yml"], "stands alone"),
        (["estimate", "--sweep", "colour=1..3", "x.yml"], "cannot sweep"),
        (["chek"], "Did you mean 'check'"),
        (["explain", "queue-not-divisble"], "queue-not-divisible"),
    ],
)
def test_bad_arguments_are_2_and_say_what_to_do(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_errors_are_one_line_and_help_on_stderr(checked, capsys: pytest.CaptureFixture[str]) -> None:
    checked(TargetError("unknown GPU 'rtx9999'", help="see `vramlint gpus`"))
    main(["x.yml"])
    captured = capsys.readouterr()
    assert captured.err == "vramlint: unknown GPU 'rtx9999'\n  help: see `vramlint gpus`\n"
    assert captured.out == ""


def test_a_bug_shows_its_traceback_and_asks_for_a_report(checked, capsys: pytest.CaptureFixture[str]) -> None:
    checked(ZeroDivisionError("a bug"))
    main(["x.yml"])
    error = capsys.readouterr().err
    assert "ZeroDivisionError: a bug" in error
    assert "report it" in error


def test_failures_go_to_stderr_and_the_rest_is_still_reported(checked, capsys: pytest.CaptureFixture[str]) -> None:
    checked(result(FOUND, failures=BROKEN))
    main(["x.yml"])
    captured = capsys.readouterr()
    assert captured.err == "bad.yml:3:1: could not check: not UTF-8\n  help: save it as UTF-8\n"
    assert "queue-not-divisible" in captured.out


@pytest.mark.parametrize("arguments", [["x.yml"], ["--select", "VL2", "x.yml"], ["check", "x.yml"]])
def test_check_is_the_default(checked, arguments: list[str]) -> None:
    asked = checked(result())
    assert main(arguments) == 0
    assert asked[0][0] == ("x.yml",)


def test_no_path_is_the_current_folder(checked) -> None:
    asked = checked(result())
    main(["check"])
    assert asked[0][0] == (".",)


def test_options_reach_the_engine(checked) -> None:
    asked = checked(result())
    main(
        [
            "--select",
            "VL1,VL2",
            "--select",
            "vram-over",
            "--ignore",
            "VL4",
            "--gpu",
            "t4",
            "--gpus",
            "2",
            "--nodes",
            "3",
            "--pedantic",
            "--force-exclude",
            "x",
        ]
    )
    ((_, options),) = asked
    assert options.select == ("VL1", "VL2", "vram-over")
    assert options.ignore == ("VL4",)
    assert (options.gpu, options.gpus, options.nodes) == (("t4",), 2, 3)
    assert options.pedantic
    assert options.force_exclude


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert "Usage: vramlint" in capsys.readouterr().out


def test_help_lists_every_command_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in COMMANDS)
    code = "import sys; from vramlint.cli.main import main; main(['--help']); print('vramlint.engine' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"vramlint {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_VRAMLINT_COMPLETE" in capsys.readouterr().out


def test_shells_complete_commands() -> None:
    done = subprocess.run(
        [PROGRAM],
        env={"_VRAMLINT_COMPLETE": "bash_complete", "COMP_WORDS": "vramlint es", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
    )
    assert "estimate" in done.stdout


def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(f"'{PROGRAM}' gpus | head -1", shell=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
