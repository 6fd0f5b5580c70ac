"""What expressions are worth, and what is left unknown."""

from __future__ import annotations

import time

import pytest

from vramlint.sources.model import Mapping, Node, Scalar, Sequence, Style, Unknown, lookup, plain
from vramlint.sources.python_reader import parse


def value(source: str, name: str = "x") -> Node:
    root = parse(source, "config.py").root
    assert isinstance(root, Mapping)
    node = root.get(name)
    assert node is not None
    return node


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 8", 8),
        ("x = -1", -1),
        ("x = 65_536", 65536),
        ("x = 0x10", 16),
        ("x = 1e-4", 1e-4),
        ("x = True", True),
        ("x = None", None),
        ("x = 'a' \"b\"", "ab"),
        ("x = 1024 * 64", 65536),
        ("x = 2 ** 4 - 1", 15),
        ("x = 7 // 2", 3),
        ("x = 1 << 16", 65536),
        ("N = 4\nx = N * 2", 8),
        ("N = 4\nM = N\nx = M", 4),
        ("N = 4\nx = f'b{N:02d}_{N!r}'", "b04_4"),
        ("x = (1, 2)", [1, 2]),
        ("x = [1, *[2, 3]]", [1, 2, 3]),
        ("x = [1] + [2]", [1, 2]),
        ("x = {'a': 1, **{'b': 2}}", {"a": 1, "b": 2}),
        ("x = dict(a=1, b=dict(c='d'))", {"a": 1, "b": {"c": "d"}}),
        ("x = dict({'a': 1}, b=2)", {"a": 1, "b": 2}),
        ("x = int('8')", 8),
        ("x = float('1e-4')", 1e-4),
        ("x = max(4, 8)", 8),
        ("x = len([1, 2, 3])", 3),
        ("D = False\nx = 8 if D else 16", 16),
        ("a = dict(b=dict(c=5))\nx = a['b']['c']", 5),
        ("a = [1, 2]\nx = a[-1]", 2),
        ("x = 8 if 2 > 1 and not False else 0", 8),
        ("x, y = 1, 2", 1),
        ("x = 1\nx = 2", 2),
        ("if True:\n    x = 1", 1),
        ("if flag:\n    x = 8\nelse:\n    x = 8", 8),
        ("x = 8\nif flag:\n    x = 8", 8),
        ("x = dict(a=1)\nx['a'] = 2", {"a": 2}),
        ("x = dict(a=1)\nx.update(b=2)", {"a": 1, "b": 2}),
        ("x = [1]\nx.append(2)", [1, 2]),
        ("x = dict(a=1, b=2)\nx.pop('a')\ndel x['b']", {}),
        ("y = dict(a=1)\nx = dict(k=y)\ny['a'] = 2", {"k": {"a": 2}}),
        ("y = [1]\nx = dict(k=y)\ny.sort()", {"k": [None]}),
        ("x = [0, 1] * 2", [0, 1, 0, 1]),
        ("x = sum([1, 2])", 3),
        ("x = dict(a=dict(b=1))\nx['a']['b'] = 3", {"a": {"b": 3}}),
        ("if __name__ == '__main__':\n    x = 3", 3),
    ],
)
def test_known_values(source: str, expected: object) -> None:
    assert plain(value(source)) == expected


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = f()", "result of f"),
        ("import os\nx = int(os.environ['B'])", "unknown"),
        ("x = N", "not set in this file"),
        ("x = 1\nx += n", "changed in place"),
        ("if flag:\n    x = 1\nelse:\n    x = 2", "under a condition"),
        ("x = 1\nif flag:\n    x = 2", "under a condition"),
        ("for x in range(3):\n    pass\ny = x", "in a loop"),
        ("x = 1\nfor i in y:\n    x = x * 2", "in a loop"),
        ("x = 1\nwhile f():\n    x = 2", "in a loop"),
        ("try:\n    x = 1\nexcept E:\n    x = 2", "try"),
        ("y = 1\ndel y\nx = y\n", "deleted"),
        ("x = [1]\nx.insert(0, 2)", "changed in place"),
        ("x = [1]\nif flag:\n    x.append(2)", "under a condition"),
        ("x = [1]\nx[0] = 2", "changed in place"),
        ("y = [dict(a=1)]\nx = y[0]['a']\ny.sort()\nx = y", "changed in place"),
        ("x = 1 / 0", "division"),
        ("x = 9 ** 9 ** 9", "too large"),
        ("x = 'a' * 10 ** 9", "too long"),
        ("x = f'{1:999999999}'", "format"),
        ("x = 1 << 10 ** 9", "too large"),
        ("x = lambda: 1", "code to run"),
        ("x = [i for i in y]", "not set"),
        ("from other import x as z\nx = z", "imported from other"),
        ("x = 1 if flag else 2", "not set"),
        ("x = b'8'", "bytes"),
    ],
)
def test_unknown_values(source: str, reason: str) -> None:
    name = "y" if source.startswith("for x") else "x"
    node = value(source, name)
    assert isinstance(node, Unknown)
    assert reason in node.reason


