"""Commands of shell text: launchers, flags, variables, job directives."""

from __future__ import annotations

from pathlib import Path

import pytest

from vramlint.errors import SourceError
from vramlint.sources.model import Command, Document, Mapping, Scalar, Sequence, Span, Style, Unknown, plain
from vramlint.sources.shell_reader import parse, parse_argv, parse_commands


def command(text: str) -> Command:
    """The one command of ``text`` that has options."""
    (found,) = [found for found in parse(text, "t.sh").commands if found.options.entries or found.program != "x"]
    return found


@pytest.mark.parametrize(
    ("text", "program", "launchers"),
    [
        ("python train.py --a 1", "train.py", []),
        ("python3 -u -W ignore train.py --a 1", "train.py", []),
        ("/opt/conda/bin/python3.11 train.py --a 1", "train.py", []),
        ("$PYTHON train.py --a 1", "train.py", []),
        ("python -m pkg.train --a 1", "pkg.train", []),
        ("./train.py --a 1", "./train.py", []),
        ("torchrun --nproc_per_node=2 train.py --a 1", "train.py", [("torchrun", {"--nproc_per_node": 2})]),
        ("torchrun --standalone train.py --a 1", "train.py", [("torchrun", {"--standalone": True})]),
        (
            "torchrun --no-python --nnodes 2 -m pkg --a 1",
            "pkg",
            [("torchrun", {"--no-python": True, "--nnodes": 2, "-m": True})],
        ),
        (
            "python -m torch.distributed.launch --nproc_per_node 4 train.py --a 1",
            "train.py",
            [("torch.distributed.launch", {"--nproc_per_node": 4})],
        ),
        (
            "accelerate launch --multi_gpu --num_processes 2 --config_file a.yaml train.py --a 1",
            "train.py",
            [("accelerate launch", {"--multi_gpu": True, "--num_processes": 2, "--config_file": "a.yaml"})],
        ),
        ("accelerate launch -m pkg.cli x --a 1", "pkg.cli", [("accelerate launch", {"-m": True})]),
        (
            "deepspeed --num_gpus 2 --no_ssh train.py --a 1",
            "train.py",
            [("deepspeed", {"--num_gpus": 2, "--no_ssh": True})],
        ),
        (
            "mpirun -np 8 -mca btl tcp --allow-run-as-root -x A python train.py --a 1",
            "train.py",
            [("mpirun", {"-np": 8, "-mca": ["btl", "tcp"], "--allow-run-as-root": True, "-x": "A"})],
        ),
        (
            "srun -N 2 --ntasks-per-node=8 -u torchrun --nnodes 2 train.py --a 1",
            "train.py",
            [("srun", {"-N": 2, "--ntasks-per-node": 8, "-u": True}), ("torchrun", {"--nnodes": 2})],
        ),
        (
            "uv run --with torch --frozen python train.py --a 1",
            "train.py",
            [("uv run", {"--with": "torch", "--frozen": True})],
        ),
        ("uv run train.py --a 1", "train.py", [("uv run", {})]),
        ("poetry run python train.py --a 1", "train.py", [("poetry run", {})]),
        ("nohup time env A=1 python train.py --a 1 > log 2>&1 &", "train.py", []),
        ("timeout 60 nice -n 5 python train.py --a 1", "train.py", []),
        ("bash tools/dist_train.sh --a 1", "tools/dist_train.sh", []),
        ("$LAUNCH --x train.py --a 1", "train.py", [("$LAUNCH", {})]),
        ("docker run image python train.py --a 1", "train.py", []),
        ("uv pip install --a 1", "uv", []),
    ],
)
def test_launchers_are_peeled(text: str, program: str, launchers: list[object]) -> None:
    found = command(text)
    assert found.program == program
    assert [(launcher.name, plain(launcher.options)) for launcher in found.launchers] == launchers
    assert plain(found.options.get("--a")) == 1


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("--batch 8", {"--batch": 8}),
        ("--batch=8", {"--batch": 8}),
        ("--size 1024 768 --amp", {"--size": [1024, 768], "--amp": True}),
        ("-b 8 -j4", {"-b": 8, "-j": 4}),
        ("--lr 1e-4 --seed -1 --w -0.5", {"--lr": 1e-4, "--seed": -1, "--w": -0.5}),
        ("--pin False --no-ema --x true", {"--pin": False, "--no-ema": True, "--x": True}),
        ("--name 'a b' --other=\"c d\"", {"--name": "a b", "--other": "c d"}),
        ("--empty= --quoted ''", {"--empty": "", "--quoted": ""}),
        ("--a 1 -- b", {"--a": 1}),
        ('"--a" 1', {"--a": 1}),
        ("--a 1 \\\n  --b 2 \\\r\n  --c 3 # d", {"--a": 1, "--b": 2, "--c": 3}),
    ],
)
def test_flags(text: str, options: dict[str, object]) -> None:
    assert plain(command(f"python train.py {text}").options) == options


