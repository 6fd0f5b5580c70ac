"""Python modules whose settings are taken over from other modules and then changed: ``train.amp.enabled = True``.

That is how detectron2's LazyConfig composes: ``from ..common.train import train`` gives each importing file a copy of
its own, ``L(Class)(key=value)`` is a mapping of its keywords, ``model_zoo.get_config("common/train.py").train`` names a
file of detectron2's own. Nothing is run; what no constant tells is Unknown.

Source: detectron2 2026-06 ``config/lazy.py`` (LazyConfig.load, _patch_import), ``model_zoo/model_zoo.py#get_config``.
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Callable, Iterable

from vramlint.sources.model import Document, Entry, Mapping, Node, Scalar, Sequence, Style, Unknown
from vramlint.sources.python_arithmetic import NotKnown, binary, unary
from vramlint.sources.python_places import Places
from vramlint.sources.python_project import Resolved

Read = Callable[[str], Document | None]

_MOST_FILES = 40
_MOST_ROUNDS = 100
"""Rounds of a loop that are gone through; configs of 80 blocks list a block's index each."""
_MOST_ENDS = 3
_MOST_NODES = 50_000
"""Nodes of one config; detectron2's largest model file has a few hundred."""


def resolve_lazy(document: Document, read: Read) -> Resolved:
    """The settings of a lazy config with everything it imports, each entry owned by the file that spells it.

    ``missing`` names the files that could not be read, detectron2's own as ``model_zoo:PATH``.
    """
    resolved = Resolved(Mapping(document.root.span, [], "module"), [document])
    composer = _Composer(resolved, read)
    resolved.mapping.entries.extend(composer.module(document).entries)
    return resolved


class _Composer:
    """Walks modules top to bottom and keeps what each name holds."""

    def __init__(self, resolved: Resolved, read: Read) -> None:
        self._resolved = resolved
        self._read = read
        self._open: list[str] = []
        self._nodes = 0

    def module(self, document: Document) -> Mapping:
        """What the names of a module hold at its end; read anew each time, as every import makes a copy."""
        names = Mapping(document.root.span, [], "module")
        if document.path in self._open or len(self._open) >= _MOST_FILES:
            return names
        self._open.append(document.path)
        if all(known is not document for known in self._resolved.documents):
            self._resolved.documents.append(document)
        try:
            _Module(self, document, names).run(ast.parse(document.text).body)
        finally:
            self._open.pop()
        return names

    def imported(self, path: str) -> Mapping | None:
        """The names of the module at ``path``; None, and a name among the missing, where it cannot be read."""
        found = self._read(path)
        if found is None or not found.path.endswith(".py"):
            self._resolved.missing.append(path)
            return None
        return self.module(found)

    def zoo(self, importer: Document, path: str) -> Mapping | None:
        """A config of detectron2 itself: in its own repository it stands in a folder ``configs`` above."""
        folder = posixpath.dirname(importer.path)
        while True:
            found = self._read(posixpath.join(folder, "configs", path))
            if found is not None:
                return self.module(found)
            if not folder:
                self._resolved.missing.append(f"model_zoo:{path}")
                return None
            folder = posixpath.dirname(folder)

    def own(self, entry: Entry, document: Document) -> Entry:
        """``entry``, spelled in ``document``."""
        self._resolved.owners[id(entry)] = document
        return entry

    def spend(self) -> bool:
        """Whether there is room for one more node."""
        self._nodes += 1
        return self._nodes <= _MOST_NODES


