"""Schemas: what each type of field accepts, in the shapes that YAML, JSON and shells hand values over."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from tests.dialects.support import document
from vramlint.dialects.places import Source
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Size, Text, Whole, keys, read_settings
from vramlint.plan import ImageSize, Origin
from vramlint.sources.model import Mapping


class Base(Schema):
    source: ClassVar[str] = "thing 1.0"

    count: Count | None = keys("count", "n")
    natural: Natural | None = keys("natural", default=2)
    size: Size | None = keys("data.size", default=640)


class Example(Base):
    whole: Whole | None = keys("whole")
    integer: int | None = keys("integer")
    number: float | None = keys("number")
    flag: Flag | None = keys("flag")
    text: Text | None = keys("text")
    anything: Any = keys("anything", default="auto")


def fact_of(text: str, name: str) -> tuple[object, str]:
    """Value and note of the fact ``name``, read from YAML."""
    read = document("x.yaml", text)
    root = read.root
    assert isinstance(root, Mapping)
    fact = read_settings(Example, [Source(read, root)]).fact(name)
    return fact.value, fact.note


@pytest.mark.parametrize(
    ("name", "spelled", "value"),
    [
        ("count", "8", 8),
        ("count", "'8'", 8),
        ("count", "' 1_024 '", 1024),
        ("count", "8.0", 8),
        ("natural", "0", 0),
        ("whole", "-1", -1),
        ("integer", "-1", -1),
        ("integer", "'100'", 100),
        ("number", "1e-4", 1e-4),
        ("number", "1.0e-4", 1e-4),
        ("number", "3", 3.0),
        ("flag", "yes", True),
        ("flag", "'False'", False),
        ("flag", "0", False),
        ("text", "adamw", "adamw"),
        ("text", "7", "7"),
        ("anything", "[1, {a: 2}]", [1, {"a": 2}]),
        ("anything", "true", True),
    ],
)
def test_a_value_of_the_type_is_read(name: str, spelled: str, value: object) -> None:
    found, _ = fact_of(f"{name}: {spelled}\n", name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "spelled", "why"),
    [
        ("count", "0", "count = 0: less than 1"),
        ("count", "true", "count = True: a switch where a number belongs"),
        ("count", "8.5", "count = 8.5: not a whole number"),
        ("count", ".inf", "count = inf: not a whole number"),
        ("count", ".nan", "count = nan: not a whole number"),
        ("count", "auto", "count = 'auto': not a whole number"),
        ("count", "[8]", "count = [8]: not a whole number"),
        ("natural", "-1", "natural = -1: less than 0"),
        ("number", "fast", "could not convert string to float: 'fast'"),
        ("number", "true", "number = True: a switch where a number belongs"),
        ("number", "{a: 1}", "number = {'a': 1}: not a number"),
        ("flag", "auto", "flag = 'auto': neither true nor false"),
        ("text", "[a]", "text = ['a']: not a text"),
    ],
)
def test_a_value_of_another_type_is_unknown_and_says_why(name: str, spelled: str, why: str) -> None:
    value, note = fact_of(f"{name}: {spelled}\n", name)
    assert value is None
    assert why in note


def test_the_first_key_that_is_there_counts() -> None:
    assert fact_of("n: 4\ncount: 8\n", "count")[0] == 8
    assert fact_of("n: 4\n", "count")[0] == 4


def test_defaults_are_read_like_spelled_values() -> None:
    assert fact_of("x: 1\n", "natural") == (2, "default of thing 1.0")
    assert fact_of("x: 1\n", "size") == (ImageSize(640, 640), "default of thing 1.0")
    assert fact_of("x: 1\n", "flag") == (None, "")


def test_a_key_without_a_value_means_the_default() -> None:
    assert fact_of("natural:\n", "natural")[0] == 2


def test_a_schema_inherits_fields_in_order() -> None:
    assert list(Example.model_fields)[:4] == ["count", "natural", "size", "whole"]
    assert list(Base.model_fields) == ["count", "natural", "size"]


def test_a_spelled_fact_has_its_place() -> None:
    read = document("x.yaml", "data:\n  size: 512\n")
    root = read.root
    assert isinstance(root, Mapping)
    fact = read_settings(Example, [Source(read, root)]).fact("size")
    assert fact.origin is Origin.FILE
    assert fact.location is not None
    assert fact.location.line == 2
