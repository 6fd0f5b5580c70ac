"""``vramlint.records.NamedTuple`` is typing's in all that vramlint uses of it."""

from __future__ import annotations

import pickle
from typing import Generic, TypeVar, get_type_hints

import pytest

from vramlint.records import NamedTuple

T = TypeVar("T")


class Point(NamedTuple):
    """A place."""

    across: int
    down: int = 2

    @property
    def size(self) -> int:
        return self.across * self.down

    def moved(self, by: int) -> Point:
        """The place beside it."""
        return self._replace(across=self.across + by)


class Box(NamedTuple, Generic[T]):
    """Something in something."""

    inside: T | None
    note: str = ""


def test_fields_defaults_and_members() -> None:
    point = Point(3)
    assert point == (3, 2) == Point(across=3, down=2)
    assert (point.size, point.moved(1).across) == (6, 4)
    assert Point._fields == ("across", "down")
    assert Point._field_defaults == {"down": 2}
    assert (Point.__name__, Point.__doc__, Point.__module__) == ("Point", "A place.", __name__)
    assert repr(point) == "Point(across=3, down=2)"


def test_annotations_can_be_read() -> None:
    assert get_type_hints(Box, localns={"T": T})["note"] is str
    assert Point.__annotations__["across"] == "int"


def test_a_generic_one_takes_parameters() -> None:
    assert Box[int](5).inside == 5
    assert Box.__parameters__ == (T,)  # type: ignore[attr-defined]
    assert issubclass(Box, Generic)


def test_values_are_tuples_that_can_be_hashed_and_pickled() -> None:
    assert pickle.loads(pickle.dumps(Box("a"))) == Box("a")
    assert len({Box(1), Box(1), Box(2)}) == 2
    with pytest.raises(AttributeError):
        Box(1).note = "other"  # type: ignore[misc]


def test_missing_and_unknown_fields_are_refused() -> None:
    with pytest.raises(TypeError):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Box(1, weight=2)  # type: ignore[call-arg]


def test_a_misspelled_field_is_not_replaced() -> None:
    with pytest.raises(TypeError, match="weight"):
        Box(1)._replace(weight=2)  # type: ignore[call-arg]


def test_fields_match_by_place_and_read_as_a_dictionary() -> None:
    match Point(3, 4):
        case Point(across, down):
            assert (across, down) == (3, 4)
    assert Point._make([1, 2])._asdict() == {"across": 1, "down": 2}


class Wide(NamedTuple):
    """As many fields as a dialect's row has, and no default at all."""

    a: int
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int
    i: int
    j: int
    k: int
    l: int  # noqa: E741
    m: int


def test_many_fields() -> None:
    wide = Wide(*range(12), m=12)
    assert tuple(wide) == tuple(range(13)) == (wide.a, *wide[1:-1], wide.m)
    with pytest.raises(TypeError, match="'m'"):
        Wide(*range(12))  # type: ignore[call-arg]
