"""List comprehensions: those of published configs are worked out, all others are left unknown, and none is edited."""

from __future__ import annotations

import time

import pytest

from vramlint.errors import EditRefused
from vramlint.sources import replace_value
from vramlint.sources.model import Mapping, Node, Scalar, Sequence, Unknown, plain
from vramlint.sources.python_reader import parse


def read(source: str) -> Node:
    root = parse(source, "config.py").root
    assert isinstance(root, Mapping)
    node = root.get("x")
    assert node is not None
    return node


@pytest.mark.parametrize(
    "source",
    [
        "x = [int(512 * x * 0.1) for x in range(5, 21)]",
        "x = [n for n in range(3)]",
        "x = [n for n in range(10, 0, -3)]",
        "x = [n for n in range(0)]",
        "x = [8 for _ in [1, 2]]",
        "x = [n * 2 for n in (1, 2, 3) if n % 2 == 1]",
        "x = [(n, n + 1) for n in [1, 2]]",
        "x = [{'s': n} for n in range(2)]",
        "x = [dict(s=1, t=dict(u=1)) for _ in range(2)]",
        "N = 3\nx = [f'b{n}' for n in range(N)]",
        "L = [1, 2]\nx = [n for n in L]",
        "x = [round(n / 3, 2) for n in range(4)]",
        "x = [min(n, 2) for n in range(4)]",
    ],
)
def test_python_itself_agrees(source: str) -> None:
    scope: dict[str, object] = {}
    exec(source, scope)
    expected = scope["x"]
    assert isinstance(expected, list)
    assert plain(read(source)) == [list(item) if isinstance(item, tuple) else item for item in expected]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = [f(n) for n in range(3)]", "calls"),
        ("x = [dict(a=n) for n in range(3)]", "calls"),
        ("x = [m for n in range(3) for m in range(n)]", "not worked out"),
        ("x = [a for a, b in [(1, 2)]]", "not worked out"),
        ("x = [[m for m in range(n)] for n in range(3)]", "calls"),
        ("x = [n for n in range(10 ** 30)]", "too large"),
        ("x = [n for n in range(2.5)]", "counts"),
        ("x = [n for n in range(1, 2, 0)]", "zero"),
        ("x = [n for n in unknown]", "not set"),
        ("x = [1 / n for n in range(2)]", ""),
        ("x = [n for n in range(2) if n > y]", "not set"),
    ],
)
def test_what_is_not_worked_out_is_unknown(source: str, reason: str) -> None:
    node = read(source)
    assert isinstance(node, Unknown)
    assert reason in node.reason


def test_no_item_is_edited() -> None:
    source = "x = [8 for _ in range(2)]\n"
    document = parse(source, "config.py")
    node = read(source)
    assert isinstance(node, Sequence)
    for item in node.items:
        assert isinstance(item, Scalar)
        with pytest.raises(EditRefused):
            replace_value(document, item, 9)


def test_many_of_them_stay_cheap() -> None:
    source = "\n".join(f"x{n} = [y * 2 + 1 for y in range(1000)]" for n in range(3000))
    started = time.process_time()
    parse(source, "config.py")
    assert time.process_time() - started < 4
