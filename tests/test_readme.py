"""The README shows real output: every ``console`` block is run again and compared, and CI runs its second command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from vramlint.cli.main import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```console\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def _transcripts() -> list[tuple[str, str]]:
    """Every ``$ vramlint …`` of the README with the output shown under it."""
    shown = []
    for block in _BLOCK.finditer(README):
        for part in re.split(r"^\$ ", block["body"], flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            shown.append((command, output.rstrip("\n")))
    return shown


def test_the_readme_has_transcripts() -> None:
    assert len(_transcripts()) >= 2


@pytest.mark.parametrize(("command", "output"), _transcripts(), ids=lambda value: value.split("\n")[0][:60])
def test_the_output_is_real(
    command: str, output: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("NO_COLOR", "1")
    program, *arguments = shlex.split(command)
    assert program == "vramlint"
    main(arguments)
    assert capsys.readouterr().out.rstrip("\n") == output


def test_ci_runs_the_second_command() -> None:
    commands = re.findall(r"^```bash\n(.*?)\n```$", README, re.MULTILINE | re.DOTALL)
    assert commands[0] == "bash tools/demo.sh"
    assert commands[1] == "bash tools/test.sh"
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
