"""From a repair of the plan to bytes, in every syntax: replace, insert, delete, several at once, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fix.support import document, members, options, reading, repair, root, slot
from vramlint.engine import CheckOptions, check, fix
from vramlint.errors import EditRefused
from vramlint.fix.edits import is_editable, plan_edits, plan_fix
from vramlint.fix.proof import prove
from vramlint.hardware.model import Host
from vramlint.rule import Safety
from vramlint.sources.model import Document, Mapping, apply_edits

READERS = {"yml": root, "json": root, "toml": root, "py": members, "sh": options}


def mapping(found: Document) -> Mapping:
    return READERS[found.path.rpartition(".")[2]](found)


def changed(path: str, text: str, **changes: object) -> str:
    """The text after changing keys of its (first) mapping; the edit is proven."""
    found = document(path, text)
    parent = mapping(found)
    slots = {key: slot(found, parent, key) for key in changes}
    by_fact = {f"fact{number}": each for number, each in enumerate(slots.values())}
    wanted = repair(**dict(zip(by_fact, changes.values(), strict=True)))
    (planned,) = plan_edits(wanted, reading(found, **by_fact))
    prove(planned)
    return apply_edits(text, list(planned.edits))


@pytest.mark.parametrize(
    ("path", "text", "changes", "expected"),
    [
        ("a.yml", "batch: 4  # why\nlr: 1e-4\n", {"batch": 2}, "batch: 2  # why\nlr: 1e-4\n"),
        ("a.yml", "batch: 4\r\nlr: 1e-4\r\n", {"batch": 2}, "batch: 2\r\nlr: 1e-4\r\n"),
        ("a.yml", "{batch: 4, lr: 1}\n", {"batch": 2}, "{batch: 2, lr: 1}\n"),
        ("a.yml", "batch: 4\n", {"batch": 2, "accum": 2}, "batch: 2\naccum: 2\n"),
        ("a.yml", "batch: 4\n", {"accum": 2, "precision": "fp16"}, "batch: 4\naccum: 2\nprecision: fp16\n"),
        ("a.yml", "batch: 4\naccum: 1\n", {"accum": None}, "batch: 4\n"),
        ("a.yml", "fp16: false\n", {"fp16": True}, "fp16: true\n"),
        ("a.json", '{\n  "batch": 4,\n  "lr": 1\n}\n', {"batch": 2}, '{\n  "batch": 2,\n  "lr": 1\n}\n'),
        ("a.json", '{\n  "batch": 4\n}\n', {"accum": 2}, '{\n  "batch": 4,\n  "accum": 2\n}\n'),
        ("a.json", '{\n  // why\n  "batch": 4\n}\n', {"batch": 2}, '{\n  // why\n  "batch": 2\n}\n'),
        ("a.toml", "batch = 4 # why\nqueue = 65_536\n", {"queue": 76800}, "batch = 4 # why\nqueue = 76_800\n"),
        ("a.py", "class Config:\n    batch = 4  # é\n", {"batch": 2}, "class Config:\n    batch = 2  # é\n"),
        ("a.py", "class Config:\n    q: int = 65_536\n", {"q": 76800}, "class Config:\n    q: int = 76_800\n"),
        (
            "a.sh",
            "python t.py --batch 4 --accum 1\n",
            {"--batch": 2, "--accum": 2},
            "python t.py --batch 2 --accum 2\n",
        ),
        ("a.sh", "python t.py --batch=4 \\\n  --x\n", {"--batch": 2}, "python t.py --batch=2 \\\n  --x\n"),
        ("a.sh", "B=4\npython t.py --batch $B\n", {"--batch": 2}, "B=2\npython t.py --batch $B\n"),
    ],
)
def test_bytes_in_bytes_out(path: str, text: str, changes: dict[str, object], expected: str) -> None:
    assert changed(path, text, **changes) == expected


def test_inserts_keep_the_order_of_the_changes_and_their_anchor() -> None:
    found = document("a.yml", "t:\n  lr: 1\n  opt: adamw\n\nother: 1\n")
    parent = root(found).get("t")
    assert isinstance(parent, Mapping)
    slots = {
        "accumulation": slot(found, parent, "accum", after="lr"),
        "precision": slot(found, parent, "mixed", after="accum"),
    }
    (planned,) = plan_edits(repair(accumulation=4, precision="fp16"), reading(found, **slots))
    prove(planned)
    expected = "t:\n  lr: 1\n  accum: 4\n  mixed: fp16\n  opt: adamw\n\nother: 1\n"
    assert apply_edits(found.text, list(planned.edits)) == expected


def test_a_change_to_the_value_that_is_there_edits_nothing() -> None:
    found = document("a.yml", "batch: 4\n")
    read = reading(found, micro_batch=slot(found, root(found), "batch"))
    assert plan_edits(repair(micro_batch=4), read) == ()
    assert plan_fix(repair(micro_batch=4), read).safety is Safety.DISPLAY


def test_the_slot_spells_the_value() -> None:
    found = document("a.yml", "total_batch: 8\n")
    read = reading(found, micro_batch=slot(found, root(found), "total_batch", spell=lambda micro: int(str(micro)) * 2))
    (planned,) = plan_edits(repair(micro_batch=2), read)
    assert apply_edits(found.text, list(planned.edits)) == "total_batch: 4\n"


def test_two_files_of_one_repair() -> None:
    config, script = document("a.yml", "batch: 4\n"), document("a.sh", "python t.py --accum 1\n")
    read = reading(
        config,
        micro_batch=slot(config, root(config), "batch"),
        accumulation=slot(script, options(script), "--accum"),
    )
    planned = plan_edits(repair(micro_batch=2, accumulation=2), read)
    assert [each.document.path for each in planned] == ["a.yml", "a.sh"]
    fix = plan_fix(repair(micro_batch=2, accumulation=2), read)
    assert [(edit.location.path, edit.location.line, edit.text) for edit in fix.edits] == [
        ("a.yml", 1, "2"),
        ("a.sh", 1, "2"),
    ]


def test_what_cannot_be_written_is_refused_and_shown_only() -> None:
    found = document("a.yml", "base: &b\n  batch: 4\none: *b\ntwo: *b\n")
    base = root(found).get("base")
    assert isinstance(base, Mapping)
    shared = slot(found, base, "batch")
    assert not is_editable(shared)
    read = reading(found, micro_batch=shared)
    for wanted in (repair(micro_batch=2), repair(accumulation=2), repair(micro_batch=None)):
        with pytest.raises(EditRefused):
            plan_edits(wanted, read)
        fix = plan_fix(wanted, read)
        assert (fix.safety, fix.edits) == (Safety.DISPLAY, ())


@pytest.mark.parametrize(
    ("text", "editable"),
    [
        ("class Config:\n    batch = 4\n", True),
        ("class Config:\n    batch = 1024 * 64\n", True),
        ("N = 4\nclass Config:\n    batch = N\n", True),
        ("N = 4\nclass Config:\n    batch = N * 16\n", False),
        ("N = 4\nclass Config:\n    batch = N\n    other = N\n", False),
        ("class Config:\n    lr = 1\n", True),
    ],
)
def test_what_is_editable_is_what_can_be_planned(text: str, editable: bool) -> None:
    found = document("a.py", text)
    one = slot(found, members(found), "batch")
    assert is_editable(one) is editable
    read = reading(found, batch=one)
    if not editable:
        with pytest.raises(EditRefused):
            plan_edits(repair(batch=2), read)
        return
    (planned,) = plan_edits(repair(batch=2), read)
    prove(planned)


def test_two_changes_in_one_place_are_refused() -> None:
    found = document("a.yml", "batch: 4\n")
    one = slot(found, root(found), "batch")
    with pytest.raises(EditRefused, match="different values"):
        plan_edits(repair(micro_batch=2, global_batch=8), reading(found, micro_batch=one, global_batch=one))
    (planned,) = plan_edits(repair(micro_batch=2, global_batch=2), reading(found, micro_batch=one, global_batch=one))
    assert len(planned.edits) == 1


def test_a_repair_in_a_base_file_is_unsafe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other configs inherit the base: what is safe for one of them changes the experiments of the others."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "base.py").write_text(
        'model = dict(type="FasterRCNN")\ntrain_dataloader = dict(batch_size=3, num_workers=9)\n'
        'optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.02))\n'
        'train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=12)\n'
    )
    (tmp_path / "child.py").write_text('_base_ = "./base.py"\nwork_dir = "out"\n')
    monkeypatch.chdir(tmp_path)
    options = CheckOptions(gpus=2, host=Host(cores=8), select=("workers-over-cores",))
    (own,) = check(["base.py"], options).findings
    (inherited,) = check(["child.py"], options).findings
    assert (own.location.path, own.fixes[0].safety) == ("base.py", Safety.SAFE)
    assert (inherited.location.path, inherited.fixes[0].safety) == ("child.py", Safety.UNSAFE)
    assert "[in base.py, for all that inherit it]" in inherited.fixes[0].title
    assert not fix(["child.py"], options).files
