"""Parts of a framework's file, compiled where they stand: an error's trace shows the framework's own lines."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def function_of(path: Path, name: str, **known: Any) -> Callable[..., Any]:
    """The function or method (``Outer.Inner.method``) over the names it uses, without decorators."""
    node = _functions(path)[name]
    node.decorator_list = []
    namespace = dict(known)
    exec(compile(ast.Module([node], []), str(path), "exec"), namespace)
    found: Callable[..., Any] = namespace[node.name]
    return found


def statements_of(path: Path, name: str, mention: str) -> Callable[[dict[str, Any]], None]:
    """The statements of a function whose ``ast.dump`` holds ``mention``, to be run over a namespace."""
    wanted = [node for node in _functions(path)[name].body if mention in ast.dump(node)]
    code = compile(ast.Module(wanted, []), str(path), "exec")
    return lambda namespace: exec(code, namespace)


def program_of(path: Path) -> Callable[[dict[str, Any]], None]:
    """What a file does when it is the program: the body of its ``if __name__ == "__main__":``."""
    found = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.If)]
    body = next(node.body for node in found if "__main__" in ast.dump(node.test))
    code = compile(ast.Module(body, []), str(path), "exec")
    return lambda namespace: exec(code, namespace)


def _functions(path: Path) -> dict[str, ast.FunctionDef]:
    return dict(_named(ast.parse(path.read_text(encoding="utf-8")).body, ""))


def _named(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield f"{prefix}{node.name}", node
        elif isinstance(node, ast.ClassDef):
            yield from _named(node.body, f"{prefix}{node.name}.")
