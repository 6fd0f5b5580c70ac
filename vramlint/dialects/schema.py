"""A dialect's settings: declared once, validated by pydantic's engine, at hand as a pydantic model.

A dialect declares its settings as a pydantic schema: the field is the plan's fact, ``keys(...)`` gives the framework's
own keys (dotted where they nest) and the framework's default, the type says what is accepted. A value that is of that
type as it stands is taken as it stands. Anything else is for pydantic's engine, ``pydantic_core``, whose import takes a
seventh of a check: it converts, or says in its words what is wrong. The library around it, whose import takes as long
as a linter's whole run, makes a ``BaseModel`` of the same declaration for whoever asks ``model`` for one;
``tests/dialects/test_schema.py`` holds all three to the same values and the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, TypeVar, get_args, get_type_hints

from vramlint.dialects.values import as_count, as_flag, as_size, as_text
from vramlint.patterns import later
from vramlint.plan import ImageSize

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import CoreSchema, SchemaValidator


class Spelled(NamedTuple):
    """How people spell a value: ``read`` makes what they mean of it or raises ValueError; ``least`` bounds a number."""

    read: Callable[[object], object]
    least: int | None = None


Count = Annotated[int, Spelled(as_count, least=1)]
"""A number of things, at least one."""
Natural = Annotated[int, Spelled(as_count, least=0)]
Whole = Annotated[int, Spelled(as_count)]
Flag = Annotated[bool, Spelled(as_flag)]
Size = Annotated[ImageSize, Spelled(as_size)]
Text = Annotated[str, Spelled(as_text)]


class Setting(NamedTuple):
    """A declared field: the keys that spell it, in order of preference, and the framework's default."""

    keys: tuple[str, ...]
    default: Any = None


def keys(*names: str, default: Any = None) -> Any:
    """A field spelled by any of ``names`` (the first that is there counts), with the framework's default."""
    return Setting(names, default)


class Kind(NamedTuple):
    """Which values are taken as they stand: ``read`` gives one of exactly this ``type``, of ``least`` or more."""

    type: type
    read: Callable[[Any], Any]
    least: int | None = None


def _itself(value: Any) -> Any:
    return value


_DECIMAL = later(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,2})?")


def _as_float(value: Any) -> Any:
    """A float, also of a whole number or of ``2e-5``, which YAML 1.1 takes for a text."""
    if type(value) is int and abs(value) < 2**53:
        return float(value)
    return float(value) if type(value) is str and _DECIMAL.fullmatch(value) else value


def _spelled(annotation: Any) -> Kind:
    spelled: Spelled = annotation.__metadata__[0]
    return Kind(annotation.__origin__, spelled.read, spelled.least)


_ANYTHING, _ENGINES = Kind(object, _itself), Kind(NoneType, _itself)
_KINDS = {
    "Any": _ANYTHING,
    "int | None": Kind(int, _itself),
    "float | None": Kind(float, _as_float),
    "Count | None": _spelled(Count),
    "Natural | None": _spelled(Natural),
    "Whole | None": _spelled(Whole),
    "Flag | None": _spelled(Flag),
    "Size | None": _spelled(Size),
    "Text | None": _spelled(Text),
}
"""By the text of a field's annotation; a field of any other is always pydantic's."""


class Schema:
    """Base of every dialect's schema. ``source`` names framework and version for the notes of its defaults."""

    source: ClassVar[str] = ""
    model_fields: ClassVar[Mapping[str, Setting]] = {}
    """The declared fields by name, inherited ones first."""
    kinds: ClassVar[Mapping[str, Kind]] = {}

    def __init_subclass__(cls) -> None:
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Setting)}
        cls.model_fields = {**cls.model_fields, **own}
        cls.kinds = {**cls.kinds, **{name: _KINDS.get(cls.__annotations__[name], _ENGINES) for name in own}}

    def __init__(self, **values: Any) -> None:
        """Holds ``values`` as they are; ``validate`` is the way from what a file says."""
        vars(self).update(values)


S = TypeVar("S", bound=Schema)


def validate(schema: type[S], data: Mapping[str, Any]) -> S:
    """The values of ``data``, which goes by field names, and the defaults of what it lacks.

    Raises ``pydantic_core.ValidationError`` (pydantic's own) with everything that the declaration does not accept.
    """
    plain = _as_it_stands(schema, data)
    if plain is not None:
        return schema(**plain)
    if schema not in _VALIDATORS:
        _VALIDATORS[schema] = _validator(schema)
    return schema(**_VALIDATORS[schema].validate_python(data))


