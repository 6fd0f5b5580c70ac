"""The check: what is found where, in which order, and what a broken part leads to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engine.support import LARGE, rule
from vramlint.engine import CheckOptions, check, check_source
from vramlint.errors import SettingsError, TargetError, UsageError
from vramlint.rule import Run, Verdict

Fake = Callable[..., None]


def write(path: str, text: str) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(text.encode())
    return path


def found(*paths: str, **options: object) -> list[tuple[str, str, int]]:
    result = check(paths or (".",), CheckOptions(**options))  # type: ignore[arg-type]
    assert result.failures == ()
    return [(finding.code, finding.location.path, finding.location.line) for finding in result.findings]


def test_findings_point_at_the_value(fake: Fake) -> None:
    fake()
    write("a.yml", "name: x\nbatch: 8\nqueue: 12\n")
    result = check(["a.yml"])
    large, queue = result.findings
    assert (large.code, large.name, large.location[:5]) == ("VL101", "batch-large", ("a.yml", 15, 16, 2, 8))
    assert (queue.location.line, queue.fact, queue.run) == (3, "queue_size", "run")
    assert (result.files_seen, result.files_checked, result.suppressed) == (1, 1, 0)
    (fix,) = large.fixes
    assert fix.title == "set batch to 4"
    assert [(edit.location.line, edit.text.strip()) for edit in fix.edits] == [(2, "4"), (2, "accum: 2")]


def test_files_in_order_and_silence_about_the_rest(fake: Fake) -> None:
    fake()
    write("b.yml", "batch: 8\n")
    write("a/c.yml", "batch: 8\n")
    write("docker.yml", "services: {web: {image: batch}}\n")
    write("notes.txt", "batch: 8")
    assert found() == [("VL101", "a/c.yml", 1), ("VL101", "b.yml", 1)]
    assert check(["."]).files_seen == 3


def test_a_fact_that_nobody_spelled_is_shown_at_its_nearest_relative(fake: Fake) -> None:
    fake()
    write("a.yml", "lr: 1\nbatch: 2\n")
    assert found(pedantic=True) == [("VL102", "a.yml", 2)]


def test_a_run_that_spells_nothing_is_shown_at_its_first_line(fake: Fake) -> None:
    def lost(run: Run) -> Iterator[Verdict]:
        yield Verdict("seq_len", "nowhere")

    fake(rule("VL103", "lost", lost))
    write("a.yml", "\n# hello\nbatch: [1]\n")
    (finding,) = check(["a.yml"]).findings
    assert (finding.location.line, finding.location.column) == (2, 1)


@pytest.mark.parametrize(
    ("options", "codes"),
    [
        ({}, ["VL101", "VL201"]),
        ({"pedantic": True}, ["VL101", "VL102", "VL201"]),
        ({"select": ("VL2",)}, ["VL201"]),
        ({"select": ("queue-odd",)}, ["VL201"]),
        ({"select": ("VL1",)}, ["VL101"]),
        ({"select": ("VL102",)}, ["VL102"]),
        ({"select": ("vl1", "VL2"), "ignore": ("batch-large",)}, ["VL201"]),
        ({"ignore": ("VL",)}, []),
        ({"with_rules": False}, []),
    ],
)
def test_selection(fake: Fake, options: dict[str, object], codes: list[str]) -> None:
    fake()
    write("a.yml", "batch: 8\nqueue: 12\n")
    assert sorted(code for code, _, _ in found(**options)) == codes


def test_selection_in_the_settings(fake: Fake) -> None:
    fake()
    write("vramlint.toml", 'ignore = ["VL2"]\n[per-file-ignores]\n"old/**" = ["batch-large"]\n')
    write("a.yml", "batch: 8\nqueue: 12\n")
    write("old/a.yml", "batch: 8\nqueue: 12\n")
    assert found() == [("VL101", "a.yml", 1)]
    assert len(found(isolated=True)) == 4
    assert found(select=("VL2",)) == [], "what the settings ignore stays ignored"


def test_a_rule_that_does_not_exist(fake: Fake) -> None:
    fake()
    write("a.yml", "batch: 1\n")
    with pytest.raises(UsageError, match="queue-od") as raised:
        found(select=("queue-od",))
    assert "queue-odd" in raised.value.help
    write("vramlint.toml", 'ignore = ["VL999"]')
    with pytest.raises(SettingsError, match="VL999"):
        found()


def test_an_unknown_gpu_on_the_command_line_is_said_even_without_a_config() -> None:
    write("a.yml", "x: 1\n")
    with pytest.raises(TargetError):
        found(gpu=("rtx-999999",))


def test_wrong_settings_are_said_even_without_a_config() -> None:
    write("a.yml", "x: 1\n")
    write("vramlint.toml", "gpuz = 1\n")
    with pytest.raises(SettingsError):
        found("a.yml")


def test_a_crash_in_a_rule_is_a_failure_and_the_others_go_on(fake: Fake) -> None:
    def broken(run: Run) -> Iterator[Verdict]:
        yield Verdict("micro_batch", "said before the crash")
        raise ZeroDivisionError("oh no")

    fake(rule("VL100", "broken", broken), LARGE)
    write("a.yml", "batch: 8\n")
    write("b.yml", "batch: 8\n")
    result = check(["."])
    assert [(finding.code, finding.location.path) for finding in result.findings] == [
        ("VL100", "a.yml"),
        ("VL101", "a.yml"),
        ("VL100", "b.yml"),
        ("VL101", "b.yml"),
    ]
    assert [failure.path for failure in result.failures] == ["a.yml", "b.yml"]
    failure = result.failures[0]
    assert failure.message == "rule VL100 broken failed: ZeroDivisionError: oh no"
    assert "Traceback" not in failure.help
    assert "Traceback" in check(["a.yml"], CheckOptions(verbose=True)).failures[0].help


def test_a_crash_in_a_dialect_is_a_failure_and_the_other_runs_go_on(fake: Fake) -> None:
    fake()
    write("a.yml", "- {batch: 8, explode: 1}\n- {batch: 8}\n")
    result = check(["a.yml"])
    assert len(result.runs) == 1
    assert [failure.message for failure in result.failures] == ["dialect fake failed: RuntimeError: boom"]


def test_a_crash_in_the_estimator_is_said_once(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    def crash(*_: object) -> None:
        raise KeyError("layer")

    monkeypatch.setattr(importlib.import_module("vramlint.memory.estimate"), "estimate", crash)

    def asks(run: Run) -> Iterator[Verdict]:
        yield Verdict("micro_batch", run.estimate().verdict.value)

    fake(rule("VL103", "asks", asks), rule("VL104", "asks-too", asks))
    write("a.yml", "batch: 8\n")
    result = check(["a.yml"])
    assert [finding.message for finding in result.findings] == ["unknown", "unknown"]
    assert len(result.failures) == 1
    assert "memory estimate" in result.failures[0].message


def test_an_unreadable_file_is_a_failure(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    fake()
    write("good.yml", "batch: 8\n")
    write("bad.yml", "batch: 1\n")
    import builtins

    real = builtins.open

    def refuse(path: object, *args: object, **how: object) -> object:
        if str(path).endswith("bad.yml"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **how)  # type: ignore[call-overload]

    monkeypatch.setattr(builtins, "open", refuse)
    result = check(["."])
    assert [(failure.path, failure.message) for failure in result.failures] == [
        ("bad.yml", "cannot be read: Permission denied")
    ]
    assert [finding.location.path for finding in result.findings] == ["good.yml"]


def test_a_named_file_that_cannot_be_parsed_is_a_failure_with_its_place(fake: Fake) -> None:
    fake()
    write("a.yml", "batch: 8\nlist: [\n")
    (failure,) = check(["a.yml"]).failures
    assert failure.path == "a.yml"
    assert failure.line is not None
    assert check(["."]).failures == (), "a walked file may be a template of something else"


@pytest.mark.parametrize("data", [b"batch: \xff\xfe8\n", "batch: 8\n".encode("utf-16")])
def test_a_named_file_that_is_not_utf8(fake: Fake, data: bytes) -> None:
    fake()
    result = check_source("a.yml", data)
    # UTF-16 text does not hold the bytes of any key; what is no config stays silent.
    assert [failure.path for failure in result.failures] in (["a.yml"], [])
    assert result.findings == ()


def test_source_given_as_bytes(fake: Fake) -> None:
    fake()
    result = check_source("sub/new.yml", b"batch: 8\n")
    assert [finding.location.path for finding in result.findings] == ["sub/new.yml"]
    write("vramlint.toml", '[per-file-ignores]\n"sub/**" = ["VL101"]\n')
    assert check_source("sub/new.yml", b"batch: 8\n").findings == ()


def test_several_gpus_make_several_runs(fake: Fake) -> None:
    fake()
    write("a.yml", "batch: 8\n")
    result = check(["a.yml"], CheckOptions(gpu=("rtx3090", "rtx3070-8gb")))
    assert [run.target.gpu.name for run in result.runs if run.target.gpu] == ["rtx-3090", "rtx-3070"]
    assert len(result.findings) == 1, "one finding that both share is told once"
    assert [len(run.findings) for run in result.runs] == [1, 1]


def test_two_runs_of_one_file(fake: Fake) -> None:
    fake()
    write("a.yml", "- {batch: 8}\n- {batch: 16}\n")
    assert found() == [("VL101", "a.yml", 1), ("VL101", "a.yml", 2)]


def test_a_script_chooses_its_config_by_import() -> None:
    """With the real dialects: project B's training script leads to the class that it imports."""
    text = "class Config:\n    batch_size: int = 96\n    queue_size: int = 65536\n    num_workers: int = 4\n"
    write("src/config_low.py", text)
    write("src/config_other.py", text)
    write("train.py", "from src.config_low import Config\nprint(Config)\n")
    assert [path for _, path, _ in found("train.py")] == ["src/config_low.py"]
    assert sorted({path for _, path, _ in found(".")}) == ["src/config_low.py", "src/config_other.py"]


def test_a_rule_that_needs_a_gpu_is_not_asked_without_one_and_nothing_is_estimated(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    module = importlib.import_module("vramlint.memory.estimate")
    calls: list[object] = []
    real = module.estimate

    def counted(*arguments: object) -> object:
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(module, "estimate", counted)

    def asks(run: Run) -> Iterator[Verdict]:
        yield Verdict("micro_batch", run.estimate().verdict.value)

    needy = rule("VL103", "asks", asks)
    needy.RULE = needy.RULE._replace(needs_gpu=True)
    fake(needy)
    write("a.yml", "batch: 8\n")
    without = check(["a.yml"])
    assert (without.findings, calls) == ((), [])
    assert without.runs[0].estimate is without.runs[0].estimate  # made once, for the report that asks
    assert len(calls) == 1
    assert len(check(["a.yml"], CheckOptions(gpu=("t4",))).findings) == 1
