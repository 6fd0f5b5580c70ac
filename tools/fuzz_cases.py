"""The inputs of ``tools/fuzz.py``: seeds of every syntax and ways to spoil them, decided by one random generator."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from vramlint.sources.model import Syntax

ROOT = Path(__file__).parents[1]
SUFFIX = {
    Syntax.YAML: (".yaml", ".yml"),
    Syntax.JSON: (".json",),
    Syntax.TOML: (".toml",),
    Syntax.PYTHON: (".py",),
    Syntax.SHELL: (".sh",),
}
Seeds = dict[Syntax, list[bytes]]

WORDS = ["batch_size", "lr", "model", "a b", "x-y", "on", "64", "é日", "optimizer.name", "<<", "k:v", "", "_base_"]
VALUES = [
    "1", "65_536", "1e-4", "1:59:59", "true", "no", "null", "~", "''", '"a\\n\\u00e9"', "[1, 2]", "{a: 1}", "inf",
    "0x1F", "017", "1_", "-", "&a x", "*a", "!!int 5", "!new:x.Y", "${a.b}", "${B:-4}", "$(nproc)", "1979-05-27",
    "'''t'''", "1024 * 64", "2 ** 9", "dict(a=1)", "lambda: 0", "|\n  text\n", ">-\n  text\n", "x # y",
]  # fmt: skip
TOML_VALUES = [
    "1",
    "65_536",
    "1e-4",
    "true",
    "'t'",
    '"a\\n"',
    "[1, [2]]",
    "{ a = 1 }",
    "nan",
    "1979-05-27",
    '"""x\n"""',
]
TOKENS = {
    Syntax.YAML: [
        "- ", "? ", ": ", "&a ", "*a", "<<: *a\n", "---\n", "...\n", "|", ">2-", "!!binary ", "%YAML 1.1\n", "[", "]",
        "{", "}", ",", "#", "'", '"', "\t", "@", "`", "\\", "- - - ", "!<x> ", "&a [*a, *a]\n",
    ],
    Syntax.JSON: ["{", "}", "[", "]", ",", ":", '"', "//", "/*", "*/", "\\u", "\\ud800", "-", "1e999", "NaN", "#"],
    Syntax.TOML: ["[a]\n", "[[a]]\n", "a.b.c = 1\n", '"""', "'''", "=", "{", "}", "[", "]", ",", "#", "\\U0010FFFF"],
    Syntax.PYTHON: [
        "(", ")", "[", "{", ":", "=", "**", " if x else ", "for x in y:\n", "class A(B):\n    ", "def f():\n", "'''",
        "from a import b\n", "with read_base():\n    from .x import *\n", "_base_ = ['./x.py']\n", "\\\n", "f'{x}'",
        "@dataclass\n", "x = x * x\n", "10 ** 9 ** 9", "'a' * 10**9", "lambda ", "1 if 1 else ", "~-+",
    ],
    Syntax.SHELL: [
        "$(", "${", "}", ")", "`", "'", '"', "\\\n", "<<EOF\n", "EOF\n", "&&", "|", ";", "#", "$((1+1))", "\\",
        "for i in 1 2; do\n", "done\n", "if [ 1 ]; then\n", "fi\n", "case x in\n", "A=$A$A\n", "export ",
        "#SBATCH -N 2\n",
    ],
}  # fmt: skip