def problems(error: ValueError) -> dict[str, str]:
    """What a ``ValidationError`` of :func:`validate` says of each field; any other error is raised again."""
    from pydantic_core import ValidationError

    if not isinstance(error, ValidationError):
        raise error
    return {str(problem["loc"][0]): problem["msg"] for problem in error.errors(include_url=False)}


_VALIDATORS: dict[type[Schema], SchemaValidator] = {}


def _as_it_stands(schema: type[Schema], data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fields' values where each is plainly of the type declared for it, None where one wants pydantic's engine."""
    values: dict[str, Any] = {}
    for name, setting in schema.model_fields.items():
        value: Any = data.get(name, setting.default)
        if value is not None and (kind := schema.kinds.get(name, _ENGINES)) is not _ANYTHING:
            try:
                value = kind.read(value)
            except ValueError:
                return None
            too_small = kind.least is not None and isinstance(value, int) and value < kind.least
            if type(value) is not kind.type or too_small:
                return None
        values[name] = value
    return values


def _validator(schema: type[Schema]) -> SchemaValidator:
    from pydantic_core import SchemaValidator, core_schema

    accepted = get_type_hints(schema, include_extras=True)
    fields = {
        name: core_schema.typed_dict_field(
            core_schema.with_default_schema(_accepts(accepted[name]), default=setting.default, validate_default=True)
        )
        for name, setting in schema.model_fields.items()
    }
    return SchemaValidator(core_schema.typed_dict_schema(fields))


def _accepts(annotation: Any) -> CoreSchema:
    """What the engine takes for ``annotation``: ``Any``, or one of the types above or a number, or None."""
    from pydantic_core import core_schema

    if annotation is Any:
        return core_schema.any_schema()
    (kind,) = (each for each in get_args(annotation) if each is not NoneType)
    return core_schema.nullable_schema(_kind(kind))


def _kind(kind: Any) -> CoreSchema:
    from pydantic_core import core_schema

    if kind is int:
        return core_schema.int_schema()
    if kind is float:
        return core_schema.float_schema()
    spelled: Spelled = kind.__metadata__[0]
    return core_schema.no_info_before_validator_function(spelled.read, _plain(kind.__origin__, spelled.least))


def _plain(kind: type, least: int | None) -> CoreSchema:
    from pydantic_core import core_schema

    if kind is int:
        return core_schema.int_schema(ge=least)
    if kind is bool:
        return core_schema.bool_schema()
    return core_schema.str_schema() if kind is str else core_schema.is_instance_schema(kind)


def model(schema: type[Schema]) -> type[BaseModel]:
    """``schema`` as a pydantic model whose fields are spelled as the framework spells them."""
    from pydantic import AliasChoices, ConfigDict, Field, create_model

    accepted = get_type_hints(schema, include_extras=True)
    fields: dict[str, Any] = {
        name: (
            _annotation(accepted[name]),
            Field(
                title=name,
                description=f"Also spelled {', '.join(setting.keys[1:])}." if setting.keys[1:] else None,
                default=setting.default,
                validate_default=True,
                validation_alias=AliasChoices(*setting.keys),
            ),
        )
        for name, setting in schema.model_fields.items()
    }
    config = ConfigDict(extra="ignore", populate_by_name=True, arbitrary_types_allowed=True)
    return create_model(
        schema.__name__, __config__=config, __doc__=schema.__doc__, __module__=schema.__module__, **fields
    )


def json_schema(schemas: Sequence[type[Schema]], title: str) -> dict[str, Any]:
    """``schemas`` as one JSON Schema; a property is the key that a file spells, its title the plan's fact."""
    from pydantic.json_schema import models_json_schema

    _, found = models_json_schema([(model(schema), "validation") for schema in schemas], title=title)
    parts = [{"$ref": f"#/$defs/{name}"} for name in found.get("$defs", {})]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "allOf": parts}


def _annotation(annotation: Any) -> Any:
    """``annotation`` in pydantic's words."""
    from pydantic import BeforeValidator, Field

    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    if annotation is Any or not hasattr(kinds[0], "__metadata__"):
        return annotation
    spelled: Spelled = kinds[0].__metadata__[0]
    return Annotated[kinds[0].__origin__, Field(ge=spelled.least), BeforeValidator(spelled.read)] | None
