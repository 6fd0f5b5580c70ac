"""Edits of shell text, bytes in and bytes out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vramlint.errors import EditRefused
from vramlint.sources.model import Document, Mapping, Node, Plain, Scalar, apply_edits, plain
from vramlint.sources.shell_edits import delete_entry, insert_entry, replace_value
from vramlint.sources.shell_reader import parse


def options(document: Document) -> Mapping:
    return document.commands[-1].options


def replaced(text: str, value: Plain, key: str = "--b") -> str:
    document = parse(text, "t.sh")
    node = options(document).get(key)
    assert node is not None
    return apply_edits(text, [replace_value(document, node, value)])


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("python t.py --b 8 --c 1\n", 4, "python t.py --b 4 --c 1\n"),
        ("python t.py --b=8\n", 4, "python t.py --b=4\n"),
        ("python t.py --b '8'\n", 4, "python t.py --b '4'\n"),
        ('python t.py --b="a b"\n', 'c "d"', 'python t.py --b="c \\"d\\""\n'),
        ("python t.py --b a\n", "c d", "python t.py --b 'c d'\n"),
        ("python t.py --b 1e-4\n", 2e-4, "python t.py --b 0.0002\n"),
        ("python t.py --b False\n", True, "python t.py --b True\n"),
        ("python t.py --b false\n", True, "python t.py --b true\n"),
        ("python t.py --b 1 2\n", [3, 4], "python t.py --b 3 4\n"),
        ("python t.py --b\n", 4, "python t.py --b 4\n"),
        ("B=8  # c\npython t.py --b $B\n", 4, "B=4  # c\npython t.py --b $B\n"),
        ('B="8"\npython t.py --b "${B}"\n', 4, 'B="4"\npython t.py --b "${B}"\n'),
        ("python t.py --b ${B:-8}\n", 4, "python t.py --b ${B:-4}\n"),
        ("B=${B:-8}\npython t.py --b $B\n", 4, "B=${B:-4}\npython t.py --b $B\n"),
        ('A="--b 8 --c 1"\npython t.py $A\n', 4, 'A="--b 4 --c 1"\npython t.py $A\n'),
        ('A=(\n --b 8  # c\n)\npython t.py "${A[@]}"\n', 4, 'A=(\n --b 4  # c\n)\npython t.py "${A[@]}"\n'),
        ('A="python t.py --b 8"\necho $A\neval $A\n', 4, 'A="python t.py --b 4"\necho $A\neval $A\n'),
        ('bash -c "cd x; python t.py --b 8; ls"\n', 4, 'bash -c "cd x; python t.py --b 4; ls"\n'),
        ("python t.py \\\r\n  --b 8 \\\r\n  --c 1\r\n", 4, "python t.py \\\r\n  --b 4 \\\r\n  --c 1\r\n"),
    ],
)
def test_replace(text: str, value: Plain, expected: str) -> None:
    assert replaced(text, value) == expected


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        ("B=8\npython u.py --x $B\npython t.py --b $B\n", 4, "more than one place"),
        ('A="--b 8 --c 1"\npython u.py $A\npython t.py $A\n', 4, "more than one place"),
        ("A=(--b 8)\npython u.py ${A[@]}\npython t.py ${A[@]}\n", 4, "more than one place"),
        ('B=8\ncat $B\nbash -c "python t.py --b $B"\n', 4, "more than one place"),
        ('bash -c "python t.py --b \\$B"\n', 4, "cannot be known"),
        ("python t.py --b $B\n", 4, "cannot be known"),
        ("N=4\npython t.py --b x$N\n", 4, "put together"),
        ("python t.py --b\n", False, "bare switch"),
        ("python t.py --b 1 2\n", 4, "list only"),
        ("python t.py --b 1\n", None, "words only"),
    ],
)
def test_replace_is_refused(text: str, value: Plain, reason: str) -> None:
    with pytest.raises(EditRefused, match=reason):
        replaced(text, value)


ONE_A_LINE = "torchrun t.py \\\n    --a 1 \\\n    --b 2   # last\n"


@pytest.mark.parametrize(
    ("text", "key", "value", "after", "expected"),
    [
        ("python t.py --a 1\n", "--n", 4, None, "python t.py --a 1 --n 4\n"),
        ("python t.py --a=1\n", "--n", 4, None, "python t.py --a=1 --n=4\n"),
        ("python t.py\n", "--n", 4, None, "python t.py --n 4\n"),
        ("python t.py cfg.py\n", "--n", 4, None, "python t.py cfg.py --n 4\n"),
        ("python t.py --a 1 --b 2\n", "--n", 4, "--a", "python t.py --a 1 --n 4 --b 2\n"),
        ("python t.py --a 1\n", "--amp", True, None, "python t.py --a 1 --amp\n"),
        ("python t.py --a 1\n", "--s", [1, 2], None, "python t.py --a 1 --s 1 2\n"),
        ("python t.py --a 1\n", "--s", "a b", None, "python t.py --a 1 --s 'a b'\n"),
        ("python t.py --a 1 > log 2>&1 &\n", "--n", 4, None, "python t.py --a 1 --n 4 > log 2>&1 &\n"),
        ("python t.py --a 1 | tee log\n", "--n", 4, None, "python t.py --a 1 --n 4 | tee log\n"),
        ("python t.py --a 1  # c\n", "--n", 4, None, "python t.py --a 1 --n 4  # c\n"),
        ("python t.py --a 1 x.y=2\n", "--n", 4, None, "python t.py --a 1 --n 4 x.y=2\n"),
        (ONE_A_LINE, "--n", 4, "--a", "torchrun t.py \\\n    --a 1 \\\n    --n 4 \\\n    --b 2   # last\n"),
        (ONE_A_LINE, "--n", 4, None, "torchrun t.py \\\n    --a 1 \\\n    --b 2 \\\n    --n 4   # last\n"),
        (ONE_A_LINE, "--amp", True, None, "torchrun t.py \\\n    --a 1 \\\n    --b 2 \\\n    --amp   # last\n"),
        (
            ONE_A_LINE.replace("\n", "\r\n"),
            "--n",
            4,
            "--a",
            "torchrun t.py \\\r\n    --a 1 \\\r\n    --n 4 \\\r\n    --b 2   # last\r\n",
        ),
        ("t.py --z 0 \\\n\t--a 1\\\n\t--b 2", "--n", 4, "--a", "t.py --z 0 \\\n\t--a 1\\\n\t--n 4\\\n\t--b 2"),
        ("t.py --a 1 \\\n  --b 2 --c 3\n", "--n", 4, "--b", "t.py --a 1 \\\n  --b 2 --n 4 --c 3\n"),
        (
            'A=(\n  --a 1  # c\n  --b 2\n)\npython t.py "${A[@]}"\n',
            "--n",
            4,
            "--a",
            'A=(\n  --a 1  # c\n  --n 4\n  --b 2\n)\npython t.py "${A[@]}"\n',
        ),
        ('A="--a 1"\npython t.py $A\n', "--n", 4, None, 'A="--a 1 --n 4"\npython t.py $A\n'),
        (
            'A="\n  --a 1 \\\n  --b 2\n"\npython t.py $A\n',
            "--n",
            4,
            None,
            'A="\n  --a 1 \\\n  --b 2 \\\n  --n 4\n"\npython t.py $A\n',
        ),
    ],
)
def test_insert(text: str, key: str, value: Plain, after: str | None, expected: str) -> None:
    document = parse(text, "t.sh")
    before = plain(options(document))
    edited = apply_edits(text, [insert_entry(document, options(document), key, value, after)])
    assert edited == expected
    assert isinstance(before, dict)
    assert plain(options(parse(edited, "t.sh"))) == {**before, key: value}


def test_insert_overrides_environment_and_directives() -> None:
    text = "#SBATCH --nodes=2\npython t.py a=1 > log\n"
    document = parse(text, "t.sh")
    (command,) = document.commands
    assert document.batch_directives is not None
    for mapping, key, value, expected in (
        (command.overrides, "b", 2, "#SBATCH --nodes=2\npython t.py a=1 b=2 > log\n"),
        (command.environment, "C", "d", "#SBATCH --nodes=2\nC=d python t.py a=1 > log\n"),
        (document.batch_directives, "--mem", "8G", "#SBATCH --nodes=2\n#SBATCH --mem=8G\npython t.py a=1 > log\n"),
    ):
        assert apply_edits(text, [insert_entry(document, mapping, key, value, None)]) == expected


def test_what_is_there_is_not_inserted_again() -> None:
    document = parse("python t.py --a 1\n", "t.sh")
    with pytest.raises(EditRefused, match="already there"):
        insert_entry(document, options(document), "--a", 2, None)


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("python t.py --a 1 --b 2\n", "--a", "python t.py --b 2\n"),
        ("python t.py --a 1 --b\n", "--b", "python t.py --a 1\n"),
        ("python t.py --s 1 2 --b\n", "--s", "python t.py --b\n"),
        (ONE_A_LINE, "--a", "torchrun t.py \\\n    --b 2   # last\n"),
        (ONE_A_LINE, "--b", "torchrun t.py \\\n    --a 1   # last\n"),
        (ONE_A_LINE.replace("\n", "\r\n"), "--b", "torchrun t.py \\\r\n    --a 1   # last\r\n"),
        (ONE_A_LINE.replace("\n", "\r"), "--b", "torchrun t.py \\\r    --a 1   # last\r"),
        ('A=(\n  --a 1  # c\n  --b 2\n)\nt.py "${A[@]}"\n', "--a", 'A=(\n  --b 2\n)\nt.py "${A[@]}"\n'),
        ('A="--a 1 --b 2"\nt.py $A\n', "--a", 'A="--b 2"\nt.py $A\n'),
    ],
)
def test_delete(text: str, key: str, expected: str) -> None:
    document = parse(text, "t.sh")
    entry = options(document).entry(key)
    assert entry is not None
    edited = apply_edits(text, [delete_entry(document, options(document), entry)])
    assert edited == expected
    assert options(parse(edited, "t.sh")).keys() == options(document).keys() - {key}


FLAG = st.sampled_from(["--a{} 1", "--b{}='é x'", '--c{} "y"', "--d{}", "--e{} 1 2", "-f{}=0.5", "--g{} true"])
GAP = st.sampled_from([" ", "  ", " \\\n  ", "\\\n\t ", " \\\n    "])
TAIL = st.sampled_from(["", "\n", "  # comment\n", " > log\n", " 2>&1 | tee log\n", " &\n"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(GAP, FLAG), min_size=1, max_size=6), TAIL, st.sampled_from(["\n", "\r\n", "\r"]), st.data())
def test_edits_of_generated_commands(
    flags: list[tuple[str, str]], tail: str, newline: str, data: st.DataObject
) -> None:
    words = "".join(gap + flag.format(index) for index, (gap, flag) in enumerate(flags))
    text = f"# head\npython t.py{words}{tail}".replace("\n", newline)
    document = parse(text, "t.sh")
    mapping = options(document)
    before = plain(mapping)
    assert isinstance(before, dict)
    entry = data.draw(st.sampled_from(mapping.entries))
    inserted = apply_edits(text, [insert_entry(document, mapping, "--new", 4, entry.key)])
    assert plain(options(parse(inserted, "t.sh"))) == {**before, "--new": 4}
    deleted = apply_edits(text, [delete_entry(document, mapping, entry)])
    assert plain(options(parse(deleted, "t.sh"))) == {key: value for key, value in before.items() if key != entry.key}
    node: Node = entry.value
    if isinstance(node, Scalar):
        edit = replace_value(document, node, 77)
        changed = apply_edits(text, [edit])
        assert plain(options(parse(changed, "t.sh"))) == {**before, entry.key: 77}
        assert len(changed) - len(text) == len(edit.text) - (edit.span.end - edit.span.start)
