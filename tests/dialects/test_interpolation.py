"""References of OmegaConf files: followed where the file spells the value, UNKNOWN elsewhere."""

from __future__ import annotations

import pytest

from tests.dialects.support import document
from vramlint.dialects.interpolation import interpolated
from vramlint.dialects.places import location
from vramlint.dialects.reading import plain_value
from vramlint.sources.model import Unknown

TEXT = """\
variables:
  length: 2048
  env: ${oc.env:HOME}
model:
  length: ${variables.length}
  same: ${.length}
  above: ${..variables.length}
  twice: ${model.same}
  inner:
    up: ${..length}
  gone: ${variables.none}
  text: run-${variables.length}
  here: ${variables.env}
  a: ${.b}
  b: ${.a}
  own: 7
  asked: ???
  asking: ${.asked}
"""


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("model.length", 2048, 2), ("model.same", 2048, 2), ("model.above", 2048, 2), ("model.twice", 2048, 2),
        ("model.inner.up", 2048, 2), ("model.own", 7, 16),
    ],
)  # fmt: skip
def test_followed(key: str, value: int, line: int) -> None:
    (source,) = interpolated(document("x.yaml", TEXT))
    place = source.find(key)
    assert place is not None
    assert (plain_value(place.node), location(place).line) == (value, line)
    assert place.source.editable is (key == "model.own")


@pytest.mark.parametrize("key", ["model.gone", "model.text", "model.here", "model.a", "model.asking"])
def test_not_followed(key: str) -> None:
    (source,) = interpolated(document("x.yaml", TEXT))
    place = source.find(key)
    assert place is not None
    assert isinstance(place.node, Unknown)


def test_a_part_of_a_file() -> None:
    (source,) = interpolated(document("x.yaml", "parameters:\n  a: 3\n  b: ${a}\n"), "parameters")
    place = source.find("b")
    assert place is not None
    assert plain_value(place.node) == 3
    assert interpolated(document("x.yaml", "a: 3\n"), "parameters") == []
    assert source.find("c") is None
