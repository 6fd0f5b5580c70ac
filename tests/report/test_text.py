"""Numbers and lines as every text report writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramlint.hardware.model import GIB
from vramlint.report.text import count, display_width, gib, percent, printable, shorten, wrap


@pytest.mark.parametrize(
    ("value_gib", "shown"),
    [(0, "0.0"), (0.034, "0.034"), (0.62, "0.62"), (6.94, "6.9"), (14.56, "14.6"), (116.4, "116.4"), (0.999, "1.0")],
)
def test_gib(value_gib: float, shown: str) -> None:
    assert gib(int(value_gib * GIB)) == shown


@pytest.mark.parametrize(("number", "shown"), [(0, "0 files"), (1, "1 file"), (1214, "1,214 files")])
def test_count(number: int, shown: str) -> None:
    assert count(number, "file") == shown


def test_percent_of_nothing() -> None:
    assert percent(1, 0) == "-"
    assert percent(88, 100) == "88 %"
    assert percent(7867, 100) == "79x"


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("", 10, []),
        ("one two three", 7, ["one two", "three"]),
        ("a-very-long-word ok", 6, ["a-very-long-word", "ok"]),
        ("needs 12.7 GiB (saves 11.6)", 20, ["needs 12.7 GiB", "(saves 11.6)"]),
        ("over 2 x 12.7 GiB", 13, ["over 2 x", "12.7 GiB"]),
    ],
)
def test_wrap(text: str, width: int, lines: list[str]) -> None:
    assert wrap(text, width) == lines


@given(st.text(), st.integers(20, 120))
def test_wrapping_loses_no_word(text: str, width: int) -> None:
    assert " ".join(wrap(text, width)).split() == text.replace("\0", " ").split()


@given(st.text(), st.integers(2, 60))
def test_shortened_text_fits(text: str, width: int) -> None:
    assert display_width(shorten(text, width)) <= width


@given(st.text())
def test_printable_text_holds_no_control_character(text: str) -> None:
    shown = printable(text)
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in shown)
    assert printable(shown) == shown
