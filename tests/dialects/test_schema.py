"""Schemas: which spelled values each type takes, what it makes of them, and how fields are inherited."""

from __future__ import annotations

import math
from typing import Any

import pytest

from vramlint.dialects.schema import Count, Flag, Natural, Schema, Size, Text, Whole, keys, validated
from vramlint.plan import ImageSize


class Everything(Schema):
    source = "a framework 1.0"

    count: Count | None = keys("batch", "batch_size")
    natural: Natural | None = keys("workers", default=0)
    whole: Whole | None = keys("offset")
    integer: int | None = keys("steps")
    number: float | None = keys("lr")
    flag: Flag | None = keys("amp", default="no")
    size: Size | None = keys("size", default=640)
    text: Text | None = keys("name")
    anything: Any = keys("more")


class More(Everything):
    own: Count | None = keys("own")
    natural: Natural | None = keys("loader.workers", default=4)


@pytest.mark.parametrize(
    ("field", "spelled", "value"),
    [
        ("count", 8, 8),
        ("count", " 8 ", 8),
        ("count", "1_000", 1000),
        ("count", 1e3, 1000),
        ("count", "2.0", 2),
        ("natural", 0, 0),
        ("whole", "-1", -1),
        ("integer", True, 1),
        ("number", "1e-4", 1e-4),
        ("number", 3, 3.0),
        ("number", "inf", math.inf),
        ("flag", "yes", True),
        ("flag", 0, False),
        ("size", [3, 512, 640], ImageSize(512, 640)),
        ("size", "512,640", ImageSize(512, 640)),
        ("text", 50, "50"),
        ("anything", {"a": [1]}, {"a": [1]}),
    ],
)
def test_values_are_taken_as_configs_and_shells_spell_them(field: str, spelled: object, value: object) -> None:
    values, problems = validated(Everything, {field: spelled})
    assert (values, problems) == ({field: value}, {})
    assert type(values[field]) is type(value)


@pytest.mark.parametrize(
    ("field", "spelled", "why"),
    [
        ("count", 0, "Input should be greater than or equal to 1"),
        ("count", True, "Value error, a switch where a number belongs"),
        ("count", 1.5, "Input should be a valid integer, got a number with a fractional part"),
        ("count", "auto", "Input should be a valid integer, unable to parse string as an integer"),
        ("count", [1], "Input should be a valid integer"),
        ("count", math.inf, "Input should be a finite number"),
        ("count", 1e300, "Input should be an integer of 64 bits"),
        ("natural", -1, "Input should be greater than or equal to 0"),
        ("number", "fast", "Input should be a valid number, unable to parse string as a number"),
        ("number", "１", "Input should be a valid number, unable to parse string as a number"),
        ("number", [], "Input should be a valid number"),
        ("flag", "bf16", "Value error, neither true nor false"),
        ("size", "large", "Value error, not an image size"),
        ("text", True, "Value error, not a text"),
    ],
)
def test_what_a_type_does_not_take_is_a_problem_not_a_value(field: str, spelled: object, why: str) -> None:
    assert validated(Everything, {field: spelled, "integer": 1}) == ({"integer": 1}, {field: why})


def test_defaults_are_read_by_their_type_too() -> None:
    empty = Everything({})
    assert (empty.natural, empty.flag, empty.size, empty.count) == (0, False, ImageSize(640, 640), None)
    assert Everything({"flag": True}).flag is True
    assert Everything.flag is False


def test_a_derived_schema_keeps_the_place_of_what_it_changes() -> None:
    assert list(More.settings) == [*Everything.settings, "own"]
    assert More.settings["natural"].keys == ("loader.workers",)
    assert (More({}).natural, Everything({}).natural) == (4, 0)
    assert More.settings["count"] is Everything.settings["count"]


def test_a_type_that_no_config_needs_is_refused_where_it_is_declared() -> None:
    with pytest.raises(KeyError, match="complex"):
        type("Odd", (Schema,), {"__annotations__": {"odd": "complex | None"}, "odd": keys("odd")})
