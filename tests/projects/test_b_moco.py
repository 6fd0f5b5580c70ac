"""Project B: MoCo with a queue on two 8 GB cards, Python config classes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.projects.support import Project

ROWS = [
    # name, batch, queue, effective batch, divisible, verdicts that do not contradict the report
    ("low_vram", 64, 65536, 512, True, {"fits"}),
    ("optimised", 96, 76800, 768, True, {"fits", "tight"}),
    ("manual", 80, 64000, 640, True, {"fits", "tight"}),
    ("aggressive", 128, 65536, 1024, True, {"over", "tight"}),
    ("broken", 96, 65536, 768, False, {"fits", "tight"}),
]


def config(project: Project, name: str, batch: int, queue: int) -> str:
    text = project.read("src/config_low_vram.py")
    text = text.replace("batch_size: int = 64", f"batch_size: int = {batch}")
    text = text.replace("queue_size: int = 65536", f"queue_size: int = {queue}")
    project.write(f"src/config_{name}.py", text)
    return f"src/config_{name}.py"


@pytest.mark.parametrize(("name", "batch", "queue", "effective", "divisible", "verdicts"), ROWS)
def test_every_config_of_the_table(
    example: Callable[[str], Project],
    name: str,
    batch: int,
    queue: int,
    effective: int,
    divisible: bool,
    verdicts: set[str],
) -> None:
    project = example("moco")
    path = config(project, name, batch, queue)
    plan = project.plan(path)
    assert (plan["micro_batch"], plan["queue_size"], plan["accumulation"]) == (batch, queue, 4)
    assert plan["effective_batch"] == effective
    assert ("queue-not-divisible" in project.names(path)) is not divisible
    assert project.estimate(path)["verdict"] in verdicts


def test_memory_grows_with_the_batch(example: Callable[[str], Project]) -> None:
    project = example("moco")
    paths = [config(project, f"b{batch}", batch, batch * 800) for batch in (64, 80, 96, 128)]
    peaks = [project.estimate(path)["device_bytes"]["value"] for path in paths]
    assert peaks == sorted(set(peaks))


def test_the_queue_finding_offers_both_repairs(example: Callable[[str], Project]) -> None:
    project = example("moco")
    (finding,) = [found for found in project.findings("src/config_broken.py") if found["name"] == "queue-not-divisible"]
    assert "682.67" in finding["message"]
    titles = " | ".join(fix["title"] for fix in finding["fixes"])
    assert "queue_size" in titles
    assert "batch_size" in titles


def test_the_safe_fix_changes_the_queue_alone(example: Callable[[str], Project]) -> None:
    project = example("moco")
    before = project.read("src/config_broken.py")
    fixed = project.fix("src/config_broken.py")
    assert project.plan("src/config_broken.py")["queue_size"] % 96 == 0
    changed = [(old, new) for old, new in zip(before.splitlines(), fixed.splitlines(), strict=True) if old != new]
    assert [old for old, _ in changed] == ["    queue_size: int = 65536"]


def test_the_other_repair_changes_the_batch(example: Callable[[str], Project]) -> None:
    """The alternative repair is a batch that divides the queue; an editor applies the edits that the JSON gives."""
    project = example("moco")
    (finding,) = [found for found in project.findings("src/config_broken.py") if found["name"] == "queue-not-divisible"]
    text = project.read("src/config_broken.py")
    alternatives = [fix for fix in finding["fixes"] if "batch_size" in fix["title"] and fix["edits"]]
    assert alternatives
    lines = text.split("\n")
    for edit in sorted(alternatives[0]["edits"], key=lambda item: (item["line"], item["column"]), reverse=True):
        line = lines[edit["line"] - 1]
        lines[edit["line"] - 1] = line[: edit["column"] - 1] + edit["text"] + line[edit["end_column"] - 1 :]
    project.write("src/config_broken.py", "\n".join(lines))
    plan = project.plan("src/config_broken.py")
    assert plan["queue_size"] % plan["micro_batch"] == 0
    assert plan["micro_batch"] != 96


def test_a_wasted_card_is_told_the_batch_that_fills_it(example: Callable[[str], Project]) -> None:
    project = example("moco")
    path = config(project, "tiny", 32, 65536)
    (finding,) = [found for found in project.findings(path) if found["name"] == "vram-wasted"]
    assert any("batch_size" in fix["title"] for fix in finding["fixes"])


def test_the_training_script_chooses_the_config_by_its_import(example: Callable[[str], Project]) -> None:
    project = example("moco")
    assert "queue-not-divisible" in project.names("train.py")


def test_the_aggressive_config_steps_down_with_its_queue(example: Callable[[str], Project]) -> None:
    """Batch 128 does not surely fit: 64 divides the queue and keeps 1,024; 96 needs another queue and is unsafe."""
    project = example("moco")
    path = config(project, "aggressive", 128, 65536)
    (finding,) = [found for found in project.findings(path) if found["name"] == "vram-over"]
    safe, unsafe = finding["fixes"][:2]
    assert safe["safety"] == "safe"
    assert "effective batch stays 1024 = 64 x 2 x 8" in safe["title"]
    assert unsafe["safety"] == "unsafe"
    assert "set batch_size to 96 and queue_size to 76800" in unsafe["title"]
    assert all("saves" in fix["title"] for fix in finding["fixes"])
    project.fix(path)
    plan = project.plan(path)
    assert (plan["micro_batch"], plan["accumulation"], plan["queue_size"] % plan["micro_batch"]) == (64, 8, 0)
    assert not {"vram-over", "queue-not-divisible"} & project.names(path)
