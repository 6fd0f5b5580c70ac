"""A schema's engine and its pydantic model are one declaration: they give the same values and say the same errors."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel
from pydantic_core import ValidationError

from vramlint import dialects
from vramlint.cli.main import main
from vramlint.dialects import reading
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Size, Text, Whole, keys
from vramlint.dialects.schema import model, validate
from vramlint.engine import CheckOptions, check
from vramlint.plan import ImageSize

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"


class Everything(Schema):
    """A field of every type that dialects declare."""

    source: ClassVar[str] = "Nothing 1.0"

    count: Count | None = keys("train.count", "count_of", default=2)
    natural: Natural | None = keys("natural")
    whole: Whole | None = keys("whole")
    flag: Flag | None = keys("flag", default=False)
    size: Size | None = keys("size", default=512)
    text: Text | None = keys("text", default="adamw")
    number: float | None = keys("number", default=1)
    integer: int | None = keys("integer")
    anything: Any = keys("anything", default=[800])


class Derived(Everything):
    """Inherits, adds and overrides."""

    count: Count | None = keys("other_count")
    more: float | None = keys("more", default=0.5)


def schemas(base: type[Schema] = Schema) -> Iterator[type[Schema]]:
    for found in base.__subclasses__():
        yield found
        yield from schemas(found)


def dialects_schemas() -> list[type[Schema]]:
    for module in pkgutil.iter_modules(dialects.__path__):
        importlib.import_module(f"vramlint.dialects.{module.name}")
    return sorted((each for each in schemas() if each.__module__.startswith("vramlint.")), key=repr)


modelled = cache(model)


def outcome(of: type[Schema] | type[BaseModel], data: Mapping[str, Any]) -> object:
    """The values by name, spelled out so that nan is nan and True is not 1; or every error's field, kind and words."""
    try:
        found = validate(of, data) if issubclass(of, Schema) else of.model_validate(data)
    except ValidationError as error:
        return [(each["loc"][0], each["type"], each["msg"]) for each in error.errors()]
    return {name: repr(getattr(found, name)) for name in of.model_fields}


def agree(schema: type[Schema], data: Mapping[str, Any]) -> None:
    assert outcome(schema, data) == outcome(modelled(schema), data)


WORDS = st.sampled_from(
    [
        "8",
        " 8 ",
        "-1",
        "1_024",
        "0x10",
        "1e3",
        "3e-4",
        "2E+5",
        "1e99",
        "1.",
        ".5",
        "٣",
        "1.5",
        "yes",
        "off",
        "True",
        "none",
        "auto",
        "",
        "640x480",
        "512,",
    ]
)
ITEMS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=12)
VALUES = ITEMS | st.lists(ITEMS, max_size=4) | st.dictionaries(st.text(max_size=4), ITEMS, max_size=2)


@pytest.mark.parametrize("schema", [Everything, Derived])
@given(data=st.data())
def test_engine_and_model_agree_on_anything(schema: type[Schema], data: st.DataObject) -> None:
    agree(schema, data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(schema.model_fields, VALUES))))


@pytest.mark.parametrize("schema", dialects_schemas(), ids=lambda schema: f"{schema.__module__}.{schema.__name__}")
def test_engine_and_model_agree_on_every_dialects_schema(schema: type[Schema]) -> None:
    agree(schema, {})
    odd = (True, 0, 1, -1, 8, 2**70, 0.5, 8.0, float("nan"), "8", "-3", "on", "no", "bf16", "", [1, 2], [3, 640, 480])
    for value in odd:
        agree(schema, dict.fromkeys(schema.model_fields, value))


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside the checkout")
def test_engine_and_model_agree_on_what_real_configs_spell(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[type[Schema], dict[str, Any]]] = []

    def noting(schema: type[Schema], data: dict[str, Any]) -> Schema:
        seen.append((schema, dict(data)))
        return validate(schema, data)

    monkeypatch.setattr(reading, "validate", noting)
    check([str(CORPUS)], CheckOptions(with_rules=False))
    assert len(seen) > 1000
    for schema, data in seen:
        agree(schema, data)


def test_fields_keep_their_order_and_are_inherited() -> None:
    assert tuple(Derived.model_fields) == (*Everything.model_fields, "more")
    assert Derived.model_fields["count"].keys == ("other_count",)
    assert (validate(Derived, {}).count, validate(Everything, {}).count) == (None, 2)
    assert validate(Derived, {"size": "640x480", "more": 1}).size == ImageSize(640, 480)


def test_the_model_is_spelled_as_the_framework_spells_it() -> None:
    made = model(Everything)
    assert made.model_validate({"count_of": "8", "flag": "on"}).model_dump()["count"] == 8
    described = made.model_json_schema()["properties"]
    assert described["train.count"]["anyOf"] == [{"minimum": 1, "type": "integer"}, {"type": "null"}]
    assert described["train.count"]["default"] == 2


def test_a_dialects_schema_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dialects", "--schema", "megatron"]) == 0
    printed = json.loads(capsys.readouterr().out)
    Draft202012Validator.check_schema(printed)
    accepts = Draft202012Validator(printed)
    assert accepts.is_valid({"micro_batch_size": 2, "another": "key"})
    assert not accepts.is_valid({"micro_batch_size": 0})
    (spelled,) = (part for part in printed["$defs"].values() if "micro_batch_size" in part["properties"])
    assert spelled["properties"]["micro_batch_size"]["title"] == "micro_batch"


def test_a_dialect_without_a_schema_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dialects", "--schema", "skypilot"]) == 2
    assert "declares no settings of its own" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "imported"),
    [
        ("{'micro_batch': 2, 'seq_len': None}", False),
        ("{'learning_rate': '2e-5'}", False),
        ("{'micro_batch': 'two'}", True),
        ("{'micro_batch': 2.0}", True),
    ],
)
def test_reading_needs_the_engine_for_odd_values_alone_and_never_the_library(data: str, imported: bool) -> None:
    code = (
        "import sys, contextlib; from vramlint.dialects.torchtune import Config\n"
        "from vramlint.dialects.schema import validate\n"
        f"with contextlib.suppress(ValueError): validate(Config, {data})\n"
        "print('pydantic' in sys.modules, 'pydantic_core' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", str(imported)]


@pytest.mark.parametrize("schema", dialects_schemas(), ids=lambda schema: f"{schema.__module__}.{schema.__name__}")
def test_what_every_dialect_declares_can_be_taken_as_it_stands(schema: type[Schema]) -> None:
    """A field of a type that is not in the table would cost every reader of the dialect pydantic's import."""
    assert NoneType not in {kind.type for kind in schema.kinds.values()}
    assert schema.kinds.keys() == schema.model_fields.keys()
