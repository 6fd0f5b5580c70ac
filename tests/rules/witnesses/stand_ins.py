"""Modules that stand in for what a framework imports and its checks of settings never use."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _AnythingOfClass(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything

    def __iter__(cls) -> Any:
        return iter(())


class Anything(metaclass=_AnythingOfClass):
    """A class that may be called, derived from, subscripted and used as a decorator; it does nothing."""

    def __init__(self, *_args: Any, **_words: Any) -> None: ...

    def __class_getitem__(cls, _item: Any) -> Any:
        return cls

    def __call__(self, *args: Any, **_words: Any) -> Any:
        return args[0] if args else self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()


class StandIn(ModuleType):
    """A module that has whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Anything,), {})


class StandInFinder(MetaPathFinder, Loader):
    """Finds the modules called ``names``, and everything below them, as stand-ins."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> ModuleSpec | None:
        wanted = any(name == known or name.startswith(f"{known}.") for known in self._names)
        return ModuleSpec(name, self, is_package=True) if wanted else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return StandIn(spec.name)

    def exec_module(self, _module: ModuleType) -> None: ...


def stand_in_for(*names: str) -> None:
    """From now on, ``names`` that are imported are stand-ins."""
    sys.meta_path.insert(0, StandInFinder(names))


def without_its_init(name: str, folder: str) -> None:
    """The package ``name`` in ``folder``, of which modules can be imported while its ``__init__`` does not run."""
    package = ModuleType(name)
    package.__path__ = [folder]
    sys.modules[name] = package
