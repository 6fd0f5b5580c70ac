"""What a Python expression is worth, worked out without running anything.

Only what cannot be otherwise is answered: literals, arithmetic on them, names with one known value, containers,
``dict(...)``, constructors of settings classes. Everything else is an :class:`Unknown` with its reason.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable

from vramlint.patterns import later
from vramlint.sources import python_arithmetic as arithmetic
from vramlint.sources.model import Definition, Entry, Mapping, Node, Scalar, Sequence, Span, Style, Unknown
from vramlint.sources.python_comprehension import MAX_ITEMS, comprehension
from vramlint.sources.python_places import Places
from vramlint.sources.python_scope import Scope, dotted_name, inherited, item_of, last_name, share

MAX_DEPTH = 80
"""Nesting of an expression that is followed: Python itself reads at most 200 open brackets."""
MAX_WEIGHT = 50_000
"""Values in a container once every name in it is written out; beyond that a walk would explode."""
MAX_COPIES = 500_000
"""Entries and items that one file may copy by ``**``, ``*``, ``+`` and base classes before the rest is unknown."""

_STRING = later(
    r"""[a-zA-Z]{0,2}(?:(?P<block>\"{3}|'{3}).*(?P=block)|(?P<double>"(?:[^"\\]++|\\.)*+")|'(?:[^'\\]++|\\.)*+')""",
    re.DOTALL,
)
_SIMPLE_FORMAT = later(r"0?[0-9]{0,2},?(?:\.[0-9]{1,2})?[bdefgosxX%]?")


