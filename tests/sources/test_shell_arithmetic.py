"""Shell arithmetic, against bash itself where it is at hand."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vramlint import sources
from vramlint.sources.model import Scalar, Unknown
from vramlint.sources.shell_arithmetic import arithmetic

NAMES = {"A": "8", "NODES": "2", "TEXT": "x"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A * NODES", 16),
        ("$A*${NODES}", 16),
        ("(A + 1) * 2", 18),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("A / 0", None),
        ("A ** 2", None),
        ("TEXT + 1", None),
        ("MISSING", None),
        ("A > 1", None),
        ("", None),
        ("A +", None),
        ("(A", None),
    ],
)
def test_values(text: str, value: int | None) -> None:
    assert arithmetic(text, NAMES.get) == value


_EXPRESSIONS = st.recursive(
    st.integers(0, 99).map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*/%"), inner).map(lambda parts: f"({' '.join(parts)})"),
    max_leaves=6,
)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash to compare with")
@given(_EXPRESSIONS)
@settings(max_examples=40, deadline=None)
def test_bash_says_the_same(text: str) -> None:
    told = subprocess.run(["bash", "-c", f"echo $(({text}))"], capture_output=True, text=True, check=False)
    value = arithmetic(text, NAMES.get)
    assert str(value if value is not None else "") == told.stdout.strip()


def test_in_a_script() -> None:
    text = (
        "N=2\nG=4\nW=$((N * G))\naccelerate launch --num_processes $((N * G)) train.py --a $W --b $((N + $(nproc)))\n"
    )
    (command,) = sources.read("a.sh", text.encode()).commands
    found = [
        command.launchers[0].options.get("--num_processes"),
        command.options.get("--a"),
        command.options.get("--b"),
    ]
    assert [node.value if isinstance(node, Scalar) else None for node in found] == [8, 8, None]
    assert isinstance(found[2], Unknown)