@pytest.mark.parametrize(
    ("text", "program", "subcommand", "positionals", "overrides"),
    [
        ("yolo detect train batch=16 device=0", "yolo", "detect", ["detect", "train"], {"batch": 16, "device": 0}),
        ("python yolo3d.py train --batch 8", "yolo3d.py", "train", ["train"], {}),
        ("trl sft --a 1", "trl", "sft", ["sft"], {}),
        ("axolotl train a.yaml", "axolotl", "train", ["train", "a.yaml"], {}),
        ("tune run --nnodes 2 full_ft --config a.yaml b=4", "tune", "run", ["run", "full_ft"], {"b": 4}),
        ("python t.py cfg.py --cfg-options a.b=1 c=2", "t.py", None, ["cfg.py"], {"a.b": 1, "c": 2}),
        ("python t.py +x.y=1 ++z='a b' 'w=3' ~v", "t.py", None, ["~v"], {"x.y": 1, "z": "a b", "w": 3}),
        ("python t.py --config-name a trainer.devices=8", "t.py", None, [], {"trainer.devices": 8}),
    ],
)  # fmt: skip
def test_words_without_a_flag(
    text: str, program: str, subcommand: str | None, positionals: list[str], overrides: dict[str, object]
) -> None:
    found = command(text)
    assert (found.program, found.subcommand) == (program, subcommand)
    assert [word.value for word in found.positionals] == positionals
    assert plain(found.overrides) == overrides


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("B=8\npython t.py --b $B", 8),
        ('B="8"\npython t.py --b "$B"', 8),
        ("B=${B:-8}\npython t.py --b ${B}", 8),
        ("B=${1:-8}; python t.py --b $B", 8),
        ("python t.py --b ${B:-8}", 8),
        ("B=$((2 * 4)); python t.py --b $B", 8),
        ("export B=8 && python t.py --b $B", 8),
        ("N=4; B=b$N; python t.py --b ${B}_x", "b4_x"),
        ("if x; then B=8; else B=8; fi; python t.py --b $B", 8),
        ("if x; then B=8; python t.py --b $B; fi", 8),
        ("for i in 1 2; do B=8; python t.py --b $B; done", 8),
        ("B=8; (B=4); python t.py --b $B", 8),
        ("{ B=8; }; python t.py --b $B", 8),
        ("case $1 in a|b) B=8; python t.py --b $B;; esac", 8),
        ("run() { python t.py --b 8; }", 8),
        ("function run { python t.py --b 8; }", 8),
        ("A=(--a 1)\nA+=(--b 8)\npython t.py \"${A[@]}\"", 8),
        ("A=(\n  --b 8  # c\n)\npython t.py ${A[*]}", 8),
        ('A="--a 1 --b 8"\npython t.py $A', 8),
        ('A="\n  --a 1 \\\n  --b 8\n"\npython t.py $A', 8),
        ('N=8\nA="--a 1"\nA="$A --b $N"\npython t.py $A', 8),
        ('A="--a 1"\nA+=" --b 8"\npython t.py $A', 8),
        ("while read x; do echo; done < f; python t.py --b 8", 8),
        ("if [[ $x =~ ^(a|b)$ && -f y ]]; then python t.py --b 8; fi", 8),
    ],
)  # fmt: skip
def test_variables_that_are_known(text: str, value: object) -> None:
    found = command(text)
    assert plain(found.options.get("--b")) == value


