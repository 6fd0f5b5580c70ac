"""Runs rules over plans: what the command line, the rule tests and editors call.

``check`` and ``check_source`` look, ``fix`` and ``fix_source`` also work out repaired texts; nothing here writes a file
(``vramlint.fix.write`` does) and nothing here prints.
"""

from vramlint.engine.check import check, check_source
from vramlint.engine.options import CheckOptions
from vramlint.engine.repair import FixOutcome, fix, fix_source
from vramlint.engine.rules import RuleSet, load_rules

__all__ = ["CheckOptions", "FixOutcome", "RuleSet", "check", "check_source", "fix", "fix_source", "load_rules"]
