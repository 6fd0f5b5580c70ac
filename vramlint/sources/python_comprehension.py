"""List comprehensions over a range or a known list: ``scales=[int(512 * x * 0.1) for x in range(5, 21)]``.

Only one ``for``, one plain name and elements of arithmetic, or one dictionary over and over: that is what published
configs write (scales in mmsegmentation 1.2.2's mask2former configs, stages in its knet configs), and it stays cheap.
"""

from __future__ import annotations

import ast
from typing import Protocol

from vramlint.sources import python_arithmetic as arithmetic
from vramlint.sources.model import Node, Scalar, Sequence, Span, Style, Unknown
from vramlint.sources.python_scope import Scope, share

MAX_ITEMS = 1000
"""Items of one comprehension; more is data."""


class Evaluates(Protocol):
    """What is needed of the evaluator."""

    def node(self, expression: ast.expr, scope: Scope) -> Node: ...

    def known(self, expression: ast.expr, scope: Scope) -> arithmetic.Known: ...


def comprehension(evaluator: Evaluates, expression: ast.ListComp, scope: Scope, span: Span) -> Sequence:
    """The list that ``expression`` makes; its items are computed, so that no edit writes there.

    Raises NotKnown with the reason.
    """
    match expression.generators:
        case [ast.comprehension(target=ast.Name(id=name), iter=source, ifs=tests, is_async=0)]:
            pass
        case _:
            raise arithmetic.NotKnown("a comprehension that is not worked out")
    element = expression.elt
    same = all(not isinstance(node, ast.Name) or node.id != name for node in ast.walk(element))
    allowed = ("dict",) if same else ()
    if not _is_arithmetic(element, allowed) or not all(map(_is_arithmetic, tests)):
        raise arithmetic.NotKnown("a comprehension of calls")
    items: list[Node] = []
    for value in _values(evaluator, source, scope):
        inner = Scope(scope, {name: value})
        if all(evaluator.known(test, inner) for test in tests):
            item = evaluator.node(element, inner)
            if isinstance(item, Unknown):
                raise arithmetic.NotKnown(item.reason)
            items.append(item)
    made = Sequence(span, items, "flow")
    share(made)
    return made


def _is_arithmetic(expression: ast.expr, allowed: tuple[str, ...] = ()) -> bool:
    """Whether nothing is called but ``int`` and its kin or ``allowed``, and no comprehension stands inside."""
    for node in ast.walk(expression):
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            return False
        if isinstance(node, ast.Call):
            known = (*arithmetic.KNOWN_FUNCTIONS, *allowed)
            plain = isinstance(node.func, ast.Name) and node.func.id in known
            if not plain:
                return False
    return True


def _values(evaluator: Evaluates, source: ast.expr, scope: Scope) -> list[Node]:
    match source:
        case ast.Call(func=ast.Name(id="range"), args=[_, *_] as bounds, keywords=[]) if len(bounds) <= 3:
            numbers = _range([evaluator.known(bound, scope) for bound in bounds])
            return [Scalar(Span(0, 0), str(number), number, Style.COMPUTED) for number in numbers]
    listed = evaluator.node(source, scope)
    if not isinstance(listed, Sequence):
        raise arithmetic.NotKnown(listed.reason if isinstance(listed, Unknown) else "goes over no list")
    if len(listed.items) > MAX_ITEMS:
        raise arithmetic.NotKnown("too large to write out")
    return listed.items


def _range(bounds: list[arithmetic.Known]) -> range:
    if not all(isinstance(bound, int) and not isinstance(bound, bool) for bound in bounds):
        raise arithmetic.NotKnown("a range of something else than counts")
    try:
        numbers = range(*(bound for bound in bounds if isinstance(bound, int)))
    except ValueError as error:
        raise arithmetic.NotKnown(str(error)) from None
    if len(numbers[: MAX_ITEMS + 1]) > MAX_ITEMS:
        raise arithmetic.NotKnown("too large to write out")
    return numbers
