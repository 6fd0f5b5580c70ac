"""One walk over a syntax tree: what later steps want to know before the first value is worked out."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass, field

from vramlint.errors import SourceError
from vramlint.sources.model import Import
from vramlint.sources.python_arguments import is_argument_call
from vramlint.sources.python_places import Places
from vramlint.sources.python_scope import last_name

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

_CALLEES = frozenset(
    {
        "train", "fit", "compile", "finetune", "YOLO", "RTDETR", "Accelerator", "initialize", "from_pretrained",
        "autocast", "DistributedDataParallel", "FullyShardedDataParallel", "fully_shard", "create_model",
        "load_dataset", "launch", "get_peft_model", "gradient_checkpointing_enable", "prepare_model_for_kbit_training",
        "freeze_encoder", "freeze_feature_encoder",
    }
)  # fmt: skip
_CALLEE_ENDINGS = ("TrainingArguments", "Config", "Trainer", "DataLoader", "Strategy", "Plugin", "DataModule", "Args")
_MAIN_FUNCTIONS = frozenset({None, "main", "train", "run", "run_training", "train_model"})
MAX_NODES = 200_000
"""Syntax nodes of one file; torch 2.13 ``_meta_registrations.py`` has 50,275 in 9,270 lines."""
_NEVER = frozenset({"dict", "print", "field", "Field", "format", "open", "join", "info", "warning", "debug"})


@dataclass(slots=True, eq=False)
class Survey:
    """``uses`` counts reads of each name; ``calls`` lists the calls worth reading by the statement they stand in.

    ``busy`` holds the ids of the functions in which there is such a call.
    """

    uses: Counter[str] = field(default_factory=Counter)
    calls: dict[int, list[ast.Call]] = field(default_factory=dict)
    busy: set[int] = field(default_factory=set)
    imports: list[Import] = field(default_factory=list)


def survey(tree: ast.Module, places: Places, path: str) -> Survey:
    """Walk ``tree`` once, without recursion: a hostile file may be deep. Raises SourceError for a huge one."""
    found = Survey()
    outer: dict[int, FunctionNode | None] = {}
    pending: list[tuple[ast.AST, ast.stmt | None, FunctionNode | None]] = [(tree, None, None)]
    nodes = 0
    while pending:
        nodes += 1
        if nodes > MAX_NODES:
            raise SourceError(
                "the Python code is too large to be a training config", path=path, line=1, help="Exclude the file."
            )
        node, statement, function = pending.pop()
        if isinstance(node, ast.stmt):
            statement = node
        match node:
            case ast.Name(ctx=ast.Load()):
                found.uses[node.id] += 1
            case ast.Import() | ast.ImportFrom():
                found.imports.extend(imports_of(node, places))
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                outer[id(node)] = function
                function = node
            case ast.Call() if statement is not None and _worth_reading(node, function):
                found.calls.setdefault(id(statement), []).append(node)
                _mark_busy(function, outer, found.busy)
        pending.extend([(child, statement, function) for child in _children_last_first(node)])
    return found


def _children_last_first(node: ast.AST) -> list[ast.AST]:
    """The child nodes, without ``Load``, ``Store`` and ``Del``: ``ast.iter_child_nodes`` backwards, twice as fast."""
    children: list[ast.AST] = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            children.extend([item for item in value if isinstance(item, ast.AST)])
        elif isinstance(value, ast.AST) and name != "ctx":
            children.append(value)
    children.reverse()
    return children


def imports_of(statement: ast.Import | ast.ImportFrom, places: Places) -> list[Import]:
    """The names that ``statement`` brings in; a relative module keeps its leading dots."""
    span = places.span(statement)
    if isinstance(statement, ast.Import):
        return [Import(name.name, None, name.asname or name.name, span) for name in statement.names]
    module = "." * statement.level + (statement.module or "")
    return [Import(module, name.name, name.asname or name.name, span) for name in statement.names]


def _mark_busy(function: FunctionNode | None, outer: dict[int, FunctionNode | None], busy: set[int]) -> None:
    while function is not None and id(function) not in busy:
        busy.add(id(function))
        function = outer[id(function)]


def _worth_reading(call: ast.Call, function: FunctionNode | None) -> bool:
    name = last_name(call.func)
    if name in _CALLEES or name.endswith(_CALLEE_ENDINGS) or is_argument_call(call):
        return True
    if any(keyword.arg == "max_length" for keyword in call.keywords):
        return True  # a tokenizer that cuts samples
    if len(call.keywords) < 2 or name in _NEVER:
        return False
    return (function.name if function is not None else None) in _MAIN_FUNCTIONS
