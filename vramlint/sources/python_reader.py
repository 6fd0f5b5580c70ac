"""Reads a Python file without running it: settings as module values, classes, recognised calls and declared options."""

from __future__ import annotations

import ast
import re
import sys
import warnings

from vramlint.errors import SourceError
from vramlint.patterns import later
from vramlint.sources.model import Document, Mapping, Span, Syntax
from vramlint.sources.python_body import Body, Imported, imports_nothing
from vramlint.sources.python_places import Places, comments
from vramlint.sources.python_scope import Frame
from vramlint.sources.python_survey import survey
from vramlint.sources.python_values import Evaluator

_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
MAX_CHARACTERS = 250_000
"""Parsing takes up to a second for so much; the largest Python config of mmdet 3.3.0 has 29,440."""
_TELLTALES = (
    "batch", "_base_", "read_base", "samples_per_gpu", "TrainingArguments", "DataLoader", "Trainer", "grad_accum",
    "accumulat", "optim_wrapper", "imgsz", "max_epochs", "num_epochs", "train_cfg",
)  # fmt: skip
_LOOKS_LIKE_CONFIG = later(
    r"""(?x)
      ^[ \t]*(?:self\.|cfg\.|config\.|args\.)?            # batch_size = 8, batch_size: int = 8, self.batch = 8
        \w*(?:batch|accum|samples_per_gpu)\w*[ \t]*(?::[^=\n]{1,60})?=[ \t]*(?:\d|field|Field|dict)
    | \b\w*(?:batch|accum|samples_per_gpu)\w*[ \t]*=[ \t]*\d         # DataLoader(batch_size=8)
    | ['"]-{0,2}\w*(?:batch|accum)[\w-]*['"][ \t]*[:,]               # "--batch-size", {"batch_size": 8}
    | \b(?:TrainingArguments|DataLoader|Trainer|LightningDataModule)[ \t]*\(
    | \.(?:train|fit)\(
    | ^_base_[ \t]*=  | \bread_base\b | ^(?:train_cfg|optim_wrapper|train_dataloader)[ \t]*=
    | ^from[ \t]+[\w.]*(?:config|cfg|settings)\w*[ \t]+import\b
    """,
    re.MULTILINE,
)


def may_be_config(text: str) -> bool:
    """Whether a Python text is worth parsing: a search for names that training settings and training calls have."""
    return any(word in text for word in _TELLTALES) and _LOOKS_LIKE_CONFIG.search(text) is not None


def parse(text: str, path: str) -> Document:
    """The document of a Python text, taken by itself: names from other files are unknown.

    Raises SourceError with path, line and column where the text is not Python.
    """
    return read_module(text, path, imports_nothing)


def read_module(text: str, path: str, imported: Imported, base_config: Mapping | None = None) -> Document:
    """As ``parse``, with ``imported`` answering for names from other files and ``base_config`` for ``_base_``.

    Raises SourceError.
    """
    tree = _syntax_tree(text, path)
    places = Places(text)
    found = survey(tree, places, path)
    evaluator = Evaluator(places, found.uses)
    evaluator.base_config = base_config
    body = Body(evaluator, places, found, imported)
    frame = Frame()
    body.run_module(tree, frame)
    return Document(
        path,
        text,
        Syntax.PYTHON,
        Mapping(Span(0, len(text)), frame.entries, "module"),
        comments=comments(text),
        definitions=sorted(body.definitions, key=lambda definition: definition.span),
        imports=found.imports,
    )


def _syntax_tree(text: str, path: str) -> ast.Module:
    if len(text) > MAX_CHARACTERS:
        raise SourceError(
            f"{len(text):,} characters of Python are no training config", path=path, line=1, help="Exclude the file."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in somebody's file are not ours to print
            return ast.parse(text)
    except SyntaxError as error:
        raise SourceError(
            f"not valid Python {_VERSION}: {error.msg}",
            path=path,
            line=error.lineno,
            column=error.offset,
            help="Fix the syntax, or run vramlint with the Python that the file is written for.",
        ) from None
    except (RecursionError, MemoryError):
        raise SourceError("the Python code is nested too deeply to read", path=path, line=1) from None
    except (ValueError, UnicodeEncodeError) as error:
        raise SourceError(f"not valid Python: {error}", path=path, line=1) from None
