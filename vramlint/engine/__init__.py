"""Runs rules over plans: what the command line, the rule tests and editors call.

``check`` and ``check_source`` look, ``fix`` and ``fix_source`` also work out repaired texts; nothing here writes a file
(``vramlint.fix.write`` does) and nothing here prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vramlint.engine.check import check, check_source
from vramlint.engine.options import CheckOptions

if TYPE_CHECKING:
    from vramlint.engine.repair import FixOutcome, fix, fix_source
    from vramlint.engine.rules import RuleSet, load_rules

__all__ = ["CheckOptions", "FixOutcome", "RuleSet", "check", "check_source", "fix", "fix_source", "load_rules"]

_LATER = {"FixOutcome": "repair", "fix": "repair", "fix_source": "repair", "RuleSet": "rules", "load_rules": "rules"}


def __getattr__(name: str) -> Any:
    """Names that a check of files without a training config never needs are imported when they are asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
