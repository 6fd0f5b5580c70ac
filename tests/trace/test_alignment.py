"""Alignment of recordings by the operators that made their storages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramlint.trace.alignment import _partners, aligned
from vramlint.trace.events import Recording, Shape


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [
        ("", "", 0),
        ("abc", "abc", 3),
        ("abc", "axbc", 3),
        ("axbc", "abc", 3),
        ("abcabba", "cbabac", 4),
        ("abc", "xyz", 0),
        ("abiibc", "abiiiibc", 6),
    ],
)
def test_longest_common_subsequence(first: str, second: str, common: int) -> None:
    assert len(_partners(list(first), list(second))) == common


@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_partners_are_equal_ordered_and_most(first: str, second: str) -> None:
    partners = _partners(list(first), list(second))
    assert all(first[x] == second[y] for x, y in partners.items())
    ordered = sorted(partners.items())
    assert [y for _, y in ordered] == sorted(set(partners.values()))
    assert len(partners) == _longest(first, second)


def _longest(first: str, second: str) -> int:
    """The textbook table of longest common subsequences."""
    row = [0] * (len(second) + 1)
    for a in first:
        new = [0]
        for index, b in enumerate(second):
            new.append(row[index] + 1 if a == b else max(new[-1], row[index + 1]))
        row = new
    return row[-1]


def test_storages_of_further_images_are_left_out() -> None:
    one = Recording(Shape(1), events=[1, 2, -2, "fresh:forward", 3], sizes=[0, 10, 2, 30], makers=["", "a", "i", "b"])
    two = Recording(
        Shape(2), events=[1, 2, -2, 3, -3, "fresh:forward", 4], sizes=[0, 20, 2, 2, 60], makers=["", "a", "i", "i", "b"]
    )
    for each, sizes in zip(aligned([one, two]), ([0, 10, 2, 30], [0, 20, 2, 60]), strict=True):
        assert each.events == [1, 2, -2, "fresh:forward", 3]
        assert each.sizes == sizes


def test_storages_freed_at_different_points_are_left_out() -> None:
    one = Recording(Shape(1), events=[1, 2, -1, 3], sizes=[0, 1, 2, 3], makers=["", "a", "b", "c"])
    two = Recording(Shape(2), events=[1, 2, 3, -1, 4], sizes=[0, 1, 2, 3, 4], makers=["", "a", "b", "c", "d"])
    for each in aligned([one, two]):
        assert each.events == [1, 2]
        assert each.makers == ["", "b", "c"]


def test_what_is_left_out_is_counted_in_bytes() -> None:
    one = Recording(Shape(1), events=[1, 2, -1, "end"], sizes=[0, 10, 20], makers=["", "a", "b"])
    two = Recording(Shape(2), events=[1, 2, 3, -1, -2, "end"], sizes=[0, 10, 600, 20], makers=["", "a", "i", "b"])
    first, second = aligned([one, two])
    assert second.events == [1, 2, -1, "end"]
    assert first.left_out == [0, 0, 0, 0]
    assert second.left_out == [0, 1024, 1024, 1024]