def load_seeds() -> Seeds:
    """What lies about: the corpus beside the checkout, the wheels of configs, the project's own files."""
    seeds: Seeds = {syntax: [] for syntax in Syntax}
    for folder in (ROOT / ".." / "shared" / "corpus", ROOT / "examples", ROOT / "vramlint", ROOT / "tools"):
        for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
            for syntax, suffixes in SUFFIX.items():
                if path.suffix in suffixes and path.stat().st_size < 60_000:
                    seeds[syntax].append(path.read_bytes())
    for wheel in sorted((ROOT / ".cache" / "wheels").glob("mm*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if "/configs/" in name and name.endswith(".py")]
            seeds[Syntax.PYTHON].extend(archive.read(name) for name in names[::4])
    return seeds


def make_case(seed: int, number: int, seeds: Seeds) -> tuple[Syntax, bytes]:
    """Case ``number`` of the run ``seed``: always the same bytes for the same seeds."""
    random = Random(f"{seed}:{number}")
    syntax = list(Syntax)[number % len(Syntax)]
    known = seeds[syntax]
    data = random.choice(known) if known and random.random() < 0.6 else generated(syntax, random).encode()
    for _ in range(random.choice((0, 0, 1, 1, 1, 2, 3, 6))):
        data = random.choice(MUTATIONS)(data, syntax, random, known)
    return syntax, data


def generated(syntax: Syntax, random: Random) -> str:
    """A small document of the syntax, mostly well-formed."""
    newline = random.choice(("\n", "\n", "\r\n", "\r"))
    return _GENERATORS[syntax](random).replace("\n", newline)


def _yaml(random: Random) -> str:
    lines: list[str] = []
    depth = 0
    for _ in range(random.randrange(1, 30)):
        key = random.choice(("- ", "", "", "", "? ")) + random.choice(WORDS)
        opens = random.random() < 0.25
        lines.append("  " * depth + f"{key}:" + ("" if opens else f" {random.choice(VALUES)}"))
        depth = depth + 1 if opens else random.randrange(depth + 1)
    return "\n".join(lines) + random.choice(("", "\n"))


def _tree(random: Random, depth: int = 0) -> object:
    kind = random.randrange(6 if depth < 5 else 3)
    if kind == 0:
        return random.choice((None, True, 1, -2.5e-7, 10**30, 0))
    if kind < 3:
        return random.choice(WORDS)
    if kind < 4:
        return [_tree(random, depth + 1) for _ in range(random.randrange(4))]
    return {random.choice(WORDS): _tree(random, depth + 1) for _ in range(random.randrange(5))}


def _json(random: Random) -> str:
    tree = {word: _tree(random) for word in WORDS[: random.randrange(8)]}
    return json.dumps(tree, indent=random.choice((None, 2, 4)), ensure_ascii=random.random() < 0.5)


def _toml(random: Random) -> str:
    keys = ["a", "b.c", '"d e"', "f", "g.h.i", "'j'"]
    lines = []
    for table in ["", *random.sample(["[t]", "[u.v]", "[[w]]", "[[w]]", "[w.x]"], 3)]:
        lines.append(table)
        lines += [f"{key} = {random.choice(TOML_VALUES)} # note" for key in random.sample(keys, random.randrange(6))]
    return "\n".join(lines)


def _python(random: Random) -> str:
    lines = []
    for number in range(random.randrange(1, 15)):
        name, value = random.choice(("batch_size", "lr", "model", "x", "cfg")), random.choice(VALUES)
        lines.append(
            random.choice(
                (
                    f"{name} = {value}",
                    f"{name}: int = {value}",
                    f"class C{number}(Base):\n    {name} = {value}\n    y = {name} * 2",
                    f"parser.add_argument('--{name}', type=int, default={value})",
                    f"{name} = dict(type='A', {name}={value}, _delete_=True)",
                    f"TrainingArguments({name}={value}, **{name})",
                    f"def f():\n    {name} = {name} + [{name}]\n    model.train({name}={value})",
                    f"for {name} in range(10):\n    {name} = {value}",
                )
            )
        )
    return "\n".join(lines) + "\n"


def _shell(random: Random) -> str:
    lines = ["#!/bin/bash", "#SBATCH --nodes=2"]
    for _ in range(random.randrange(1, 10)):
        flag, value = random.choice(("--batch-size", "-b", "model.lr", "+a.b")), random.choice(VALUES)
        lines.append(
            random.choice(
                (
                    f"BATCH={value}",
                    f"torchrun --nproc_per_node=${{N:-4}} train.py {flag} {value} \\\n  {flag}={value}",
                    f"srun accelerate launch --num_processes $N train.py {flag}={value} # note",
                    f"cat <<EOF\n{value}\nEOF",
                    f"if [ $N -gt 1 ]; then python train.py {flag} {value}; fi",
                    f"for x in 1 2; do python -m a.b {flag} $x; done",
                    f"CUDA_VISIBLE_DEVICES=0,1 python train.py {flag} \"${{BATCH}}\" '{value}' | tee log",
                )
            )
        )
    return "\n".join(lines) + "\n"


_GENERATORS: dict[Syntax, Callable[[Random], str]] = {
    Syntax.YAML: _yaml,
    Syntax.JSON: _json,
    Syntax.TOML: _toml,
    Syntax.PYTHON: _python,
    Syntax.SHELL: _shell,
}

Mutation = Callable[[bytes, Syntax, Random, list[bytes]], bytes]


def _slice(data: bytes, random: Random, longest: int = 200) -> tuple[int, int]:
    start = random.randrange(len(data) + 1)
    return start, min(len(data), start + random.randrange(1, longest))


def flip(data: bytes, _syntax: Syntax, random: Random, _seeds: list[bytes]) -> bytes:
    if not data:
        return b"\xff"
    changed = bytearray(data)
    for _ in range(random.randrange(1, 4)):
        changed[random.randrange(len(changed))] = (
            random.randrange(256) if random.random() < 0.3 else random.randrange(32, 127)
        )
    return bytes(changed)


def cut(data: bytes, _syntax: Syntax, random: Random, _seeds: list[bytes]) -> bytes:
    start, end = _slice(data, random)
    return data[:start] + data[end:]


def truncate(data: bytes, _syntax: Syntax, random: Random, _seeds: list[bytes]) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def repeat(data: bytes, _syntax: Syntax, random: Random, _seeds: list[bytes]) -> bytes:
    start, end = _slice(data, random, random.choice((4, 40, 400)))
    return data[:end] + data[start:end] * random.choice((1, 2, 30, 1000)) + data[end:]


def splice(data: bytes, syntax: Syntax, random: Random, seeds: list[bytes]) -> bytes:
    other = random.choice(seeds) if seeds else generated(syntax, random).encode()
    start, _ = _slice(data, random)
    begin, end = _slice(other, random, 2000)
    return data[:start] + other[begin:end] + data[start:]


def token(data: bytes, syntax: Syntax, random: Random, _seeds: list[bytes]) -> bytes:
    start, _ = _slice(data, random)
    return data[:start] + random.choice(TOKENS[syntax]).encode() * random.choice((1, 1, 2, 9)) + data[start:]


def flood(data: bytes, syntax: Syntax, random: Random, _seeds: list[bytes]) -> bytes:
    """One token very often: depth, quadratic walks, expansion."""
    if random.random() < 0.7:
        return data
    start, _ = _slice(data, random)
    word = "".join(random.choice(TOKENS[syntax]) for _ in range(random.randrange(1, 3))).encode()
    return data[:start] + word * random.choice((100, 1000, 20_000, 1_000_000 // len(word))) + data[start:]


def lines(data: bytes, _syntax: Syntax, random: Random, _seeds: list[bytes]) -> bytes:
    """Whole lines doubled, dropped, swapped, indented or turned into comments."""
    rows = data.splitlines(keepends=True)
    if not rows:
        return data
    at, other = random.randrange(len(rows)), random.randrange(len(rows))
    action = random.randrange(6)
    if action == 0:
        rows.insert(other, rows[at])
    elif action == 1:
        del rows[at]
    elif action == 2:
        rows[at], rows[other] = rows[other], rows[at]
    elif action == 3:
        rows[at] = random.choice((b"  ", b" ", b"\t", b"        ")) + rows[at]
    elif action == 4:
        rows[at] = rows[at].lstrip()
    else:
        rows[at] = b"# " + rows[at]
    return b"".join(rows)


def value(data: bytes, _syntax: Syntax, random: Random, _seeds: list[bytes]) -> bytes:
    """What stands behind a ``:`` or ``=`` becomes another value."""
    places = [index for index, byte in enumerate(data[:20_000]) if byte in b":="]
    if not places:
        return data
    at = random.choice(places) + 1
    end = data.find(b"\n", at)
    return data[:at] + b" " + random.choice(VALUES).encode() + data[end if end >= 0 else len(data) :]


def nest(data: bytes, _syntax: Syntax, random: Random, _seeds: list[bytes]) -> bytes:
    opening, closing = random.choice(
        ((b"[", b"]"), (b"{a: ", b"}"), (b'{"a":', b"}"), (b"(", b")"), (b"$(", b")"), (b"- ", b""))
    )
    times = random.choice((3, 50, 99, 101, 500, 3000))
    start, end = _slice(data, random)
    return data[:start] + opening * times + data[start:end] + closing * times + data[end:]


def encoding(data: bytes, _syntax: Syntax, random: Random, _seeds: list[bytes]) -> bytes:
    """Marks, line ends, wide characters, NUL."""
    text = data.decode("utf-8", "replace")
    return random.choice(
        (
            b"\xef\xbb\xbf" + data,
            data.replace(b"\n", b"\r\n"),
            data.replace(b"\n", b"\r"),
            data.replace(b"\n", "\u2028".encode(), 3),
            data + random.choice((b"\0", b"\x85", b"\x0c", b"\x1b", "\ufeff".encode(), "𝕏".encode())),
            text.encode("utf-16"),
            text.encode("utf-16-le"),
            text.encode("latin-1", "replace"),
        )
    )


MUTATIONS: tuple[Mutation, ...] = (
    flip,
    cut,
    truncate,
    repeat,
    splice,
    token,
    flood,
    lines,
    lines,
    value,
    value,
    nest,
    encoding,
)
