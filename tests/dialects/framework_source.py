"""Parts of a framework's own source, run by themselves: the arithmetic without its imports.

The frameworks come from ``.cache/wheels`` (``tools/fetch_wheels.sh``). A test names the function, method or statements
it wants; they are compiled as they stand in the archive and run over plain objects.
"""

from __future__ import annotations

import ast
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

WHEELS = Path(__file__).parents[2] / ".cache" / "wheels"


def source(archive: str, member: str) -> str:
    """The text of a file of the one archive that matches; skips the test where it was not fetched."""
    found = sorted(WHEELS.glob(archive))
    if not found:
        pytest.skip(f"{archive} is not in .cache/wheels: run tools/fetch_wheels.sh")
    if found[0].suffix == ".whl":
        with zipfile.ZipFile(found[0]) as wheel:
            return wheel.read(member).decode("utf-8")
    with tarfile.open(found[0]) as sources:
        name = next(name for name in sources.getnames() if name.endswith(f"/{member}"))
        file = sources.extractfile(name)
        assert file is not None
        return file.read().decode("utf-8")


def functions(text: str, *names: str, **known: Any) -> list[Callable[..., Any]]:
    """Functions and methods (``Class.method``) of a module's source, over the names they use."""
    found = dict(_named(ast.parse(text).body, ""))
    wanted = [found[name] for name in names]
    for node in wanted:
        node.decorator_list = []
    return [_run([_without_annotations(node)], known)[node.name] for node in wanted]


def statements(text: str, function: str, mention: str, **known: Any) -> Callable[..., None]:
    """The statements of ``function`` whose ``ast.dump`` holds ``mention``, as a function of their names."""
    body = dict(_named(ast.parse(text).body, ""))[function].body
    wanted = [node for node in body if mention in ast.dump(node) and not isinstance(node, ast.Expr)]  # no log lines
    return lambda **names: exec(compile(ast.Module(wanted, []), function, "exec"), {**known, **names})


def _named(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield f"{prefix}{node.name}", node
        elif isinstance(node, ast.ClassDef):
            yield from _named(node.body, f"{node.name}.")


def _without_annotations(node: ast.FunctionDef) -> ast.FunctionDef:
    node.returns = None
    for argument in (*node.args.args, *node.args.kwonlyargs):
        argument.annotation = None
    return node


def _run(body: list[ast.stmt], known: dict[str, Any]) -> dict[str, Any]:
    namespace = dict(known)
    exec(compile(ast.Module(body, []), "framework", "exec"), namespace)
    return namespace
