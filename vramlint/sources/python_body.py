"""Follows the statements of a Python text in order and keeps what each name is worth.

A branch that may or may not run, and a loop, leave a name known only where every way through gives the same value.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable

from vramlint.sources.model import (
    Definition,
    Entry,
    Import,
    Mapping,
    Node,
    Scalar,
    Sequence,
    Span,
    Style,
    Unknown,
)
from vramlint.sources.python_arguments import Parsers, is_argument_call
from vramlint.sources.python_arithmetic import NotKnown
from vramlint.sources.python_binding import Binder
from vramlint.sources.python_places import Places
from vramlint.sources.python_scope import Frame, Kind, Scope, dotted_name, inherited, last_name
from vramlint.sources.python_survey import FunctionNode, Survey, imports_of
from vramlint.sources.python_values import Evaluator

Imported = Callable[[Import], Node | Definition | None]
"""Answers what an import brings: a value, a class, or None where that is not known."""


def imports_nothing(_: Import) -> None:
    """The answer for a file read by itself."""


_MUTATORS = frozenset(
    {"update", "append", "extend", "insert", "pop", "remove", "clear", "setdefault", "merge", "sort", "reverse"}
)
_MAX_BLOCKS = 120
"""Nesting of statements that is followed; Python's own limit on indentation is 100."""