class _Module:
    """The statements of one module."""

    def __init__(self, composer: _Composer, document: Document, names: Mapping) -> None:
        self._composer = composer
        self._document = document
        self._places = Places(document.text)
        self._names = names

    def run(self, body: Iterable[ast.stmt]) -> None:
        for statement in body:
            match statement:
                case ast.ImportFrom(level=level) if level:
                    self._import(statement)
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        self._assign(target, self._value(value))
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    self._assign(target, self._value(value))
                case ast.AugAssign(target=target, op=operation, value=value):
                    self._assign(target, self._changed(statement, target, operation, value))
                case ast.Expr() | ast.Delete():
                    self._effect(statement)
                case ast.For(target=target, iter=iterated, body=body) if not statement.orelse:
                    self._loop(target, iterated, body, statement)
                case ast.If() | ast.For() | ast.While() | ast.With() | ast.Try():
                    self._forget(statement)
                case _:
                    continue

    def _effect(self, statement: ast.Expr | ast.Delete) -> None:
        """A statement that changes a mapping in place: ``update``, ``pop``, ``del``."""
        match statement:
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=owner, attr="update")) as call):
                self._update(owner, call)
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=owner, attr="pop")) as call):
                self._take_out(owner, [self._value(word) for word in call.args[:1]])
            case ast.Expr(value=ast.ListComp(elt=element, generators=[loop])):
                self._loop(loop.target, loop.iter, [ast.copy_location(ast.Expr(element), element)], statement)
            case ast.Delete(targets=targets):
                self._delete(targets)

    def _import(self, statement: ast.ImportFrom) -> None:
        folder = posixpath.dirname(self._document.path)
        for _ in range(statement.level - 1):
            folder = posixpath.dirname(folder)
        path = posixpath.join(folder, (statement.module or "").replace(".", "/") + ".py")
        found = self._composer.imported(posixpath.normpath(path))
        for name in statement.names:
            entry = found.entry(name.name) if found is not None else None
            value: Node = self._unknown(statement, "imported from a file that is not at hand")
            self._set(self._names, name.asname or name.name, entry.value if entry is not None else value, statement)

    def _assign(self, target: ast.expr, value: Node) -> None:
        match target:
            case ast.Name(id=name):
                self._set(self._names, name, value, target)
            case ast.Attribute(value=owner, attr=name):
                holder = self._value(owner)
                if isinstance(holder, Mapping):
                    self._set(holder, name, value, target)
            case ast.Subscript(value=owner, slice=ast.Constant(value=str(name))):
                holder = self._value(owner)
                if isinstance(holder, Mapping):
                    self._set(holder, name, value, target)
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                parts = value.items if isinstance(value, Sequence) and len(value.items) == len(targets) else None
                for index, each in enumerate(targets):
                    self._assign(each, parts[index] if parts else self._unknown(target, "needs the code to run"))
            case _:
                return

    def _delete(self, targets: list[ast.expr]) -> None:
        for target in targets:
            match target:
                case (
                    ast.Attribute(value=owner, attr=name)
                    | ast.Subscript(value=owner, slice=ast.Constant(value=str(name)))
                ):
                    self._take_out(owner, [Scalar(self._places.span(target), name, name)])
                case _:
                    continue

    def _take_out(self, owner: ast.expr, words: list[Node]) -> None:
        """``owner.pop(name)``; a name that is not known leaves it open which class the mapping still fits."""
        holder = self._value(owner)
        if not isinstance(holder, Mapping):
            return
        for word in words:
            if isinstance(word, Scalar):
                holder.entries[:] = [entry for entry in holder.entries if entry.key != word.value]
            else:
                self._set(holder, "_target_", self._unknown(owner, "parts are taken out by code"), owner)

    def _loop(self, target: ast.expr, iterated: ast.expr, body: list[ast.stmt], statement: ast.stmt) -> None:
        """A loop over constants, one round after the other."""
        rounds = self._value(iterated)
        leaves = any(isinstance(node, (ast.Break, ast.Continue)) for node in ast.walk(statement))
        if leaves or not isinstance(rounds, Sequence) or len(rounds.items) > _MOST_ROUNDS:
            self._forget(statement)
            return
        for item in rounds.items:
            self._assign(target, item)
            self.run(body)

    def _set(self, mapping: Mapping, key: str, value: Node, place: ast.expr | ast.stmt) -> None:
        span = self._places.span(place)
        entry = self._composer.own(
            Entry(key, span, value, span._replace(end=max(span.end, value.span.end))), self._document
        )
        mapping.entries[:] = [other for other in mapping.entries if other.key != key]
        mapping.entries.append(entry)

    def _changed(self, statement: ast.stmt, target: ast.expr, operation: ast.operator, value: ast.expr) -> Node:
        old, new = self._value(target), self._value(value)
        return self._computed(statement, lambda: binary(operation, _known(old), _known(new)))

    def _update(self, owner: ast.expr, call: ast.Call) -> None:
        holder = self._value(owner)
        given = self._value(call.args[0]) if call.args else None
        if not isinstance(holder, Mapping):
            return
        for entry in given.entries if isinstance(given, Mapping) else []:
            holder.entries[:] = [*(other for other in holder.entries if other.key != entry.key), entry]
        for keyword in call.keywords:
            if keyword.arg:
                self._set(holder, keyword.arg, self._value(keyword.value), keyword.value)

    def _forget(self, statement: ast.stmt) -> None:
        """What a branch or a loop assigns is not known."""
        unknown = self._unknown(statement, "set in a branch or a loop")
        for node in ast.walk(statement):
            match node:
                case ast.Assign(targets=targets) | ast.Delete(targets=targets):
                    for target in targets:
                        self._assign(target, unknown)
                case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                    self._assign(target, unknown)
                case ast.Call(func=ast.Attribute(value=owner, attr="pop")):
                    self._take_out(owner, [unknown])
                case ast.Call(func=ast.Attribute(value=ast.Attribute() | ast.Name() as owner, attr="update")):
                    self._assign(owner, unknown)
                case _:
                    continue

    # Values

    def _value(self, expression: ast.expr) -> Node:  # noqa: PLR0911 - one line for each kind of expression
        if not self._composer.spend():
            return self._unknown(expression, "the config is too large")
        match expression:
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                return Scalar(self._places.span(expression), self._text(expression), value)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return Sequence(self._places.span(expression), [self._value(item) for item in items], "flow")
            case ast.Dict():
                return self._dictionary(expression)
            case ast.Name(id=name):
                return self._names.get(name) or self._unknown(expression, f"{name} is not known")
            case ast.Attribute(value=owner, attr=name):
                return self._attribute(expression, owner, name)
            case ast.Call():
                return self._call(expression)
            case ast.UnaryOp(op=sign, operand=inner):
                operand = self._value(inner)
                return self._computed(expression, lambda: unary(sign, _known(operand)))
            case ast.BinOp(left=left, op=operation, right=right):
                first, second = self._value(left), self._value(right)
                if isinstance(first, Sequence):
                    return self._joined(expression, first, operation, second)
                return self._computed(expression, lambda: binary(operation, _known(first), _known(second)))
            case _:
                return self._compound(expression)

    def _compound(self, expression: ast.expr) -> Node:
        match expression:
            case ast.Subscript(value=owner, slice=index):
                return self._item(expression, self._value(owner), self._value(index))
            case ast.ListComp(elt=element, generators=[loop]) if not loop.ifs:
                return self._listed(expression, element, loop)
            case _:
                return self._unknown(expression, "needs the code to run")

    def _item(self, expression: ast.expr, holder: Node, index: Node) -> Node:
        key = index.value if isinstance(index, Scalar) else None
        if isinstance(holder, Mapping) and isinstance(key, str):
            found = holder.get(key)
            return found if found is not None else self._unknown(expression, f"{key} is not known")
        if isinstance(holder, Sequence) and type(key) is int and -len(holder.items) <= key < len(holder.items):
            return holder.items[key]
        return self._unknown(expression, "needs the code to run")

    def _listed(self, expression: ast.expr, element: ast.expr, loop: ast.comprehension) -> Node:
        """``[L(Head)(...) for k in range(3)]``: the element once for each constant."""
        rounds = self._value(loop.iter)
        if not isinstance(rounds, Sequence) or len(rounds.items) > _MOST_ROUNDS:
            return self._unknown(expression, "needs the code to run")
        before = list(self._names.entries)
        found: list[Node] = []
        for item in rounds.items:
            self._assign(loop.target, item)
            found.append(self._value(element))
        self._names.entries[:] = before
        return Sequence(self._places.span(expression), found, "flow")

    def _joined(self, expression: ast.expr, first: Sequence, operation: ast.operator, second: Node) -> Node:
        """A list plus a list, or times a number."""
        times = second.value if isinstance(second, Scalar) else None
        if (
            isinstance(second, Sequence)
            and isinstance(operation, ast.Add)
            and len(first.items) + len(second.items) <= _MOST_NODES
        ):
            return Sequence(self._places.span(expression), [*first.items, *second.items], "flow")
        if type(times) is int and isinstance(operation, ast.Mult) and times * len(first.items) <= _MOST_NODES:
            return Sequence(self._places.span(expression), first.items * times, "flow")
        return self._unknown(expression, "needs the code to run")

    def _counted(self, call: ast.Call, name: str) -> Node:
        """``range`` of constants, and the list or tuple of one."""
        given = [self._value(argument) for argument in call.args]
        if name != "range":
            return (
                given[0] if given and isinstance(given[0], Sequence) else self._unknown(call, "needs the code to run")
            )
        ends = [each.value for each in given if isinstance(each, Scalar) and type(each.value) is int]
        if len(ends) != len(given) or not 1 <= len(ends) <= _MOST_ENDS or 0 in ends[2:]:
            return self._unknown(call, "needs the code to run")
        counted = range(*ends)
        if len(counted) > _MOST_NODES:
            return self._unknown(call, "the config is too large")
        span = self._places.span(call)
        return Sequence(span, [Scalar(span, str(each), each, Style.COMPUTED) for each in counted], "flow")

    def _dictionary(self, expression: ast.Dict) -> Node:
        mapping = Mapping(self._places.span(expression), [], "flow")
        for key, value in zip(expression.keys, expression.values, strict=True):
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
                return self._unknown(expression, "a key is no constant")
            self._set(mapping, key.value, self._value(value), key)
        return mapping

    def _attribute(self, expression: ast.expr, owner: ast.expr, name: str) -> Node:
        holder = self._value(owner)
        found = holder.get(name) if isinstance(holder, Mapping) else None
        return found if found is not None else self._unknown(expression, f"{name} is not known")

    def _call(self, call: ast.Call) -> Node:
        """``L(Class)(...)``, ``dict(...)`` and ``OmegaConf.create(...)`` are mappings, ``get_config`` is a module."""
        name = _dotted(call.func).rsplit(".", 1)[-1]
        if name == "get_config" and call.args and isinstance(call.args[0], ast.Constant):
            path = str(call.args[0].value)
            return self._composer.zoo(self._document, path) or self._unknown(call, f"{path} is not at hand")
        if name in ("range", "list", "tuple"):
            return self._counted(call, name)
        if name == "create":
            return self._value(call.args[0]) if call.args else Mapping(self._places.span(call), [], "call")
        if name != "dict" and not isinstance(call.func, ast.Call):
            return self._unknown(call, "needs the code to run")
        mapping = Mapping(self._places.span(call), [], "call")
        if isinstance(call.func, ast.Call) and call.func.args:
            target = call.func.args[0]
            kind = Scalar(self._places.span(target), self._text(target), self._text(target), Style.COMPUTED)
            self._set(mapping, "_target_", kind, target)
        for keyword in call.keywords:
            if keyword.arg:
                self._set(mapping, keyword.arg, self._value(keyword.value), keyword.value)
        return mapping

    def _computed(self, node: ast.expr | ast.stmt, work: Callable[[], object]) -> Node:
        try:
            value = work()
        except NotKnown:
            return self._unknown(node, "needs the code to run")
        if isinstance(value, (bool, int, float, str)):
            return Scalar(self._places.span(node), self._text(node), value, Style.COMPUTED)
        return self._unknown(node, "needs the code to run")

    def _unknown(self, node: ast.expr | ast.stmt, reason: str) -> Unknown:
        return Unknown(self._places.span(node), self._text(node), reason)

    def _text(self, node: ast.expr | ast.stmt) -> str:
        span = self._places.span(node)
        return self._document.text[span.start : span.end]


def _known(node: Node) -> bool | int | float | str:
    if isinstance(node, Scalar) and node.value is not None:
        return node.value
    raise NotKnown("not a constant")


def _dotted(expression: ast.expr) -> str:
    match expression:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=owner, attr=name):
            return f"{_dotted(owner)}.{name}"
        case _:
            return ""
