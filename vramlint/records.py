"""``NamedTuple`` whose classes are made in a twentieth of the time of typing's.

One run makes 140 such classes. typing compiles the annotation of every field, and collections compiles a constructor
for every class: together that was a sixth of a check. Here annotations stay the text that
``from __future__ import annotations`` makes them (``typing.get_type_hints`` reads both), and constructors of as many
fields share one compiled body, under their own parameters' names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from functools import cache
    from operator import itemgetter
    from types import CodeType, FunctionType

    try:
        from _collections import _tuplegetter as _getter
    except ImportError:  # as collections does it

        def _getter(index: int, doc: str) -> property:
            return property(itemgetter(index), doc=doc)

    _BUILTINS = {"tuple_of": tuple.__new__}

    class _Record(tuple):
        """What all share. The methods are those of ``collections.namedtuple``."""

        __slots__ = ()
        _fields: tuple[str, ...] = ()

        @classmethod
        def _make(cls, values: Any) -> Any:
            return cls(*values)

        def _replace(self, **changed: Any) -> Any:
            made = tuple.__new__(type(self), map(changed.pop, self._fields, self))
            if changed:
                raise TypeError(f"{type(self).__name__} has no field {', '.join(changed)}")
            return made

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self) -> str:
            shown = ", ".join(f"{field}={value!r}" for field, value in self._asdict().items())
            return f"{type(self).__name__}({shown})"

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)

    @cache
    def _constructor(count: int) -> CodeType:
        """The body of the constructor of a tuple of ``count`` fields."""
        names = "".join(f"_{index}, " for index in range(count))
        space: dict[str, Any] = {}
        exec(f"def __new__(_cls, {names}): return tuple_of(_cls, ({names}))", space)
        return space["__new__"].__code__

    @cache
    def _field(index: int) -> Any:
        return _getter(index, "")

    class _Maker(type):
        """Makes the tuple of a class statement: its fields with their defaults, then its other members."""

        def __new__(cls, name: str, bases: tuple[type, ...], members: dict[str, Any]) -> type:
            fields = tuple(members.get("__annotations__", ()))
            defaults = {field: members[field] for field in fields if field in members}
            code = _constructor(len(fields)).replace(co_varnames=("_cls", *fields))
            members |= {field: _field(index) for index, field in enumerate(fields)}
            members |= {
                "__new__": FunctionType(code, _BUILTINS, "__new__", tuple(defaults.values())),
                "__slots__": (),
                "__match_args__": fields,
                "_fields": fields,
                "_field_defaults": defaults,
            }
            return type(name, (_Record, Generic) if Generic in bases else (_Record,), members)

    class _Base:
        def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
            return (_ROOT,)

    _ROOT = type.__new__(_Maker, "NamedTuple", (), {})
    NamedTuple = _Base()
