"""What each loader makes of a scalar: the measured table, and the installed loaders themselves."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vramlint.sources.model import Scalar, Style, lookup
from vramlint.sources.scalars import Loader, read_as, read_node_as, yaml11, yaml11_floats, yaml12
from vramlint.sources.yaml_reader import parse

TABLE = Path(__file__).parents[2] / ".." / "shared" / "dialects" / "DIALECTS.md"

TEXTS = """
1e-4 1.0e-4 1.e-4 1e4 1E-4 1.0e4 1e+4 5.0e-05 .5 1_000 0o17 017 08 0x10 1:30 190:20:30 yes no on off y n True TRUE tRue
null ~ None none inf .inf nan .nan 1,000 12e03 -1e-4 bf16 -1 1.5e3 0b11 +1 - . .. -.inf 0 -0 00 0. 1. 1_0.5 1__0 _1 +.5
1e5_0 0x 0b2 1:60 1:30.5 False NULL Null 1.0E+5 0.1e-3 -.5e+3 .5e3 1e 1e- e5 0x_ ._ .inF -017 -0x1F 0o8
99999999999999999 5e8 1e10 2.5e1 1e300
""".split()  # noqa: SIM905 - a table of words

LOADERS = [Loader.PYYAML, Loader.OMEGACONF, Loader.YACS, Loader.JSONARGPARSE, Loader.HYPERPYYAML, Loader.RUAMEL12]


def same(left: object, right: object) -> bool:
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return type(left) is type(right) and left == right


@pytest.mark.skipif(not TABLE.exists(), reason="the measured table is not beside the checkout")
def test_every_row_of_the_measured_table() -> None:
    rows = 0
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != 7 or not cells[1].endswith((":str", ":float", ":int", ":bool", ":NoneType")):
            continue
        text = cells[0].strip("`").removesuffix(" # c")
        rows += 1
        for loader, cell in zip(LOADERS, cells[1:], strict=True):
            value, _colon, kind = cell.rpartition(":")
            read = read_as(text, Style.PLAIN, loader)
            expected = {"tuple": "list"}.get(kind, kind)
            assert type(read).__name__ == expected, (text, loader, read)
            assert str(read).replace("[", "(").replace("]", ")") == value.strip("'"), (text, loader, read)
    assert rows == 41


@pytest.mark.parametrize("text", TEXTS)
def test_pyyaml_agrees(text: str) -> None:
    try:
        expected = yaml.safe_load(f"a: {text}")["a"]
    except (ValueError, yaml.YAMLError):  # PyYAML itself fails on "0x_", "._" and a lone dash
        return
    assert same(yaml11(text), expected)


@pytest.mark.parametrize("text", TEXTS)
def test_omegaconf_agrees(text: str) -> None:
    omegaconf = pytest.importorskip("omegaconf")
    try:
        expected = omegaconf.OmegaConf.create(f"a: {text}")["a"]
    except (ValueError, yaml.YAMLError):
        return
    assert same(yaml11_floats(text), expected)


@pytest.mark.parametrize("text", TEXTS)
def test_yacs_agrees(text: str) -> None:
    yacs = pytest.importorskip("yacs.config")
    try:
        expected = yacs.CfgNode._decode_cfg_value(yaml.safe_load(f"a: {text}")["a"])
    except (ValueError, yaml.YAMLError):
        return
    expected = list(expected) if isinstance(expected, tuple) else expected
    assert same(read_as(text, Style.PLAIN, Loader.YACS), expected)


@pytest.mark.parametrize("text", TEXTS)
def test_ruamel_agrees(text: str) -> None:
    ruamel = pytest.importorskip("ruamel.yaml")
    try:
        expected = ruamel.YAML(typ="safe", pure=True).load(f"a: {text}")["a"]
    except (ValueError, ruamel.YAMLError):
        return
    assert same(yaml12(text), expected)


@pytest.mark.parametrize("text", [*TEXTS, "1.5", "text", "-0.5", "1E5", "01"])
def test_hjson_agrees(text: str) -> None:
    hjson = pytest.importorskip("hjson")
    try:
        expected = hjson.loads(f"{{\n  a: {text}\n}}")["a"]
    except hjson.HjsonDecodeError:
        return
    assert same(read_as(text, Style.PLAIN, Loader.HJSON), expected)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("0o17", 15), ("1_000", 1000), ("inf", math.inf), ("true", True), ("017", "017")],
)
def test_toml(text: str, value: object) -> None:
    assert same(read_as(text, Style.PLAIN, Loader.TOML), value)


def test_quotes_make_a_string_but_not_for_yacs() -> None:
    assert read_as("1e-4", Style.DOUBLE, Loader.OMEGACONF) == "1e-4"
    assert read_as("1e-4", Style.DOUBLE, Loader.YACS) == 1e-4
    assert read_as("(800, 1333)", Style.SINGLE, Loader.YACS) == [800, 1333]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(16, 1e-4, no)", [16, "1e-4", False]),
        ("(a,)", ["a"]),
        ("()", []),
        ("(", "("),
        ("([1], 2)", "([1], 2)"),
        ("(a: {)", "(a: {)"),
        ("('a)", "('a)"),
        ("1e-4", 1e-4),
        ("no", "no"),
    ],
)
def test_hyperpyyaml_makes_flat_tuples_of_parentheses(text: str, value: object) -> None:
    """Inside a tuple it is PyYAML that reads (hyperpyyaml 1.2.3): 1e-4 is text there and a number outside."""
    assert read_as(text, Style.PLAIN, Loader.HYPERPYYAML) == value


def test_a_node_reads_by_style_tag_and_anchor() -> None:
    document = parse("a: &x 1e-4\nb: *x\nc: '1e-4'\nd: !!float 1e-4\n", "x.yaml")

    def read(key: str, loader: Loader) -> object:
        node = lookup(document.root, key)
        assert isinstance(node, Scalar)
        return read_node_as(node, loader)

    assert [read(key, Loader.PYYAML) for key in "abcd"] == ["1e-4", "1e-4", "1e-4", 1e-4]
    assert [read(key, Loader.OMEGACONF) for key in "abcd"] == [1e-4, 1e-4, "1e-4", 1e-4]


@given(st.text(st.sampled_from("0123456789_.:eE+-xbofntaTrulyFIsN~"), min_size=1, max_size=8))
def test_pyyaml_agrees_on_any_word(text: str) -> None:
    try:
        expected = yaml.load(f"[{text}]", Loader=yaml.CSafeLoader)[0]
    except Exception:  # noqa: BLE001 - PyYAML raises many kinds of errors on words that are no scalar
        return
    if isinstance(expected, (bool, int, float, str)) or expected is None:
        assert same(yaml11(text), expected)
