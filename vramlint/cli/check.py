"""``vramlint check``: findings, and with ``--fix`` their repair."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import click

from vramlint.cli.formats import FORMATS, Report, rendered, show
from vramlint.cli.known import fresh
from vramlint.cli.main import BROKEN, CLEAN, FOUND
from vramlint.cli.shared import (
    STDIN,
    check_options,
    collect_seldom,
    config_options,
    paths_argument,
    standard_input,
    stdin_option,
    target_options,
    texts_of,
    view,
    write,
    write_failures,
)
from vramlint.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from vramlint.engine import CheckOptions, FixOutcome
    from vramlint.results import CheckResult

SEVERITIES = ("error", "warning", "info")
CONFIDENCES = ("low", "medium", "high")


class Given(TypedDict):
    """The options of the command line, as click hands them over."""

    paths: tuple[str, ...]
    fix: bool
    add_ignore: bool
    reason: str
    baseline: str | None
    unsafe_fixes: bool
    ask: bool
    dry_run: bool
    diff: bool
    select: tuple[str, ...]
    ignore: tuple[str, ...]
    pedantic: bool
    min_confidence: str | None
    gpu: str | None
    gpus: int | None
    nodes: int | None
    output_format: str
    output_file: str | None
    statistics: bool
    fail_on: str
    exit_zero: bool
    force_exclude: bool
    stdin_filename: str | None
    settings_path: str | None
    isolated: bool
    verbose: bool


@click.command("check")
@paths_argument
@click.option("--fix", is_flag=True, help="Repair what can be repaired safely: same effective batch, same numerics.")
@click.option("--unsafe-fixes", is_flag=True, help="With --fix or --diff: also repairs that may change the experiment.")
@click.option("--ask", is_flag=True, help="Ask which repair of each finding to make, unsafe ones among them.")
@click.option("--dry-run", is_flag=True, help="With --fix or --ask: say what would be repaired and write nothing.")
@click.option("--diff", is_flag=True, help="Print what --fix would change as a diff and write nothing.")
@click.option("--add-ignore", is_flag=True, help="Write a suppression comment for every finding; with --diff show it.")
@click.option("--reason", default="", metavar="TEXT", help="With --add-ignore: the reason behind the rules' names.")
@click.option("--baseline", metavar="FILE", type=click.Path(dir_okay=False), help="Leave out what FILE accepts.")
@click.option("--select", multiple=True, metavar="RULES", help="Only these rules: codes, names or prefixes (VL2).")
@click.option("--ignore", multiple=True, metavar="RULES", help="Not these rules.")
@click.option("--pedantic", is_flag=True, help="Also show what is merely worth knowing.")
@click.option("--min-confidence", type=click.Choice(CONFIDENCES), help="Only findings that are at least this sure.")
@click.option("--gpu", metavar="NAME", help="The card to check against: rtx3060-12gb, a100-80gb, 24gb.")
@target_options
@click.option("--output-format", type=click.Choice(FORMATS), default="full", show_default=True)
@click.option("--output-file", metavar="FILE", type=click.Path(dir_okay=False), help="Write the report to FILE.")
@click.option("--statistics", is_flag=True, help="Print counts per rule instead of findings.")
@click.option(
    "--fail-on", type=click.Choice(SEVERITIES), default="warning", show_default=True, help="Exit 1 from here."
)
@click.option("--exit-zero", is_flag=True, help="Exit 0 even when there are findings.")
@click.option("--force-exclude", is_flag=True, help="Leave excluded files out even when they are named one by one.")
@stdin_option
@config_options
def command(**given: Unpack[Given]) -> int:
    """Check training configs and launch scripts.

    PATH is a file or a folder (default: the current one); `-` is standard input. Files that are no training
    configuration are passed over in silence. A file that cannot be read is told when it is named, and in a folder when
    what can be read of it is a training configuration. Exit code: 0 clean, 1 findings of severity warning or error, 2
    something could not be checked.
    """
    if given["unsafe_fixes"] and not (given["fix"] or given["diff"]):
        raise UsageError("--unsafe-fixes does nothing alone", help="add --fix or --diff")
    if given["dry_run"] and not (given["fix"] or given["ask"]):
        raise UsageError("--dry-run does nothing alone", help="add --fix or --ask")
    options = check_options(given)
    paths = given["paths"] or (".",)
    if given["ask"]:
        return _ask(paths, options, given)
    if given["add_ignore"]:
        return _add_ignore(paths, options, given)
    if given["reason"]:
        raise UsageError("--reason does nothing alone", help="add --add-ignore")
    if STDIN in paths:
        return _stdin(paths, options, given)
    if given["fix"] or given["diff"]:
        from vramlint.engine import fix

        return _repair(fix(paths, options, unsafe=given["unsafe_fixes"]), given)
    from vramlint.engine import check

    collect_seldom()
    return _report(check(paths, options), {}, given)


def _ask(paths: tuple[str, ...], options: CheckOptions, given: Given) -> int:
    """Repair what the user chooses."""
    if given["add_ignore"] or STDIN in paths:
        raise UsageError("--ask goes with neither --add-ignore nor -", help="give each a call of its own")
    from vramlint.cli.ask import Asker
    from vramlint.engine import fix

    return _repair(fix(paths, options, choose=Asker()), given)


def _add_ignore(paths: tuple[str, ...], options: CheckOptions, given: Given) -> int:
    """Write or show the comments; the exit code is that of what they could not silence."""
    if given["fix"] or STDIN in paths:
        raise UsageError("--add-ignore goes with neither --fix nor -", help="give each a call of its own")
    from vramlint.engine.add_ignore import add_ignores
    from vramlint.fix.diff import unified_diff
    from vramlint.fix.write import write_files
    from vramlint.report.ignores import render

    outcome = add_ignores(paths, options, given["reason"], lambda result: fresh(result, given))
    if given["diff"]:
        for file in outcome.files:
            click.echo(unified_diff(file), nl=False)
    else:
        write_files(outcome.files)
    write(render(outcome, would=given["diff"]), err=True)
    write_failures(outcome.result.failures)
    return _exit_code(fresh(outcome.result, given), given)


def _stdin(paths: tuple[str, ...], options: CheckOptions, given: Given) -> int:
    """Standard input; ``--fix`` prints the repaired text, so its findings go to standard error."""
    from vramlint.engine import check_source, fix_source

    name, data = standard_input(paths, options.stdin_filename)
    if not (given["fix"] or given["diff"]):
        return _report(check_source(name, data, options), {name: data}, given)
    outcome = fix_source(name, data, options, unsafe=given["unsafe_fixes"])
    if given["diff"]:
        return _show_diff(outcome, given)
    text = next((file.new for file in outcome.files if file.path == name), data)
    click.echo(text, nl=False)
    write(rendered("concise", Report(outcome.result, texts_of(outcome.result))), err=True)
    return _exit_code(outcome.result, given)


def _repair(outcome: FixOutcome, given: Given) -> int:
    if given["diff"]:
        return _show_diff(outcome, given)
    from vramlint.fix.write import write_files
    from vramlint.report.fixes import render

    if given["dry_run"]:
        write(render(outcome, view(), would=True))
        write_failures(outcome.before.failures)
        return _exit_code(fresh(outcome.before, given), given)
    write_files(outcome.files)
    done = render(outcome, view())
    write(done, err=given["output_format"] != "full")
    return _report(outcome.result, {file.path: file.new for file in outcome.files}, given, outcome)


def _show_diff(outcome: FixOutcome, given: Given) -> int:
    """Print the diff; the files stay, so the exit code is that of their findings."""
    from vramlint.fix.diff import unified_diff
    from vramlint.report.fixes import would_fix

    for file in outcome.files:
        click.echo(unified_diff(file), nl=False)
    write(would_fix(outcome), err=True)
    write_failures(outcome.before.failures)
    return _exit_code(fresh(outcome.before, given), given)


def _note_cards(result: CheckResult, gpu: str | None) -> None:
    """A comment in a file outranks ``--gpu``; say so, or the option seems not to work."""
    if gpu is None:
        return
    from vramlint.hardware.catalogue import find_gpu

    wanted = find_gpu(gpu).name
    others = {run.target.gpu.name for run in result.runs if run.target.gpu is not None} - {wanted}
    if others:
        write(f"note: files name their own card ({', '.join(sorted(others))}), which outranks --gpu {gpu}\n", err=True)


def _report(result: CheckResult, overlay: dict[str, bytes], given: Given, outcome: FixOutcome | None = None) -> int:
    result = fresh(result, given)
    write_failures(result.failures)
    _note_cards(result, given["gpu"])
    if given["statistics"]:
        from vramlint.report.statistics import render

        write(render(result))
    else:
        report = Report(_together(result, given["paths"]), texts_of(result, overlay), outcome)
        show(given["output_format"], report, given["output_file"])
    return _exit_code(result, given)


def _together(result: CheckResult, paths: Sequence[str]) -> CheckResult:
    """``result`` with one finding for many files, where there are many and the rule wants that."""
    if sum(finding.once_a_card for finding in result.findings) < 2:
        return result
    from vramlint.engine.targets import IN_THE_FILES
    from vramlint.project.discovery import display_path
    from vramlint.report.together import once_a_card

    return once_a_card(result, {display_path(path) for path in paths}, IN_THE_FILES)


def _exit_code(result: CheckResult, given: Given) -> int:
    if result.failures:
        return BROKEN
    serious = SEVERITIES[: SEVERITIES.index(given["fail_on"]) + 1]
    found = any(finding.severity.value in serious for finding in result.findings)
    return FOUND if found and not given["exit_zero"] else CLEAN
