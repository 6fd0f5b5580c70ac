"""Which Python files import which, found by a byte search: nothing is parsed for it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from vramlint.patterns import later
from vramlint.project.files import ProjectFiles, folder_of

_FROM_IMPORT = later(rb"\n[ \t]*from[ \t]+([.\w]+)[ \t]+import[ \t]+([^\r\n#]+)")
_IMPORT = later(rb"\n[ \t]*import[ \t]+([.\w]+)")
"""Lines of Python; ``\\n`` instead of ``^`` lets the search skip from line to line."""
_CONFIG_NAME = later(rb"(?i)config|cfg|settings|hparams|hyperparam|options|arguments")


class Imports:
    """The imports among the Python files of one invocation; each file is searched once."""

    def __init__(self, files: ProjectFiles) -> None:
        self._files = files
        self._known: dict[str, frozenset[str]] = {}

    def importers(self, path: str) -> Iterator[str]:
        """The scripts that import the Python file ``path``, from where its launch scripts are looked for."""
        if not path.endswith(".py"):
            return
        needle = os.fsencode(os.path.splitext(os.path.basename(path))[0])
        for folder in self._files.script_folders(folder_of(path)):
            for script in self._files.listed(folder, (".py",)):
                if script != path and needle in self._files.script(script) and path in self._of(script):
                    yield script

    def configs(self, script: str) -> Iterator[str]:
        """The files that a Python file imports under a name that means settings."""
        return self._found(script, configs_only=True)

    def _of(self, script: str) -> frozenset[str]:
        known = self._known.get(script)
        if known is None:
            known = self._known[script] = frozenset(self._found(script, configs_only=False))
        return known

    def _found(self, script: str, *, configs_only: bool) -> Iterator[str]:
        for module, names in _imports(self._files.script(script)):
            if configs_only and not _CONFIG_NAME.search(module + b" " + names):
                continue
            found = self._module_file(module.decode("ascii", "ignore"), script)
            if found is not None and found != script:
                yield found

    def _module_file(self, module: str, script: str) -> str | None:
        dots = len(module) - len(module.lstrip("."))
        inner = module.lstrip(".").replace(".", "/")
        names = (f"{inner}.py", f"{inner}/__init__.py") if inner else ()
        if dots:
            home = folder_of(script)
            folder = os.path.join(home, *[os.pardir] * (dots - 1))
            found = (self._files.existing(os.path.normpath(os.path.join(folder, name)), home) for name in names)
        else:
            found = (self._files.find(name, script) for name in names)
        return next((path for path in found if path is not None), None)


def _imports(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    data = b"\n" + data
    for match in _FROM_IMPORT.finditer(data):
        yield match[1], match[2]
    for match in _IMPORT.finditer(data):
        yield match[1], b""
