"""The options that a Python script declares: ``argparse``, ``click`` and ``absl.flags``.

All three become ``argparse`` definitions: one mapping from long flag to default, and one from long flag to the details.
"""

from __future__ import annotations

import ast

from vramlint.sources.model import Definition, Entry, Mapping, Node, Scalar, Sequence, Span, Style, Unknown
from vramlint.sources.python_places import Places
from vramlint.sources.python_scope import Scope, dotted_name, last_name
from vramlint.sources.python_values import Evaluator

_GROUPS = frozenset({"add_argument_group", "add_mutually_exclusive_group"})
_ABSL_TYPES = {
    "DEFINE_integer": "int",
    "DEFINE_float": "float",
    "DEFINE_string": "str",
    "DEFINE_bool": "bool",
    "DEFINE_boolean": "bool",
    "DEFINE_enum": "str",
    "DEFINE_list": "list",
}
"""The flag kinds of absl-py 2.1 (``absl/flags/_defines.py``) that spell a plain value."""
_STORED_WITHOUT_VALUE = {"store_true": False, "store_false": True}
"""Defaults that argparse gives by itself (CPython 3.11 ``argparse._StoreTrueAction``)."""


def is_argument_call(call: ast.Call) -> bool:
    """Whether ``call`` declares an option or makes a parser."""
    name = last_name(call.func)
    if name == "add_argument" or name == "add_parser" or name in _GROUPS or name in _ABSL_TYPES:
        return True
    if name.endswith(("ArgumentParser", "ArgParser")):
        return True
    return name == "option" and dotted_name(call.func) in ("click.option", "option")


class Parsers:
    """Collects the option declarations of one file, parser by parser."""

    def __init__(self, evaluator: Evaluator, places: Places) -> None:
        self._evaluator = evaluator
        self._places = places
        self._by_name: dict[tuple[str | None, str], Definition] = {}
        self.definitions: list[Definition] = []

    def assigned(self, name: str, call: ast.Call, function: str | None, scope: Scope) -> None:
        """``name = call``, where ``call`` may make a parser, a subparser or a group."""
        made = last_name(call.func)
        if made.endswith(("ArgumentParser", "ArgParser")):
            self._by_name[function, name] = self._new(name, call, function)
        elif made == "add_parser" and call.args:
            match self._evaluator.node(call.args[0], scope):
                case Scalar(value=str(subcommand)):
                    self._by_name[function, name] = self._new(subcommand, call, function)
                case _:
                    self._by_name[function, name] = self._new(name, call, function)
        elif made in _GROUPS and isinstance(call.func, ast.Attribute):
            self._by_name[function, name] = self._of(call.func.value, call, function)

    def declared(self, call: ast.Call, function: str | None, scope: Scope) -> None:
        """Record ``call`` where it declares an option."""
        name = last_name(call.func)
        if name == "add_argument" and isinstance(call.func, ast.Attribute):
            self._add(self._of(call.func.value, call, function), call, scope)
        elif name in _ABSL_TYPES:
            self._add_absl(self._named("flags", call, None), call, scope)

    def decorated(self, function: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> None:
        """Record the ``@click.option`` decorators of ``function``."""
        for decorator in function.decorator_list:
            if (
                isinstance(decorator, ast.Call)
                and last_name(decorator.func) == "option"
                and is_argument_call(decorator)
            ):
                self._add(self._named(function.name, decorator, None), decorator, scope)

    def _of(self, receiver: ast.expr, call: ast.Call, function: str | None) -> Definition:
        """The parser that ``receiver`` stands for: a variable, or a group made on the spot."""
        while isinstance(receiver, ast.Call) and isinstance(receiver.func, ast.Attribute):
            receiver = receiver.func.value
        return self._named(dotted_name(receiver) or "parser", call, function)

    def _named(self, name: str, call: ast.Call, function: str | None) -> Definition:
        known = self._by_name.get((function, name)) or self._by_name.get((None, name))
        if known is None:
            known = self._by_name[function, name] = self._new(name, call, function)
        return known

    def _new(self, name: str, call: ast.Call, function: str | None) -> Definition:
        span = self._places.span(call)
        members, details = Mapping(span, [], "options"), Mapping(span, [], "options")
        made = Definition("argparse", name, (), members, span, function, details)
        self.definitions.append(made)
        return made

    def _add(self, parser: Definition, call: ast.Call, scope: Scope) -> None:
        given = self._evaluator.arguments(call, scope)
        nodes = [self._evaluator.node(argument, scope) for argument in call.args]
        flags = [node for node in nodes if isinstance(node, Scalar) and str(node.value).startswith("-")]
        if not flags:
            return
        long = next((flag for flag in flags if str(flag.value).startswith("--")), flags[0])
        key = str(long.value).split("/", 1)[0].strip()
        default = given.get("default") or self._implied_default(given, call)
        self._record(parser, key, long, default, call, flags, given)

    def _add_absl(self, parser: Definition, call: ast.Call, scope: Scope) -> None:
        given = self._evaluator.arguments(call, scope)
        name, default = given.get("0"), given.get("1") or given.get("default")
        if not isinstance(name, Scalar) or not isinstance(name.value, str) or default is None:
            return
        self._record(parser, f"--{name.value}", name, default, call, [name], given)

    def _record(
        self,
        parser: Definition,
        key: str,
        spelled: Scalar,
        default: Node,
        call: ast.Call,
        flags: list[Scalar],
        given: Mapping,
    ) -> None:
        span = self._places.span(call)
        parser.members.entries.append(Entry(key, spelled.span, default, span))
        details = [entry for entry in given.entries if not entry.key.isdigit()]
        listed = Sequence(Span(flags[0].span.start, flags[-1].span.end), list(flags), "flow")
        details.append(Entry("flags", spelled.span, listed, span))
        if parser.arguments is not None:
            parser.arguments.entries.append(Entry(key, spelled.span, Mapping(span, details, "call"), span))

    def _implied_default(self, given: Mapping, call: ast.Call) -> Node:
        """What a missing ``default=`` means: an empty place in front of the closing parenthesis."""
        end = self._places.span(call).end - 1
        nowhere = Span(end, end)
        match given.get("action"), given.get("required"), given.get("is_flag"):
            case _, Scalar(value=True), _:
                return Unknown(nowhere, "", "required on the command line")
            case Scalar(value=str(action)), _, _ if action in _STORED_WITHOUT_VALUE:
                return Scalar(nowhere, "", _STORED_WITHOUT_VALUE[action], Style.EMPTY)
            case _, _, Scalar(value=True):
                return Scalar(nowhere, "", value=False, style=Style.EMPTY)
            case _:
                return Scalar(nowhere, "", None, Style.EMPTY)