@pytest.mark.parametrize(
    "text",
    [
        "python t.py --b $B",
        "python t.py --b $1",
        "B=$(nproc); python t.py --b $B",
        "B=`nproc`; python t.py --b $B",
        "B=$((N * 4)); python t.py --b $B",
        "for B in 1 2; do python t.py --b $B; done",
        "if x; then B=8; else B=4; fi; python t.py --b $B",
        "B=8; if x; then B=4; fi; python t.py --b $B",
        "B=8; while x; do python t.py --b $B; B=4; done",
        "B=8; read B; python t.py --b $B",
        "B=8; case $1 in a) B=4;; esac; python t.py --b $B",
        "B=8; f() { B=4; }; python t.py --b $B",
        "B=8; unset B; python t.py --b $B",
        "python t.py --b ${B%x}",
        "B=8; B[1]=4; python t.py --b $B",
    ],
)
def test_variables_that_are_not(text: str) -> None:
    assert isinstance(command(text).options.get("--b"), Unknown)


def test_where_a_variable_is_spelled() -> None:
    found = command("B=8\npython t.py --b $B")
    node = found.options.get("--b")
    assert isinstance(node, Scalar)
    assert node.definition is not None
    assert (node.style, node.shared, node.definition.span) == (Style.COMPUTED, False, Span(2, 3))
    again = command("B=8\necho $B\npython t.py --b $B").options.get("--b")
    assert isinstance(again, Scalar)
    assert again.shared


def test_environment() -> None:
    text = "export A=0,1\nB=2\nexport B\nC=3\nD=4 env E=5 python t.py --x 1\n"
    assert plain(command(text).environment) == {"A": "0,1", "B": 2, "D": 4, "E": 5}


def test_several_commands_and_noise() -> None:
    text = (
        "cd x && pip install y; echo a | tee b\npython a.py --x 1 && python b.py --x 2 | tee log\n"
        "cat <<E\npython c.py --x 3\nE\n"
    )
    assert [found.program for found in parse(text, "t.sh").commands] == ["a.py", "b.py"]


def test_batch_directives() -> None:
    text = (
        "#!/bin/bash\n#SBATCH --nodes=2 --gres=gpu:8\n#SBATCH -N 4  # four\n##SBATCH --no=1\n"
        "  #SBATCH --not=1\nsrun x\n"
    )
    document = parse(text, "t.sh")
    assert plain(document.batch_directives) == {"--nodes": 2, "--gres": "gpu:8", "-N": 4}
    assert_places(document)


def test_root_holds_the_assignments() -> None:
    document = parse("A=1\nif x; then B=2; fi\nexport C='d'\n", "t.sh")
    assert plain(document.root) == {"A": 1, "C": "d"}


def assert_places(document: Document) -> None:
    mappings = [
        document.root,
        *(each for found in document.commands for each in (found.options, found.overrides, found.environment)),
    ]
    for mapping in mappings:
        assert isinstance(mapping, Mapping)
        for entry in mapping.entries:
            items = entry.value.items if isinstance(entry.value, Sequence) else [entry.value]
            for item in items:
                assert isinstance(item, (Scalar, Unknown))
                assert document.text[item.span.start : item.span.end] == item.text
            key = document.text[entry.key_span.start : entry.key_span.end].strip("'\"")
            assert key == entry.key


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_span_holds_its_text(newline: str) -> None:
    text = (
        "V=ü  # ñ\nexport A='b c'\nX=(\n  --x \"é\"  # c\n)\n"
        'D=1 torchrun --nproc_per_node 2 t.py \\\n\t--a=\'é\' \\\n\t--b $A "k=v" +m.n="o" "${X[@]}" --sw\n'
    ).replace("\n", newline)
    document = parse(text, "t.sh")
    assert_places(document)
    assert plain(document.commands[0].options) == {"--a": "é", "--b": ["b", "c"], "--x": "é", "--sw": True}