class Body:
    """Runs the statements of one file over values instead of objects."""

    def __init__(self, evaluator: Evaluator, places: Places, found: Survey, imported: Imported) -> None:
        self._evaluator = evaluator
        self._places = places
        self._found = found
        self._imported = imported
        self._binder = Binder(evaluator, places)
        self._parsers = Parsers(evaluator, places)
        self._calls: list[Definition] = []
        self._classes: list[Definition] = []
        self._functions: list[tuple[FunctionNode, Scope]] = []

    @property
    def definitions(self) -> list[Definition]:
        """Classes, calls and declared options met so far."""
        return [*self._classes, *self._calls, *self._parsers.definitions]

    def run_module(self, tree: ast.Module, frame: Frame) -> None:
        """The module's statements, then the functions that hold calls worth reading."""
        self._run(tree.body, frame)
        while self._functions:
            function, scope = self._functions.pop(0)
            inner = Frame(Scope(scope), Kind.FUNCTION, function.name)
            self._parameters(function, inner, use_defaults=False)
            self._run(function.body, inner)

    def _run(self, statements: Iterable[ast.stmt], frame: Frame) -> None:
        for statement in statements:
            self._statement(statement, frame)

    def _statement(self, statement: ast.stmt, frame: Frame) -> None:
        self._read_calls(statement, frame)
        handler = _HANDLERS.get(type(statement))
        if handler is not None and frame.blocks < _MAX_BLOCKS:
            handler(self, statement, frame)

    def _read_calls(self, statement: ast.stmt, frame: Frame) -> None:
        for call in self._found.calls.get(id(statement), ()):
            if is_argument_call(call):
                self._parsers.declared(call, frame.function, frame.scope)
                continue
            bases: tuple[str, ...] = ()
            if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
                made_by = frame.scope.find_callee(call.func.value.id)
                bases = (made_by,) if made_by else ()
            try:
                members = self._evaluator.arguments(call, frame.scope)
            except NotKnown:
                continue
            self._calls.append(Definition("call", dotted_name(call.func), bases, members, members.span, frame.function))

    # Assignments

    def _assign(self, statement: ast.Assign, frame: Frame) -> None:
        value = self._evaluator.node(statement.value, frame.scope)
        span = self._places.span(statement)
        if len(statement.targets) > 1 and isinstance(value, (Scalar, Sequence, Mapping)):
            value.shared = True
        for target in statement.targets:
            self._binder.bind(target, value, span, frame)
            if isinstance(statement.value, ast.Call) and isinstance(target, (ast.Name, ast.Attribute)):
                name = dotted_name(target)
                frame.scope.callees[name] = dotted_name(statement.value.func)
                self._parsers.assigned(name, statement.value, frame.function, frame.scope)

    def _annotated(self, statement: ast.AnnAssign, frame: Frame) -> None:
        span = self._places.span(statement)
        if statement.value is None:
            self._binder.bind(statement.target, Unknown(Span(span.end, span.end), "", "no default"), span, frame)
            return
        value: Node | None = None
        if isinstance(statement.value, ast.Call):
            value = self._evaluator.field_default(statement.value, frame.scope)
        self._binder.bind(statement.target, value or self._evaluator.node(statement.value, frame.scope), span, frame)

    def _augmented(self, statement: ast.AugAssign, frame: Frame) -> None:
        self._binder.bind(statement.target, self._combined(statement, frame), self._places.span(statement), frame)

    def _combined(self, statement: ast.AugAssign, frame: Frame) -> Node:
        """``steps *= ranks`` of two known numbers is their product; everything else is changed in place."""
        target = statement.target
        if isinstance(target, ast.Name) and frame.function is None:
            left = ast.copy_location(ast.Name(target.id, ast.Load()), target)
            both = ast.copy_location(ast.BinOp(left, statement.op, statement.value), statement)
            found = self._evaluator.node(both, frame.scope)
            if isinstance(found, Scalar) and isinstance(found.value, (int, float)):
                return found
        return self._evaluator.unknown(statement.value, "changed in place")

    def _expression(self, statement: ast.Expr, frame: Frame) -> None:
        call = statement.value
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            return
        if call.func.attr not in _MUTATORS:
            return
        owner = self._evaluator.container(call.func.value, frame.scope)
        if owner is not None and not self._binder.mutated(owner, call, call.func.attr, frame):
            self._binder.forget(call.func.value, frame)

    def _delete(self, statement: ast.Delete, frame: Frame) -> None:
        for target in statement.targets:
            if isinstance(target, ast.Name):
                self._binder.forget_name(target, frame)
            elif isinstance(target, (ast.Attribute, ast.Subscript)):
                self._binder.delete_inside(target, frame)

    # Blocks

    def _if(self, statement: ast.If, frame: Frame) -> None:
        branches: list[Frame] = []
        rest: list[ast.stmt] = [statement]
        while len(rest) == 1 and isinstance(rest[0], ast.If):
            choice = rest[0]
            if choice is not statement:
                self._read_calls(choice, frame)
            taken = self._test(choice.test, frame)
            if taken is True and not branches:
                self._run(choice.body, frame)
                return
            if taken is not False:
                branch = frame.branch()
                self._run(choice.body, branch)
                branches.append(branch)
            rest = choice.orelse
        if not branches:
            self._run(rest, frame)
            return
        otherwise = frame.branch()
        self._run(rest, otherwise)
        self._join(frame, [*branches, otherwise], "set under a condition")

    def _test(self, test: ast.expr, frame: Frame) -> bool | None:
        """Whether ``test`` holds, None where not known. ``__name__ == "__main__"`` holds: files are launched."""
        if isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__":
            return True
        if isinstance(test, ast.Name) and test.id == "TYPE_CHECKING":
            return True
        try:
            return bool(self._evaluator.known(test, frame.scope))
        except NotKnown:
            return None

    def _loop(self, statement: ast.For | ast.AsyncFor | ast.While, frame: Frame) -> None:
        body = frame.branch()
        for node in _stored_names(statement):
            known = frame.scope.find(node.id)
            if known is not None or isinstance(statement, (ast.For, ast.AsyncFor)):
                body.scope.values[node.id] = self._evaluator.unknown(node, "changes in a loop")
        self._run(statement.body, body)
        self._run(statement.orelse, body)
        self._join(frame, [body, frame.branch()], "changes in a loop")

    def _try(self, statement: ast.Try | ast.TryStar, frame: Frame) -> None:
        branches = [frame.branch()]
        self._run([*statement.body, *statement.orelse], branches[0])
        for handler in statement.handlers:
            branches.append(frame.branch())
            self._run(handler.body, branches[-1])
        self._join(frame, branches, "set in a try block")
        self._run(statement.finalbody, frame)

    def _match(self, statement: ast.Match, frame: Frame) -> None:
        branches = [frame.branch()]
        for case in statement.cases:
            branches.append(frame.branch())
            self._run(case.body, branches[-1])
        self._join(frame, branches, "set under a condition")

    def _with(self, statement: ast.With | ast.AsyncWith, frame: Frame) -> None:
        for item in statement.items:
            if item.optional_vars is not None:
                unknown = self._evaluator.unknown(item.optional_vars, "made by with")
                self._binder.bind(item.optional_vars, unknown, unknown.span, frame)
        made = [item.context_expr for item in statement.items]
        if any(isinstance(each, ast.Call) and last_name(each.func) == "read_base" for each in made):
            self._read_base(statement, frame)
            return
        self._run(statement.body, frame)

    def _read_base(self, statement: ast.With | ast.AsyncWith, frame: Frame) -> None:
        """mmengine 0.10 ``with read_base():``: whatever is imported inside becomes a setting of this file."""
        for inner in statement.body:
            if isinstance(inner, ast.ImportFrom):
                before = dict(frame.scope.values)
                self._import(inner, frame)
                for name, value in frame.scope.values.items():
                    if before.get(name) is not value:
                        self._binder.merges(value)
                for brought in imports_of(inner, self._places):
                    found = frame.scope.values.get(brought.alias)
                    if found is not None:
                        frame.add(Entry(brought.alias, brought.span, found, brought.span, merged=True))

    def _join(self, frame: Frame, branches: list[Frame], reason: str) -> None:
        """Back to one line of execution: a name stays known where all ``branches`` agree on it."""
        for name in {name: None for branch in branches for name in branch.scope.values}:
            before = frame.scope.find(name)
            ways = [branch.scope.values.get(name, before) for branch in branches]
            frame.scope.values[name] = self._agreed(ways, reason)
            frame.scope.callees.pop(name, None)
            known = frame.latest.get(name)
            if known is not None and not any(name in branch.latest for branch in branches):
                known.value = frame.scope.values[name]  # changed inside a branch without being set there
        for branch in branches:
            frame.scope.classes.update(branch.scope.classes)
        for key, entry in {entry.key: entry for branch in branches for entry in branch.entries}.items():
            before = _value(frame.latest.get(key))
            ways = [_value(branch.latest.get(key)) or before for branch in branches]
            frame.add(Entry(key, entry.key_span, self._agreed(ways, reason), entry.span))

    def _agreed(self, ways: list[Node | None], reason: str) -> Node:
        nodes = [node for node in ways if node is not None]
        if len(nodes) == len(ways) and all(node is nodes[0] for node in nodes):
            return nodes[0]
        scalars = [node for node in nodes if isinstance(node, Scalar)]
        first = nodes[0]
        if len(scalars) == len(ways) and len({(type(scalar.value), scalar.value) for scalar in scalars}) == 1:
            agreed = scalars[0]
            return Scalar(agreed.span, agreed.text, agreed.value, Style.COMPUTED, shared=True, definition=agreed)
        return Unknown(first.span, self._places.text[first.span.start : first.span.end], reason)

    # Definitions

    def _class(self, statement: ast.ClassDef, frame: Frame) -> None:
        inner = Frame(Scope(frame.scope), Kind.CLASS, frame.function)
        self._run(statement.body, inner)
        for member in statement.body:
            if isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef)) and member.name == "__init__":
                self._constructor(member, inner, frame)
        span = self._places.span(statement)
        members = Mapping(span, inner.entries, "class")
        bases = tuple(name for base in statement.bases if (name := dotted_name(base)))
        made = Definition("class", statement.name, bases, members, span, frame.function)
        self._classes.append(made)
        frame.scope.classes[statement.name] = made
        frame.scope.values[statement.name] = Unknown(span, statement.name, "a class")
        if frame.kind is Kind.CLASS:
            frame.add(Entry(statement.name, span, members, span))

    def _constructor(self, function: FunctionNode, made: Frame, outer: Frame) -> None:
        """``self.x = …`` in ``__init__`` sets attributes too; a parameter is worth its default there."""
        if not function.args.args:
            return
        inner = Frame(Scope(outer.scope), Kind.FUNCTION, function.name, function.args.args[0].arg)
        self._parameters(function, inner, use_defaults=True)
        self._run(function.body, inner)
        for entry in inner.entries:
            made.add(entry)

    def _parameters(self, function: FunctionNode, frame: Frame, *, use_defaults: bool) -> None:
        """Bind the parameters: to their defaults where those are what an instance gets, else to nothing known."""
        arguments = function.args
        positional = [*arguments.posonlyargs, *arguments.args]
        defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
        pairs = [*zip(positional, [*defaults, *arguments.defaults], strict=True)]
        pairs.extend(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
        for parameter, default in pairs:
            span = self._places.span(parameter)
            value: Node = Unknown(span, parameter.arg, "a parameter")
            if use_defaults and default is not None and frame.scope.parent is not None:
                value = self._evaluator.node(default, frame.scope.parent)
            frame.scope.values[parameter.arg] = value

    def _function(self, statement: FunctionNode, frame: Frame) -> None:
        span = self._places.span(statement)
        frame.scope.values[statement.name] = Unknown(span, statement.name, "a function")
        self._parsers.decorated(statement, frame.scope)
        if id(statement) in self._found.busy:
            self._functions.append((statement, frame.scope))

    def _import(self, statement: ast.Import | ast.ImportFrom, frame: Frame) -> None:
        for brought in imports_of(statement, self._places):
            answer = self._imported(brought)
            match answer:
                case None:
                    unknown = Unknown(brought.span, brought.alias, f"imported from {brought.module}")
                    self._bind_import(brought, unknown, frame)
                case Definition():
                    frame.scope.classes[brought.alias] = answer
                    self._bind_import(brought, Unknown(brought.span, brought.alias, "a class"), frame)
                case Mapping() if brought.name == "*":
                    self._import_all(brought, answer, frame)
                case _:
                    self._bind_import(brought, _borrowed(answer, brought.span), frame)

    def _import_all(self, brought: Import, answer: Mapping, frame: Frame) -> None:
        for key in dict.fromkeys(entry.key for entry in answer.entries):
            value = answer.get(key)
            if value is None or key.startswith("_"):
                continue
            frame.scope.values[key] = _borrowed(value, brought.span)
            if frame.kind is not Kind.FUNCTION:
                frame.add(Entry(key, brought.span, frame.scope.values[key], brought.span, merged=True))

    def _bind_import(self, brought: Import, value: Node, frame: Frame) -> None:
        frame.scope.values[brought.alias.split(".")[0]] = value


def _value(entry: Entry | None) -> Node | None:
    return None if entry is None else entry.value


def _borrowed(node: Node, place: Span) -> Node:
    """``node`` of another file: an edit there reaches further than this file."""
    match node:
        case Unknown(text=text, reason=reason):
            return Unknown(place, text, reason)
        case Scalar(text=text, value=value):
            definition = node.definition or node
            return Scalar(place, text, value, Style.COMPUTED, shared=True, definition=definition)
        case Sequence(items=items):
            return Sequence(place, items, "flow", shared=True)
        case Mapping(style=style):
            return Mapping(place, inherited(node), style, shared=True)


def _stored_names(statement: ast.stmt) -> list[ast.Name]:
    """The names that ``statement`` may bind, inner functions included: too many is safe."""
    names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
    return [name for name in names if not isinstance(name.ctx, ast.Load)]


_Handler = Callable[..., None]
"""Each takes a Body, the one node type it is listed under, and a Frame."""
_HANDLERS: dict[type[ast.stmt], _Handler] = {
    ast.Assign: Body._assign,
    ast.AnnAssign: Body._annotated,
    ast.AugAssign: Body._augmented,
    ast.Expr: Body._expression,
    ast.If: Body._if,
    ast.For: Body._loop,
    ast.AsyncFor: Body._loop,
    ast.While: Body._loop,
    ast.Try: Body._try,
    ast.TryStar: Body._try,
    ast.Match: Body._match,
    ast.With: Body._with,
    ast.AsyncWith: Body._with,
    ast.ClassDef: Body._class,
    ast.FunctionDef: Body._function,
    ast.AsyncFunctionDef: Body._function,
    ast.Import: Body._import,
    ast.ImportFrom: Body._import,
    ast.Delete: Body._delete,
}
