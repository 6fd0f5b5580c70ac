"""The report for people, whole reports as inline text."""

from __future__ import annotations

import re

import pytest

from tests.report.support import MOCO, estimate, finding, plan, result, run, texts, unknown_estimate
from vramlint.report.full import render
from vramlint.report.text import View
from vramlint.results import Failure
from vramlint.rule import Safety, Severity

PLAIN = View(colour=False, width=120)


def test_the_layout_of_the_design() -> None:
    info = finding(
        needle="96",
        code="VL404",
        name="memory-unused",
        severity=Severity.INFO,
        message="42 % of the card stays unused",
        label="",
        fixes=(),
        fact="micro_batch",
    )
    shown = render(result(run(info, finding()), files_seen=214), texts(), PLAIN)
    assert shown == (
        """\
src/config.py:4:23: info[VL404] memory-unused
    4 |     batch_size: int = 96
      |                       ^^ 42 % of the card stays unused
src/config.py:5:23: error[VL201] queue-not-divisible
    4 |     batch_size: int = 96
    5 |     queue_size: int = 65536
      |                       ^^^^^ not a multiple of 96 (682.67 batches)
   queue_size 65536 is not a multiple of batch_size 96 (682.67 batches): the queue pointer runs past the end
   safe fix: set queue_size to 76800 (800 batches)
plan    96 per GPU x 2 GPUs x 4 steps = effective batch 768 · fp16 autocast · checkpointing on · 224x224 px
memory  6.9 GiB of 7.8 usable on rtx-3070-8gb (88 %), 6.4 to 7.4, peak in backward · fits

1 error, 1 info in 1 of 214 files · 1 fix with --fix
"""
    )


def test_one_line_when_all_is_well() -> None:
    assert render(result(run()), texts(), PLAIN) == (
        "1 training run in 1 file, nothing to report · effective batch 768 · 6.9 of 7.8 GiB on rtx-3070-8gb\n"
    )


@pytest.mark.parametrize(
    ("files_seen", "line"), [(0, "no file to check\n"), (1, "no training run in 1 file\n"), (1214, None)]
)
def test_one_line_without_a_run(files_seen: int, line: str | None) -> None:
    assert render(result(files_seen=files_seen), texts(), PLAIN) == (line or "no training run in 1,214 files\n")


def test_a_run_without_findings_adds_no_line() -> None:
    other = run(text=MOCO, plan=plan(MOCO, "src/other.py"))
    shown = render(result(run(finding()), other, files_seen=2), texts(), PLAIN)
    assert shown.count("plan    ") == 1
    assert shown.endswith("1 error in 1 of 2 files · 1 fix with --fix\n")


def test_unknown_memory_says_why() -> None:
    shown = render(result(run(finding(), estimate=unknown_estimate())), texts(), PLAIN)
    assert "memory  unknown: no profile of model 'mynet'\n" in shown


def test_no_gpu_asks_for_one() -> None:
    shown = render(result(run(finding(), estimate=estimate(gpu=None))), texts(), PLAIN)
    memory = next(line for line in shown.splitlines() if line.startswith("memory"))
    assert "6.9 GiB per GPU" in memory


def test_several_fixes_of_one_safety_share_a_line_where_it_fits() -> None:
    (fix,) = finding().fixes
    fixes = (
        fix,
        fix._replace(title="set batch_size to 64"),
        fix._replace(safety=Safety.UNSAFE, title="drop it"),
    )
    shown = render(result(run(finding(fixes=fixes))), texts(), PLAIN)
    assert "   safe fix: set queue_size to 76800 (800 batches)   or set batch_size to 64\n" in shown
    assert "   unsafe fix: drop it\n" in shown
    narrow = render(result(run(finding(fixes=fixes))), texts(), View(width=62))
    assert "   safe fix: set queue_size to 76800 (800 batches)\n         or: set batch_size to 64\n" in narrow


def test_display_only_fixes_are_not_counted() -> None:
    (fix,) = finding().fixes
    shown = render(result(run(finding(fixes=(fix._replace(safety=Safety.DISPLAY, edits=()),)))), texts(), PLAIN)
    assert "   by hand: set queue_size" in shown
    assert "--fix" not in shown


def test_unsafe_fixes_are_counted_apart() -> None:
    (fix,) = finding().fixes
    shown = render(result(run(finding(fixes=(fix._replace(safety=Safety.UNSAFE),)))), texts(), PLAIN)
    assert shown.endswith("1 error in 1 file · 1 with --unsafe-fixes\n")


def test_colour_only_adds_escapes() -> None:
    found = result(run(finding()))
    coloured = render(found, texts(), View(colour=True, width=120))
    assert "\x1b[1;31merror[VL201]\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render(found, texts(), PLAIN)


def test_no_line_is_wider_than_the_view() -> None:
    long = "word " * 60
    found = finding(message=long, label="", help=long)
    for width in (60, 80, 100):
        for line in render(result(run(found)), texts(), View(width=width)).splitlines():
            assert len(line) <= width, line


def test_a_message_from_a_file_cannot_steer_the_terminal() -> None:
    text = MOCO.replace("65536", '"\x1b[2J65536"')
    found = finding(text, needle="65536", message="evil \x1b]0;title\x07", label="", fixes=())
    shown = render(result(run(found, text=text)), texts(text), PLAIN)
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_runs_of_one_file_are_named() -> None:
    first = run(finding(run="Config"))
    second = run(finding(run="Other", needle="96"), plan=plan(title="Other"))
    shown = render(result(first, second), texts(), PLAIN)
    assert "plan    Config: 96 per GPU" in shown
    assert "plan    Other: 96 per GPU" in shown


def test_findings_about_no_run_come_with_their_file() -> None:
    stray = finding(path="a.yml", run="")
    whole = result(run(finding()))
    shown = render(whole._replace(findings=(stray, *whole.findings)), {"src/config.py": MOCO, "a.yml": MOCO}.get, PLAIN)
    assert shown.startswith("a.yml:5:23: error[VL201]")
    assert shown.count("queue-not-divisible") == 2


def test_a_message_that_fits_beside_the_mark_stands_there_alone() -> None:
    shown = render(result(run(finding(message="queue_size 65536: too odd", label="odd"))), texts(), PLAIN)
    assert "^^^^^ queue_size 65536: too odd\n   safe fix" in shown


def test_help_stands_in_for_a_missing_fix() -> None:
    advice = "Use a smaller queue"
    assert f"   help: {advice}\n" in render(result(run(finding(help=advice, fixes=()))), texts(), PLAIN)
    assert advice not in render(result(run(finding(help=advice))), texts(), PLAIN)


def test_runs_of_unknown_memory_are_not_called_well() -> None:
    unknown = run(estimate=unknown_estimate())
    assert render(result(run(), unknown), texts(), PLAIN) == (
        "2 training runs in 1 file, nothing to report · memory of 1 unknown (no profile of model 'mynet')\n"
    )
    assert render(result(unknown), texts(), PLAIN).endswith(
        "effective batch 768 · memory unknown: no profile of model 'mynet'\n"
    )


def test_what_could_not_be_checked_is_counted() -> None:
    failed = (Failure("bad.yml", "not UTF-8"),)
    assert render(result(run(finding()), failures=failed), texts(), PLAIN).endswith("· 1 could not be checked\n")
    assert render(result(run(), failures=failed), texts(), PLAIN).endswith("· 1 could not be checked\n")
