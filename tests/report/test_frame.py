"""Frames: the mark stands under the exact span, whatever stands before it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.report.support import place
from vramlint.report.frame import Frames
from vramlint.report.text import View, display_width


def draw(text: str, needle: str, label: str = "here", width: int = 80) -> list[str]:
    return Frames({"f": text}.get, View(width=width)).draw(place(text, needle, "f"), label, "1")


@pytest.mark.parametrize(
    ("text", "needle", "expected"),
    [
        ("a: 1\nb: 22\n", "22", ["    1 | a: 1", "    2 | b: 22", "      |    ^^ here"]),
        ("\nb: 22\n", "22", ["    2 | b: 22", "      |    ^^ here"]),
        ("a: 1\r\nb: 22\r\n", "22", ["    1 | a: 1", "    2 | b: 22", "      |    ^^ here"]),
        ("a: 1\rb: 22\r", "22", ["    1 | a: 1", "    2 | b: 22", "      |    ^^ here"]),
        ("a:\t7", "7", ["    1 | a:  7", "      |     ^ here"]),
        ("\ta = 7", "7", ["    1 |     a = 7", "      |         ^ here"]),
        ("名前: 7", "7", ["    1 | 名前: 7", "      |       ^ here"]),
        ("a: 名前 # x", "名前", ["    1 | a: 名前 # x", "      |    ^^^^ here"]),
        ("e\u0301: 7", "7", ["    1 | e\u0301: 7", "      |    ^ here"]),
        ("x: \x1b[31m7", "7", ["    1 | x: ␛[31m7", "      |         ^ here"]),
    ],
)
def test_the_mark_stands_under_the_span(text: str, needle: str, expected: list[str]) -> None:
    assert draw(text, needle) == expected


def test_an_empty_span_gets_one_mark() -> None:
    text = "batch_size:\n"
    where = place(text, "size:", "f")._replace(start=11, end=11, column=12, end_column=12)
    assert Frames({"f": text}.get, View()).draw(where, "empty", "1")[-1] == "      |            ^ empty"


def test_a_span_over_several_lines_is_marked_to_the_end_of_the_first() -> None:
    assert draw("a: [1,\n  2]\n", "[1,\n  2]") == ["    1 | a: [1,", "      |    ^^^ here"]


def test_without_the_text_the_label_stays() -> None:
    assert Frames(lambda _: None, View()).draw(place("a: 1", "1", "f"), "the label", "1") == ["   the label"]


def test_a_line_number_past_the_text_is_no_crash() -> None:
    where = place("a: 1", "1", "f")._replace(line=9)
    assert Frames({"f": "a: 1"}.get, View()).draw(where, "label", "1") == ["   label"]


def test_a_long_label_goes_below() -> None:
    drawn = draw("key: " + "v" * 50, "v" * 50, "many words " * 12, 80)
    assert drawn[1].endswith("^" * 50)
    assert all(len(line) <= 80 for line in drawn)
    assert drawn[2].startswith("      | many words")


@pytest.mark.parametrize("before", [0, 30, 70, 71, 72, 300, 5000])
@pytest.mark.parametrize("after", [0, 1, 300])
def test_a_long_line_is_cut_around_the_span(before: int, after: int) -> None:
    text = "x" * before + "NEEDLE" + "y" * after
    source, mark = draw(text, "NEEDLE", "", 80)
    assert len(source) <= 80
    assert source[mark.index("^") : mark.index("^") + 6] == "NEEDLE"


@example("00000000000\u05f5\u0cf3\u0e5c\u0e5c\u0e5c\u0e5c\u1c38", "0000\u05f5\u0e5c\xad0", 47)
@given(
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=200),
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=200),
    st.integers(40, 200),
)
def test_no_text_breaks_a_frame(before: str, after: str, width: int) -> None:
    text = f"{before}NEEDLE{after}"
    start = len(before)
    where = place("NEEDLE", "NEEDLE", "f")._replace(start=start, end=start + 6, column=start + 1, end_column=start + 7)
    source, mark, *_ = Frames({"f": text}.get, View(width=width)).draw(where, "", "1")
    assert display_width(source) <= width
    assert "NEEDLE" not in source or display_width(source[: source.index("NEEDLE")]) == mark.index("^")