def test_a_name_refers_to_the_literal_that_spells_it() -> None:
    node = value("BATCH = 8\nx = dict(batch=BATCH)")
    assert isinstance(node, Mapping)
    scalar = node.get("batch")
    assert isinstance(scalar, Scalar)
    assert (scalar.style, scalar.text, scalar.shared) == (Style.COMPUTED, "BATCH", False)
    assert scalar.definition is not None
    assert scalar.definition.text == "8"


def test_a_constant_read_twice_is_shared() -> None:
    node = value("BATCH = 8\ny = BATCH\nx = BATCH")
    assert isinstance(node, Scalar)
    assert node.shared


def test_a_list_named_twice_is_shared_throughout() -> None:
    node = value("pipe = [dict(a=1)]\nx = dict(p=pipe)\ny = dict(p=pipe)", "pipe")
    assert isinstance(node, Sequence)
    inner = node.items[0]
    assert node.shared
    assert isinstance(inner, Mapping)
    assert inner.shared


@pytest.mark.parametrize("text", ["'a'", '"a"', "'''a'''", "r'a'", "'a' 'b'"])
def test_string_styles(text: str) -> None:
    styles = {"'a'": Style.SINGLE, '"a"': Style.DOUBLE, "'''a'''": Style.BLOCK, "r'a'": Style.SINGLE}
    node = value(f"x = {text}")
    assert isinstance(node, Scalar)
    assert node.style is styles.get(text, Style.COMPUTED)


BOMBS = {
    "lists of lists": "a0 = [1]\n" + "".join(f"a{i + 1} = [a{i}, a{i}]\n" for i in range(60)) + "x = [a60]",
    "spread dictionaries": "a0 = {'k': 1}\n"
    + "".join(f"a{i + 1} = {{**a{i}, **a{i}}}\n" for i in range(60))
    + "x = a60",
    "spread lists": "a0 = [1]\n" + "".join(f"a{i + 1} = [*a{i}, *a{i}]\n" for i in range(60)) + "x = a60",
    "added lists": "a0 = [1]\n" + "".join(f"a{i + 1} = a{i} + a{i}\n" for i in range(60)) + "x = a60",
    "doubled text": "a0 = 'a'\n" + "".join(f"a{i + 1} = a{i} + a{i}\n" for i in range(60)) + "x = a60",
    "formatted text": "a0 = 'a'\n" + "".join(f"a{i + 1} = f'{{a{i}}}{{a{i}}}'\n" for i in range(60)) + "x = a60",
    "a chain of lists": "a0 = [1]\n" + "".join(f"a{i + 1} = [a{i}]\n" for i in range(5000)) + "x = a5000",
}


@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS.keys())
def test_small_texts_with_huge_values_stay_unknown(source: str) -> None:
    started = time.process_time()
    document = parse(source, "bomb.py")
    node = document.root.get("x") if isinstance(document.root, Mapping) else None
    plain(node)  # a walk over the value ends
    assert "too l" in repr(node) or isinstance(node, Sequence)
    assert time.process_time() - started < 2


def test_class_families_without_end() -> None:
    source = "class A(B): a = 1\nclass B(A): b = 2\nx = dict(c=A.b)\n"
    assert isinstance(value(source), Mapping)
    diamonds = "class C0: a = 1\nclass D0: b = 1\n" + "".join(
        f"class C{i + 1}(C{i}, D{i}): pass\nclass D{i + 1}(C{i}, D{i}): pass\n" for i in range(60)
    )
    started = time.process_time()
    value(diamonds + "x = C60.a")
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a = 2\na *= 8\nb = a\n", 16),
        ("a = 7\na //= 2\nb = a\n", 3),
        ("a = 1\nfor _ in range(n):\n    a *= 2\nb = a\n", None),
        ("a = 1\nif c:\n    a += 1\nb = a\n", None),
        ("a = 1\na += n\nb = a\n", None),
        ("a += 1\nb = a\n", None),
        ("a = 's'\na += 't'\nb = a\n", None),
    ],
)
def test_a_number_combined_in_place(text: str, value: int | None) -> None:
    assert plain(lookup(parse(text, "c.py").root, "b")) == value