class Evaluator:
    """Values of the expressions of one text. ``uses`` counts how often each name is read."""

    def __init__(self, places: Places, uses: Counter[str]) -> None:
        self._places = places
        self._uses = uses
        self._depth = 0
        self._weights: dict[int, tuple[Node, int, int]] = {}
        self._calls: dict[int, Mapping] = {}
        self._copies = 0
        self._referred: Counter[int] = Counter()
        self.base_config: Mapping | None = None
        """What ``_base_`` stands for in an OpenMMLab config, once its base files are read."""

    def node(self, expression: ast.expr, scope: Scope) -> Node:
        """The value of ``expression`` with the names of ``scope``."""
        handler = _HANDLERS.get(type(expression))
        if handler is None:
            return self.unknown(expression, "needs the code to run")
        if self._depth >= MAX_DEPTH:
            return self.unknown(expression, "nested too deeply")
        self._depth += 1
        try:
            return handler(self, expression, scope)
        except arithmetic.NotKnown as reason:
            return self.unknown(expression, str(reason))
        finally:
            self._depth -= 1

    def unknown(self, expression: ast.expr, reason: str) -> Unknown:
        """No value for ``expression``, and why."""
        span = self._places.span(expression)
        return Unknown(span, self._text(span), reason)

    def known(self, expression: ast.expr, scope: Scope) -> arithmetic.Known:
        """The plain value of ``expression``. Raises NotKnown where it has none."""
        match self.node(expression, scope):
            case Scalar(value=value):
                return value
            case Unknown(reason=reason):
                raise arithmetic.NotKnown(reason)
            case _:
                raise arithmetic.NotKnown("a container in arithmetic")

    def container(self, expression: ast.expr, scope: Scope) -> Node | None:
        """The list or mapping that ``a["b"].c`` names, for a statement that changes it; None where it is not known."""
        keys: list[str | int] = []
        while isinstance(expression, (ast.Attribute, ast.Subscript)):
            key = expression.attr if isinstance(expression, ast.Attribute) else self._constant_key(expression.slice)
            if key is None:
                return None
            keys.append(key)
            expression = expression.value
        if not isinstance(expression, ast.Name):
            return None
        from_base = expression.id == "_base_" and self.base_config is not None
        node = self.base_config if from_base else scope.find(expression.id)
        for key in reversed(keys):
            node = item_of(node, key)
        return node if isinstance(node, (Mapping, Sequence)) else None

    def members(self, made: Definition, scope: Scope) -> list[Entry]:
        """The attributes of a class, those of its bases in ``scope`` first. Raises NotKnown for an endless family."""
        family: list[Definition] = []
        pending = [made]
        while pending:
            current = pending.pop()
            if current in family:
                continue
            if len(family) >= MAX_DEPTH:
                raise arithmetic.NotKnown("too many base classes")
            family.append(current)
            pending.extend(parent for base in current.bases if (parent := scope.find_class(base)) is not None)
        return [entry for each in reversed(family) for entry in self._spread(each.members)]

    def _spread(self, mapping: Mapping) -> list[Entry]:
        """The entries of ``mapping`` taken over into another. Raises NotKnown once a file has copied too many."""
        self._spend(len(mapping.entries))
        return inherited(mapping)

    def _spend(self, copies: int) -> None:
        self._copies += copies
        if self._copies > MAX_COPIES:
            raise arithmetic.NotKnown("too large to write out")

    def _constant_key(self, expression: ast.expr) -> str | int | None:
        match expression:
            case ast.Constant(value=str(key)) | ast.Constant(value=int(key)):
                return key
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(key))):
                return -key
            case _:
                return None

    def arguments(self, call: ast.Call, scope: Scope) -> Mapping:
        """The arguments of ``call``: positional ones keyed "0", "1", …, then keyword arguments and ``**mappings``.

        One call is one mapping, however often it is asked for.
        """
        known = self._calls.get(id(call))
        if known is not None:
            return known
        entries: list[Entry] = []
        for index, argument in enumerate(call.args):
            span = self._places.span(argument)
            if isinstance(argument, ast.Starred):
                entries.append(Entry("*", Span(span.start, span.start), self.unknown(argument, "unpacked"), span))
                continue
            entries.append(Entry(str(index), Span(span.start, span.start), self.node(argument, scope), span))
        for keyword in call.keywords:
            entries.extend(self._keyword(keyword, scope))
        mapping = Mapping(self._places.span(call), entries, "call")
        self._calls[id(call)] = mapping
        return mapping

    def field_default(self, call: ast.Call, scope: Scope) -> Node | None:
        """The default in ``dataclasses.field(...)``, pydantic ``Field(...)``, ``attr.ib(...)``; None otherwise."""
        if last_name(call.func) not in _FIELD_CALLS:
            return None
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        if "default" in given:
            return self.node(given["default"], scope)
        factory = given.get("default_factory") or given.get("factory")
        if isinstance(factory, ast.Lambda):
            return self.node(factory.body, scope)
        if isinstance(factory, ast.Name) and (made := scope.find_class(factory.id)) is not None:
            return made.members
        if factory is None and call.args and last_name(call.func) != "field":
            return self.node(call.args[0], scope)
        return self.unknown(call, "no default")

    def _keyword(self, keyword: ast.keyword, scope: Scope) -> list[Entry]:
        span = self._places.span(keyword)
        value = self.node(keyword.value, scope)
        if keyword.arg is not None:
            key_span = Span(span.start, span.start + len(keyword.arg))
            return [Entry(keyword.arg, key_span, value, span)]
        if isinstance(value, Mapping):
            return self._spread(value)
        return [Entry("**", Span(span.start, span.start + 2), value, span)]

    def _text(self, span: Span) -> str:
        return self._places.text[span.start : span.end]

    def _computed(self, expression: ast.expr, value: arithmetic.Known, definition: Scalar | None = None) -> Scalar:
        span = self._places.span(expression)
        shared = definition is not None and definition.shared
        return Scalar(span, self._text(span), value, Style.COMPUTED, definition=definition, shared=shared)

    def _constant(self, expression: ast.Constant, _: Scope) -> Node:
        span = self._places.span(expression)
        text = self._text(span)
        value = expression.value
        if value is None or isinstance(value, (bool, int, float)):
            return Scalar(span, text, value)
        if not isinstance(value, str):
            return Unknown(span, text, f"{type(value).__name__} is no value of a setting")
        return Scalar(span, text, value, _string_style(text))

    def _name(self, expression: ast.Name, scope: Scope) -> Node:
        if expression.id == "_base_" and self.base_config is not None:
            return self.base_config
        target = scope.find(expression.id)
        if target is None:
            return self.unknown(expression, f"{expression.id} is not set in this file")
        return self._refer(expression, target, used_again=self._uses[expression.id] > 1)

    def _refer(self, expression: ast.expr, target: Node, *, used_again: bool) -> Node:
        """``target`` as seen from ``expression``, which only names it."""
        if isinstance(target, Unknown):
            return self.unknown(expression, target.reason)
        if isinstance(target, Scalar):
            scalar = self._computed(expression, target.value, target.definition or target)
            scalar.shared = used_again or target.shared
            return scalar
        weight, depth = self._weight(target)
        if weight > MAX_WEIGHT or depth > MAX_DEPTH:
            return self.unknown(expression, "too large to write out")
        self._referred[id(target)] += 1
        if self._referred[id(target)] > 1:
            share(target)
        return target

    def _attribute(self, expression: ast.Attribute, scope: Scope) -> Node:
        owner = expression.value
        members: Node | None = None
        if isinstance(owner, ast.Name) and (found := scope.find_class(owner.id)) is not None:
            members = Mapping(found.span, self.members(found, scope), "class")
        elif isinstance(owner, (ast.Name, ast.Attribute)):
            members = self.node(owner, scope)
        if not isinstance(members, Mapping) or (target := members.get(expression.attr)) is None:
            return self.unknown(expression, "an attribute of something unknown")
        return self._refer(expression, target, used_again=True)

    def _subscript(self, expression: ast.Subscript, scope: Scope) -> Node:
        owner = self.node(expression.value, scope)
        key = self.known(expression.slice, scope)
        target = item_of(owner, key) if isinstance(key, (str, int)) else None
        if target is None:
            return self.unknown(expression, "an item of something unknown")
        return self._refer(expression, target, used_again=True)

    def _unary(self, expression: ast.UnaryOp, scope: Scope) -> Node:
        value = arithmetic.unary(expression.op, self.known(expression.operand, scope))
        if isinstance(expression.operand, ast.Constant) and isinstance(expression.op, (ast.USub, ast.UAdd)):
            span = self._places.span(expression)
            return Scalar(span, self._text(span), value)
        return self._computed(expression, value)

    def _binary(self, expression: ast.BinOp, scope: Scope) -> Node:
        left, right = self.node(expression.left, scope), self.node(expression.right, scope)
        if isinstance(left, Sequence) and isinstance(right, Sequence) and isinstance(expression.op, ast.Add):
            self._spend(len(left.items) + len(right.items))
            return Sequence(self._places.span(expression), [*left.items, *right.items], "flow", shared=True)
        if isinstance(expression.op, ast.Mult) and isinstance(left, Sequence):
            times = _plain_scalar(right)
            return self._repeated(expression, left, times)
        values = [_plain_scalar(side) for side in (left, right)]
        return self._computed(expression, arithmetic.binary(expression.op, values[0], values[1]))

    def _repeated(self, expression: ast.BinOp, items: Sequence, times: arithmetic.Known) -> Node:
        if not isinstance(times, int) or times < 0:
            raise arithmetic.NotKnown("a list times something else than a count")
        self._spend(len(items.items) * min(times, MAX_COPIES + 1))
        return Sequence(self._places.span(expression), items.items * times, "flow", shared=True)

    def _boolean(self, expression: ast.BoolOp, scope: Scope) -> Node:
        stop = isinstance(expression.op, ast.Or)
        value: arithmetic.Known = None
        for operand in expression.values:
            value = self.known(operand, scope)
            if bool(value) is stop:
                break
        return self._computed(expression, value)

    def _compare(self, expression: ast.Compare, scope: Scope) -> Node:
        left = self.known(expression.left, scope)
        holds = True
        for operation, operand in zip(expression.ops, expression.comparators, strict=True):
            right = self.known(operand, scope)
            holds = arithmetic.compare(operation, left, right)
            if not holds:
                break
            left = right
        return self._computed(expression, holds)

    def _conditional(self, expression: ast.IfExp, scope: Scope) -> Node:
        chosen = expression.body if self.known(expression.test, scope) else expression.orelse
        node = self.node(chosen, scope)
        if not isinstance(node, Scalar):
            return node
        scalar = self._computed(expression, node.value, node.definition or node)
        scalar.shared = node.shared
        return scalar

    def _format(self, expression: ast.JoinedStr, scope: Scope) -> Node:
        pieces: list[str] = []
        for part in expression.values:
            if isinstance(part, ast.Constant):
                pieces.append(str(part.value))
            elif isinstance(part, ast.FormattedValue):
                pieces.append(self._formatted(part, scope))
        text = "".join(pieces)
        if len(text) > arithmetic.MAX_CHARACTERS:
            raise arithmetic.NotKnown("a text too long to work out")
        return self._computed(expression, text)

    def _formatted(self, part: ast.FormattedValue, scope: Scope) -> str:
        value = self.known(part.value, scope)
        if part.conversion == ord("r"):
            value = repr(value)
        if part.format_spec is None:
            return str(value)
        form = self.known(part.format_spec, scope)
        if not isinstance(form, str) or not _SIMPLE_FORMAT.fullmatch(form):
            raise arithmetic.NotKnown("a format that is not worked out")
        try:
            return format(value, form)
        except (TypeError, ValueError) as error:
            raise arithmetic.NotKnown(str(error)) from None

    def _set(self, expression: ast.Set, scope: Scope) -> Node:
        """A set; in an mmcv 1.x config ``{{_base_.model}}`` means the value of the base file instead."""
        match expression.elts:
            case [ast.Set(elts=[ast.Attribute() as inner])] if dotted_name(inner).startswith("_base_."):
                return self.node(inner, scope)
            case _:
                return self._sequence(expression, scope)

    def _sequence(self, expression: ast.List | ast.Tuple | ast.Set, scope: Scope) -> Node:
        items: list[Node] = []
        for element in expression.elts:
            if not isinstance(element, ast.Starred):
                items.append(self.node(element, scope))
                continue
            spread = self.node(element.value, scope)
            if not isinstance(spread, Sequence):
                raise arithmetic.NotKnown(spread.reason if isinstance(spread, Unknown) else "unpacks no list")
            self._spend(len(spread.items))
            items.extend(spread.items)
        return Sequence(self._places.span(expression), items, "flow")

    def _comprehension(self, expression: ast.ListComp, scope: Scope) -> Node:
        self._spend(MAX_ITEMS * 10)  # each item is an expression to work out, and a file may hold many
        return comprehension(self, expression, scope, self._places.span(expression))

    def _dictionary(self, expression: ast.Dict, scope: Scope) -> Node:
        entries: list[Entry] = []
        for key, item in zip(expression.keys, expression.values, strict=True):
            value = self.node(item, scope)
            value_span = self._places.span(item)
            if key is None:
                if isinstance(value, Mapping):
                    entries.extend(self._spread(value))
                else:
                    entries.append(Entry("**", Span(value_span.start, value_span.start), value, value_span))
                continue
            key_span = self._places.span(key)
            entries.append(Entry(str(self.known(key, scope)), key_span, value, Span(key_span.start, value_span.end)))
        return Mapping(self._places.span(expression), entries, "flow")

    def _call(self, expression: ast.Call, scope: Scope) -> Node:
        name = last_name(expression.func)
        if name in _DICTIONARIES:
            return self._dict_call(expression, scope)
        plain_name = isinstance(expression.func, ast.Name)
        if plain_name and name in arithmetic.KNOWN_FUNCTIONS and not expression.keywords:
            return self._known_call(expression, name, scope)
        if plain_name and name in ("list", "tuple") and len(expression.args) == 1:
            return self.node(expression.args[0], scope)
        if plain_name and not expression.args and not expression.keywords:
            made = scope.find_class(name)
            if made is not None:
                return made.members  # an instance with nothing but its class's values
        if name[:1].isupper():
            return self.arguments(expression, scope)
        return self.unknown(expression, f"the result of {name or 'a call'}()")

    def _known_call(self, expression: ast.Call, name: str, scope: Scope) -> Node:
        if len(expression.args) == 1 and name in ("len", "max", "min", "sum"):
            only = self.node(expression.args[0], scope)
            if isinstance(only, Sequence):
                if name == "len":
                    return self._computed(expression, len(only.items))
                return self._computed(expression, arithmetic.call(name, [_plain_scalar(item) for item in only.items]))
        return self._computed(expression, arithmetic.call(name, [self.known(each, scope) for each in expression.args]))

    def _dict_call(self, expression: ast.Call, scope: Scope) -> Node:
        mapping = self.arguments(expression, scope)
        entries: list[Entry] = []
        for entry in mapping.entries:
            if entry.key_span.start != entry.key_span.end:
                entries.append(entry)
            elif isinstance(entry.value, Mapping):
                entries.extend(self._spread(entry.value))
            else:
                raise arithmetic.NotKnown("a dictionary of something unknown")
        return Mapping(mapping.span, entries, "call")

    def _weight(self, node: Node) -> tuple[int, int]:
        """How many values ``node`` has when written out, and how deep it is; each container is measured once."""
        if isinstance(node, (Scalar, Unknown)):
            return 1, 0
        measured = self._weights.get(id(node))
        if measured is None:
            children = node.items if isinstance(node, Sequence) else [entry.value for entry in node.entries]
            sizes = [self._weight(child) for child in children]
            weight = 1 + sum(size for size, _ in sizes)
            measured = (node, weight, 1 + max((depth for _, depth in sizes), default=0))
            self._weights[id(node)] = measured
        return measured[1], measured[2]


