"""Constraints written down as data: which values of which settings do not go together, and what happens then.

A constraint is a row of YAML over one of the templates in ``templates``. The rows about frameworks ship with the rules;
a repository's own rows stand in a file that its settings name (``docs/repository-rules.md``). Rows run no code of their
own, so a pull request that changes them is as safe to check as any other.
"""

from vramlint.constraints.files import RowFile, read_rows, read_table, rows_in_table
from vramlint.constraints.templates import TEMPLATES, Row, verdict_of

__all__ = ["TEMPLATES", "Row", "RowFile", "read_rows", "read_table", "rows_in_table", "verdict_of"]