def test_commands_inside_another_file() -> None:
    text = "run: |\n  export A=1\n  python t.py --b 8\n"
    start = text.index("export")
    (found,) = parse_commands(text[start:], start)
    node = found.options.get("--b")
    assert isinstance(node, Scalar)
    assert text[node.span.start : node.span.end] == "8"
    assert plain(found.environment) == {"A": 1}


def test_a_list_of_words() -> None:
    text = '["torchrun", "--nproc_per_node=2", "t.py", "--batch", "8", "--lr=1e-4", "a=b c"]'
    words = []
    at = 0
    for value in ("torchrun", "--nproc_per_node=2", "t.py", "--batch", "8", "--lr=1e-4", "a=b c"):
        at = text.index(f'"{value}"', at)
        words.append(Scalar(Span(at, at + len(value) + 2), f'"{value}"', value, Style.DOUBLE))
    found = parse_argv(words)
    assert found is not None
    assert (found.program, plain(found.options), plain(found.overrides)) == (
        "t.py",
        {"--batch": 8, "--lr": 1e-4},
        {"a": "b c"},
    )
    rate = found.options.get("--lr")
    assert isinstance(rate, Scalar)
    assert text[rate.span.start : rate.span.end] == "1e-4"


def test_nothing_is_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    parse(f"touch {mark}\nX=$(touch {mark})\npython t.py --b `touch {mark}`\n", "t.sh")
    assert not mark.exists()


