"""The proof refuses what changes anything beside the intended value, whichever way it came about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fix.support import document, members, options, root
from vramlint.errors import EditRefused
from vramlint.fix import proof
from vramlint.fix.edits import Deleted, DocumentEdits, Inserted, Intent, Replaced
from vramlint.fix.outline import means
from vramlint.fix.proof import prove
from vramlint.sources.model import Document, Entry, Mapping, Scalar, Span, TextEdit, apply_edits


def scalar(parent: Mapping, key: str) -> Scalar:
    node = parent.get(key)
    assert isinstance(node, Scalar)
    return node


def entry(parent: Mapping, key: str) -> Entry:
    found = parent.entry(key)
    assert found is not None
    return found


def planned(found: Document, old: str, new: str, *intents: Intent) -> DocumentEdits:
    """One edit: the first ``old`` of the text becomes ``new``."""
    start = found.text.index(old)
    return DocumentEdits(found, (TextEdit(Span(start, start + len(old)), new),), intents)


BAD = [
    # path, text, old, new, key, value: the edit claims to set key to value
    ("a.yml", "batch: 4\nlr: 1\n", "4", "2\nlr: 2", "batch", 2),
    ("a.yml", "batch: 4\nlr: 1\n", "4", "3", "batch", 2),
    ("a.yml", "batch: 4\nlr: 1\n", "batch: 4\nlr", "batch: 2\nrate", "batch", 2),
    ("a.yml", "batch: 4 # keep\n", "4 # keep", "2", "batch", 2),
    ("a.yml", "batch: 4 # keep\n", "4 # keep", "2 # kept", "batch", 2),
    ("a.yml", "batch: 4\n", "4", "2 # new", "batch", 2),
    ("a.yml", "batch: 4\nfast: yes\n", "4\nfast: yes", "2\nfast: 'yes'", "batch", 2),
    ("a.yml", "batch: 4\n", "4", "[", "batch", 2),
    ("a.yml", "batch: 4\n", "4", "'2", "batch", 2),
    ("a.yml", "a: 1\nbatch: 4\n", "a: 1\n", "", "batch", 4),
    ("a.json", '{"batch": 4, "lr": 1}', "4", '2, "x": 1', "batch", 2),
    ("a.json", '{"batch": 4}', "4", "{", "batch", 2),
    ("a.toml", "batch = 4\nlr = 1\n", "4", "2\nx = 1", "batch", 2),
    ("a.toml", "batch = 4\n[t]\nlr = 1\n", "4", "2\n[u]", "batch", 2),
    ("a.py", "class C:\n    batch = 4\n", "4", "2; lr = 1", "batch", 2),
    ("a.py", "class C:\n    batch = 4\nx = 1\n", "4\nx = 1", "2\nx = 2", "batch", 2),
    ("a.py", "class C:\n    batch = 4\nx()\n", "4\nx()", "2\ny()", "batch", 2),
    ("a.py", "class C:\n    batch = 4\n", "4", "(", "batch", 2),
    ("a.sh", "python t.py --batch 4 --x 1\n", "4", "2 --y 1", "--batch", 2),
    ("a.sh", "python t.py --batch 4\n", "4", "2; rm -r x", "--batch", 2),
    ("a.sh", "python t.py --batch 4 # why\n", "4 #", "2#", "--batch", 2),
]
PARENTS = {"yml": root, "json": root, "toml": root, "py": members, "sh": options}


@pytest.mark.parametrize(("path", "text", "old", "new", "key", "value"), BAD)
def test_an_edit_with_a_side_effect_is_refused(
    path: str, text: str, old: str, new: str, key: str, value: object
) -> None:
    found = document(path, text)
    node = scalar(PARENTS[path.rpartition(".")[2]](found), key)
    with pytest.raises(EditRefused):
        prove(planned(found, old, new, Replaced(node, value)))  # type: ignore[arg-type]


def test_a_value_that_another_setting_is_computed_from_is_refused() -> None:
    found = document("a.py", "class C:\n    batch = 4\n    queue = batch * 100\n")
    with pytest.raises(EditRefused, match="queue"):
        prove(planned(found, "4", "2", Replaced(scalar(members(found), "batch"), 2)))


def test_what_only_refers_to_the_value_may_change_with_it() -> None:
    found = document("a.sh", "B=4\npython t.py --batch $B\n")
    node = scalar(options(found), "--batch")
    assert node.definition is not None
    prove(planned(found, "4", "2", Replaced(node.definition, 2, node)))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.sh", "B=4\npython t.py --batch $B\npython v.py --batch $B\n"),
        ("a.sh", "B=4\npython t.py --batch $B --other $B\n"),
        ("a.py", "N = 4\nclass C:\n    batch = N\n    other = N\n"),
    ],
)
def test_another_setting_that_refers_to_the_same_constant_is_refused(path: str, text: str) -> None:
    found = document(path, text)
    node = scalar(PARENTS[path[-2:]](found), "--batch" if path == "a.sh" else "batch")
    node = node.definition or node
    with pytest.raises(EditRefused):
        prove(planned(found, "4", "2", Replaced(node, 2, node)))


def test_inserted_and_deleted_entries() -> None:
    found = document("a.yml", "batch: 4\n")
    insert = DocumentEdits(found, (TextEdit(Span(9, 9), "accum: 2\n"),), (Inserted(root(found), "accum", 2),))
    prove(insert)
    with pytest.raises(EditRefused):
        prove(insert._replace(intents=(Inserted(root(found), "accum", 3),)))
    with pytest.raises(EditRefused):
        prove(insert._replace(intents=(Inserted(root(found), "steps", 2),)))
    found = document("a.yml", "batch: 4\nlr: 1\n")
    prove(planned(found, "lr: 1\n", "", Deleted(root(found), entry(root(found), "lr"))))
    with pytest.raises(EditRefused):
        prove(planned(found, "batch: 4\n", "", Deleted(root(found), entry(root(found), "lr"))))


def test_duplicate_keys_and_order_are_part_of_the_data() -> None:
    found = document("a.yml", "batch: 4\nbatch: 8\nlr: 1\n")
    first, second = (each.value for each in root(found).entries[:2])
    assert isinstance(first, Scalar)
    assert isinstance(second, Scalar)
    prove(planned(found, "8", "2", Replaced(second, 2)))
    with pytest.raises(EditRefused):
        prove(planned(found, "8", "2", Replaced(first, 2)))


def test_yaml_beyond_the_first_document_aliases_and_tags() -> None:
    text = "%YAML 1.1\n---\nb: &x {k: 1}\nc: *x\nd: !Ref [1, !!str 2]\nbatch: 4\n---\nbatch: 9\n...\n"
    found = document("a.yml", text)
    node = scalar(root(found), "batch")
    prove(planned(found, "4", "2", Replaced(node, 2)))
    with pytest.raises(EditRefused):
        prove(planned(found, "9", "2", Replaced(node, 2)))


def test_ruamel_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """With our own comparison switched off, the second parser alone catches a change beside the edit."""
    monkeypatch.setattr(proof, "difference", lambda *_: "")
    found = document("a.yml", "batch: 4\nlr: 1\n")
    intent = Replaced(scalar(root(found), "batch"), 2)
    with pytest.raises(EditRefused, match="second parser"):
        prove(planned(found, "4", "2\nx: 1\nlr2: 1 ", intent))
    with pytest.raises(EditRefused, match="second parser"):
        prove(planned(found, "4", "3", intent))


def test_python_trees_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "difference", lambda *_: "")
    found = document("a.py", "class C:\n    batch = 4\n")
    with pytest.raises(EditRefused, match="second parser"):
        prove(planned(found, "batch = 4", "batch += 2", Replaced(scalar(members(found), "batch"), 2)))


def test_a_bom_and_crlf_are_kept() -> None:
    from vramlint.sources import read

    found = read("a.yml", b"\xef\xbb\xbfbatch: 4\r\nlr: 1\r\n")
    prove(planned(found, "4", "2", Replaced(scalar(root(found), "batch"), 2)))


@pytest.mark.parametrize(
    ("intended", "actual", "same"),
    [
        (4, 4, True),
        (4, "4", True),
        (4, 4.0, True),
        (1e-4, "1e-4", True),
        (True, True, True),
        (True, "True", True),
        (True, 1, False),
        (1, True, False),
        (4, "04x", False),
        (None, None, True),
        ("fp16", "fp16", True),
        ([1, 2], (1, 2), True),
        ([1, 2], (1, 3), False),
        ({"a": 1}, [("a", 1)], True),
        ({"a": 1}, [("b", 1)], False),
    ],
)
def test_meaning(intended: object, actual: object, same: bool) -> None:
    assert means(intended, actual) is same  # type: ignore[arg-type]


@given(st.integers(0, 30), st.integers(0, 30), st.text("0123456789abc:#\n {}[]'\"-&*", max_size=8))
def test_whatever_is_proven_changes_one_value(start: int, length: int, text: str) -> None:
    """Any edit at all: when it is proven, the data really is the old data with the one new value."""
    import yaml

    found = document("a.yml", "a: 1\nbatch: 4 # c\nlist: [1, x]\nz: q\n")
    end = min(start + length, len(found.text))
    start = min(start, end)
    edits = DocumentEdits(found, (TextEdit(Span(start, end), text),), (Replaced(scalar(root(found), "batch"), 2),))
    try:
        prove(edits)
    except EditRefused:
        return
    after = found.text[:start] + text + found.text[end:]
    assert yaml.safe_load(after) == {"a": 1, "batch": 2, "list": [1, "x"], "z": "q"}
    assert "# c" in after


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ('C="python t.py --batch 4 --x 1"\neval $C\n', 'C="python t.py --batch 2 --x 1"\neval $C\n'),
        ('A=" --x 1"\nA+=" --batch 4 --y 1"\npython t.py $A\n', 'A=" --x 1"\nA+=" --batch 2 --y 1"\npython t.py $A\n'),
        ("bash -c 'cd x; python t.py --batch 4 # c'\n", "bash -c 'cd x; python t.py --batch 2 # c'\n"),
        ("C=$(cat <<E\nt.py --batch 4\nE\n)\npython $C\n", "C=$(cat <<E\nt.py --batch 2\nE\n)\npython $C\n"),
    ],
)
def test_a_command_inside_a_string_is_edited_there(text: str, fixed: str) -> None:
    found = document("a.sh", text)
    edit = planned(found, "4", "2", Replaced(scalar(options(found), "--batch"), 2))
    prove(edit)
    assert apply_edits(text, list(edit.edits)) == fixed
