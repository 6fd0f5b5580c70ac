"""Commands inside job files: found, placed, edited in place or refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.roundtrip import files_under
from vramlint import sources
from vramlint.errors import EditRefused, SourceError
from vramlint.sources.embedded import Script, Words, scripts, words
from vramlint.sources.model import Document, Scalar, Sequence, apply_edits, plain

CORPUS = Path(__file__).parents[2] / ".." / "shared" / "corpus"

SKYPILOT = """\
resources:
  accelerators: A100:8
setup: |
  pip install -r requirements.txt
run: |
  # one node
  export BATCH=4
  torchrun --nproc_per_node 8 train.py \\
    --batch-size 8 \\
    --lr 1e-4  # é
envs: {A: 1}
"""
GITHUB = """\
on: push
jobs:
  train:
    steps:
      - uses: actions/checkout@v4
      - run: python train.py --batch-size 8
      - name: quoted
        run: "python train.py --name \\"a b\\" --batch-size 8"
      - run: >-
          python train.py
          --batch-size 8
          --epochs 3
      - shell: pwsh
        run: python train.py --batch-size 8
      - run: echo "${{ matrix.x }}"
"""
KUBERNETES = """\
apiVersion: batch/v1
kind: Job
spec:
  template:
    spec:
      containers:
        - name: t
          command: [torchrun, --nproc_per_node=8, train.py]
          args:
            - --batch-size=8   # per GPU
            - "--lr"
            - '1e-4'
            - --amp
        - name: s
          command: ["bash", "-ec"]
          args:
            - |
              cd /work
              python train.py --batch-size 8
