"""The rules that ship with vramlint: the first plugin of its own plugin interface.

One module a rule, named like the rule; the engine orders them by code. Modules that begin with an underscore hold what
several rules share. To add a rule, add a file (``CONTRIBUTING.md`` has the six steps).
"""

import pkgutil

RULES: tuple[str, ...] = tuple(
    sorted(found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_"))
)
"""The names of the rule modules in this package."""