@pytest.mark.parametrize("line", ["for i in 1 2; do\n", "for i in 1 2; do\nA$i=1\ndone\n", "A=1\nwhile b; do A=2\n"])
def test_loops_do_not_look_through_the_script_again_and_again(line: str) -> None:
    import contextlib
    import time

    started = time.process_time()
    with contextlib.suppress(SourceError):
        parse(line * (240_000 // len(line)), "loops.sh")
    assert time.process_time() - started < 3


LINE = "torchrun --nproc_per_node 2 train.py --a 1"


@pytest.mark.parametrize(
    ("text", "launchers"),
    [
        (f'C="{LINE}"\nC+=" --b 2"\neval $C\n', ["torchrun"]),
        (f'C="{LINE} --b 2"\necho $C\neval "$C"\n', ["torchrun"]),
        (f'C="{LINE} --b 2 2>&1 | tee x.log"\neval "$C"\n', ["torchrun"]),
        (f'C="cd x && {LINE} --b 2; echo done"\neval $C\n', ["torchrun"]),
        (f'eval "{LINE} --b 2 > log"\n', ["torchrun"]),
        (f"eval {LINE} --b 2\n", ["torchrun"]),
        (f'bash -c "{LINE} --b 2"\n', ["torchrun"]),
        (f"/bin/sh -lc 'set -e\n  {LINE} \\\n    --b 2'\n", ["torchrun"]),
        (f'srun -N 2 bash -c "cd x; {LINE} --b 2"\n', ["srun", "torchrun"]),
        (f"srun -N 2 bash -e -c \"bash -c '{LINE} --b 2'\"\n", ["srun", "torchrun"]),
        (f'B=2\nbash -c "{LINE} --b $B"\n', ["torchrun"]),
        (f"docker run --rm --gpus all -v a:b image:1 {LINE} --b 2\n", ["torchrun"]),
        (f"singularity exec --nv image.sif bash -c '{LINE} --b 2'\n", ["torchrun"]),
        (f"ray job submit --address=x --runtime-env-json='{{}}' -- {LINE} --b 2\n", ["torchrun"]),
        ("read -r -d '' C <<EOF\ntrain.py --a 1 \\\n  --b 2\nEOF\ntorchrun --nproc_per_node 2 $C\n", ["torchrun"]),
        ("C=$(cat <<EOF\ntrain.py --a 1\n  --b 2\nEOF\n)\ntorchrun --nproc_per_node 2 $C\n", ["torchrun"]),
        ('C="$(cat <<-EOF\n\ttrain.py --a 1\n\t--b 2\n\tEOF\n)"\ntorchrun --nproc_per_node 2 $C\n', ["torchrun"]),
    ],
)
def test_commands_inside_words(text: str, launchers: list[str]) -> None:
    (found,) = [each for each in parse(text, "t.sh").commands if each.program == "train.py"]
    assert [each.name for each in found.launchers] == launchers
    assert {entry.key: plain(entry.value) for entry in found.options.entries} == {"--a": 1, "--b": 2}
    for entry in found.options.entries:
        node = entry.value
        assert isinstance(node, Scalar)
        if node.definition is None:
            assert text[node.span.start : node.span.end] == str(node.value)


@pytest.mark.parametrize(
    "text",
    [
        "read -r C <<EOF\ntrain.py --a 1\nEOF\npython $C\n",  # one line, of which nobody knows what is split off
        "read -r -d '' C <<'EOF'\ntrain.py --a $A\nEOF\npython $C\n",
        "eval\n",
        "eval $UNSET\n",
        "bash -c\n",
        'bash -c ""\n',
        "bash -c $1\n",
    ],
)
def test_words_that_hold_no_known_command(text: str) -> None:
    assert [each.program for each in parse(text, "t.sh").commands if each.program == "train.py"] == []


def test_an_export_reaches_the_inner_command() -> None:
    text = f"export A=1\nB=2 srun bash -c 'C=3 {LINE}'\n"
    (found,) = [each for each in parse(text, "t.sh").commands if each.program == "train.py"]
    assert {entry.key: plain(entry.value) for entry in found.environment.entries} == {"A": 1, "B": 2, "C": 3}


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ('srun bash -c "python train.py --nodes \\$SLURM_NNODES --b 2"\n', "--nodes", None),
        ("LR=3\nbash -c \"python train.py --lr '$LR' --b 2\"\n", "--lr", None),
        ('bash -c "python train.py --n=\\"a\\" --b 2"\n', "--n", None),
        ("C=\"python train.py --lr '1e-4' --b 2\"\neval $C\n", "--lr", None),
        ("C=\"python train.py --lr='1e-4' --b 2\"\neval $C\n", "--lr", None),
        ('C="python train.py --lr \'1\' --b 2 2>&1 | tee x"\nbash -c "cd x; $C"\n', "--lr", None),
        ("bash -c \"python train.py --lr '1' --b 2\"\n", "--lr", 1),
    ],
)
def test_quotes_that_another_shell_reads(text: str, key: str, value: int | None) -> None:
    """What the outer shell changes, and what a variable quotes, is unknown instead of the text in the file."""
    (found,) = [each for each in parse(text, "t.sh").commands if each.program != "tee"]
    read = {entry.key: plain(entry.value) for entry in found.options.entries}
    assert (found.program, read["--b"], read[key]) == ("train.py", 2, value)
    assert found.positionals == []


@pytest.mark.parametrize(
    "text",
    [
        'C="python train.py > log --b 2"\neval $C\n',
        'C="python train.py 2>&1 --b 2 >> log"\neval $C\n',
        'C="cd x > log; python train.py --b 2"\neval $C\n',
        'C="cd x 2>&1; python train.py --b 2; ls"\neval $C\n',
    ],
)
def test_words_behind_a_redirection(text: str) -> None:
    (found,) = parse(text, "t.sh").commands
    assert {entry.key: plain(entry.value) for entry in found.options.entries} == {"--b": 2}
    assert found.positionals == []


@pytest.mark.parametrize(
    ("text", "programs"),
    [
        ('eval "$(conda shell.bash hook)"\npython train.py\n', ["train.py"]),
        ("bash -c 'python t.py --n '\\''a'\\'\npython train.py\n", ["train.py"]),
        ("python train.py --shell bash -c 'rm x.py'\n", ["train.py"]),
    ],
)
def test_texts_that_are_no_commands(text: str, programs: list[str]) -> None:
    assert [each.program for each in parse(text, "t.sh").commands] == programs