def _plain_scalar(node: Node) -> arithmetic.Known:
    if isinstance(node, Scalar):
        return node.value
    raise arithmetic.NotKnown(node.reason if isinstance(node, Unknown) else "a container in arithmetic")


def _string_style(text: str) -> Style:
    found = _STRING.fullmatch(text)
    if found is None:
        return Style.COMPUTED
    if found["block"] is not None:
        return Style.BLOCK
    return Style.DOUBLE if found["double"] is not None else Style.SINGLE


_FIELD_CALLS = frozenset({"field", "Field", "attrib", "ib", "PrivateAttr", "cli_field"})
_DICTIONARIES = frozenset(
    {"dict", "OrderedDict", "ConfigDict", "EasyDict", "edict", "Munch", "SimpleNamespace", "Namespace"}
)

_Handler = Callable[..., Node]
"""Each takes an Evaluator, the one node type it is listed under, and a Scope."""
_HANDLERS: dict[type[ast.expr], _Handler] = {
    ast.Constant: Evaluator._constant,
    ast.Name: Evaluator._name,
    ast.Attribute: Evaluator._attribute,
    ast.Subscript: Evaluator._subscript,
    ast.UnaryOp: Evaluator._unary,
    ast.BinOp: Evaluator._binary,
    ast.BoolOp: Evaluator._boolean,
    ast.Compare: Evaluator._compare,
    ast.IfExp: Evaluator._conditional,
    ast.JoinedStr: Evaluator._format,
    ast.List: Evaluator._sequence,
    ast.Tuple: Evaluator._sequence,
    ast.Set: Evaluator._set,
    ast.ListComp: Evaluator._comprehension,
    ast.Dict: Evaluator._dictionary,
    ast.Call: Evaluator._call,
}