"""
SLURM = "job:\n  name: x\n  script: 'srun python train.py --batch-size 8 --tag ''v1'''\n"


def read(text: str) -> Document:
    return sources.read("job.yaml", text.encode())


def option(document: Document, script: Script | Words, name: str) -> Scalar:
    command = script.command if isinstance(script, Words) else script.shell.commands[-1]
    node = command.options.get(name)
    assert isinstance(node, Scalar)
    return node


def test_what_is_found() -> None:
    skypilot, github, kubernetes = map(read, (SKYPILOT, GITHUB, KUBERNETES))
    assert [script.key for script in scripts(skypilot)] == ["setup", "run"]
    assert len(list(scripts(github))) == 4  # the step of another shell is none
    assert [script.key for script in scripts(kubernetes)] == ["args"]
    (listed,) = words(kubernetes)
    assert listed.command.program == "train.py"
    assert plain(listed.command.options) == {"--batch-size": 8, "--lr": 1e-4, "--amp": True}
    assert plain(listed.command.launchers[0].options) == {"--nproc_per_node": 8}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("text", [SKYPILOT, GITHUB, KUBERNETES, SLURM])
def test_every_option_is_placed_where_it_stands(text: str, newline: str) -> None:
    document = read(text.replace("\n", newline))
    found = 0
    for script in scripts(document):
        for command in script.shell.commands:
            for entry in command.options.entries:
                node = entry.value
                if isinstance(node, Scalar) and node.text:
                    place = script.place(node.span)
                    source = document.text[place.start : place.end].replace('\\"', '"').replace("''", "'")
                    assert source == node.text
                    found += 1
    for listed in words(document):
        for entry in listed.command.options.entries:
            node = entry.value
            if isinstance(node, Scalar) and node.text:
                assert document.text[node.span.start : node.span.end].strip("'\"") == node.text.strip("'\"")
                found += 1
    assert found >= 2


@pytest.mark.parametrize(
    ("text", "number", "before", "after"),
    [
        (SKYPILOT, 1, "--batch-size 8 ", "--batch-size 4 "),
        (GITHUB, 0, "- run: python train.py --batch-size 8", "- run: python train.py --batch-size 4"),
        (GITHUB, 1, 'b\\" --batch-size 8', 'b\\" --batch-size 4'),
        (GITHUB, 2, "--batch-size 8\n          --epochs", "--batch-size 4\n          --epochs"),
        (KUBERNETES, 0, "python train.py --batch-size 8", "python train.py --batch-size 4"),
        (SLURM, 0, "--batch-size 8", "--batch-size 4"),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_value_is_replaced_in_every_style(text: str, number: int, before: str, after: str, newline: str) -> None:
    text, before, after = (part.replace("\n", newline) for part in (text, before, after))
    document = read(text)
    script = list(scripts(document))[number]
    edit = script.edit(sources.replace_value(script.shell, option(document, script, "--batch-size"), 4))
    assert text.count(before) == 1
    assert apply_edits(text, [edit]) == text.replace(before, after)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_flag_is_inserted_on_a_line_of_its_own_and_taken_out_again(newline: str) -> None:
    text = SKYPILOT.replace("\n", newline)
    document = read(text)
    script = list(scripts(document))[1]
    options = script.shell.commands[-1].options
    edit = script.edit(sources.insert_entry(script.shell, options, "--accum", 2, "--batch-size"))
    edited = apply_edits(text, [edit])
    assert edited == text.replace(f"8 \\{newline}    --lr", f"8 \\{newline}    --accum 2 \\{newline}    --lr")
    again = read(edited)
    script = list(scripts(again))[1]
    options = script.shell.commands[-1].options
    added = options.entry("--accum")
    assert added is not None
    assert apply_edits(edited, [script.edit(sources.delete_entry(script.shell, options, added))]) == text


@pytest.mark.parametrize(
    ("name", "value", "before", "after"),
    [
        ("--batch-size", 4, "--batch-size=8   #", "--batch-size=4   #"),
        ("--lr", 2e-4, "'1e-4'", "'0.0002'"),
    ],
)
def test_a_word_of_a_list_is_replaced(name: str, value: float, before: str, after: str) -> None:
    document = read(KUBERNETES)
    (listed,) = words(document)
    edit = listed.replace_value(option(document, listed, name), value)
    assert apply_edits(KUBERNETES, [edit]) == KUBERNETES.replace(before, after)


def test_a_word_stays_a_string() -> None:
    text = "command: [python, t.py, --batch, '8']\n"
    document = read(text)
    (listed,) = words(document)
    edit = listed.replace_value(option(document, listed, "--batch"), 16)
    assert apply_edits(text, [edit]) == text.replace("'8'", "'16'")


def test_refusals_say_why() -> None:
    document = read(KUBERNETES)
    (listed,) = words(document)
    with pytest.raises(EditRefused, match="one word"):
        listed.replace_value(option(document, listed, "--amp"), value=False)
    shared = read("a: &c python t.py --b 8\nrun: *c\n")
    assert not list(scripts(shared))  # an alias is no text of its own
    anchored = read("run: &c python t.py --b 8\nb: *c\n")
    (script,) = scripts(anchored)
    edit = sources.replace_value(script.shell, option(anchored, script, "--b"), 4)
    with pytest.raises(EditRefused, match="more than one place"):
        script.edit(edit)
    stated = read("run: |2\n    python t.py --b 8\n")
    (script,) = scripts(stated)
    with pytest.raises(EditRefused, match="cannot be told"):
        script.edit(sources.replace_value(script.shell, option(stated, script, "--b"), 4))
    plain_text = read("run: python t.py --b 8\n")
    (script,) = scripts(plain_text)
    edit = sources.replace_value(script.shell, option(plain_text, script, "--b"), "a: b")
    with pytest.raises(EditRefused):
        script.edit(edit)


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus beside the checkout")
def test_every_option_inside_real_job_files(capsys: pytest.CaptureFixture[str]) -> None:
    found = placed = replaced = refused = 0
    for path in files_under([str(CORPUS)]):
        data = path.read_bytes()
        if path.suffix not in (".yaml", ".yml") or not any(key in data for key in (b"run:", b"command:", b"args:")):
            continue
        try:
            document = sources.read(str(path), data)
        except SourceError:
            continue
        for script in scripts(document):
            found += 1
            assert script.offsets is not None, (path, script.scalar.span)
            for command in script.shell.commands:
                for entry in command.options.entries:
                    nodes = entry.value.items if isinstance(entry.value, Sequence) else [entry.value]
                    for node in nodes:
                        if not isinstance(node, Scalar) or not node.text:
                            continue
                        place = script.place(node.span)
                        placed += document.text[place.start : place.end] == node.text
                        try:
                            edit = script.edit(sources.replace_value(script.shell, node, 7_654))
                        except EditRefused:
                            refused += 1
                            continue
                        again = sources.read(str(path), sources.encode(document, apply_edits(document.text, [edit])))
                        assert "7654" in apply_edits(document.text, [edit])
                        assert [comment.text for comment in again.comments] == [c.text for c in document.comments]
                        replaced += 1
    with capsys.disabled():
        print(f"\n{found} scripts, {placed} options placed, {replaced} replaced, {refused} refused", end=" ")
    assert found > 20
    assert replaced > 20
