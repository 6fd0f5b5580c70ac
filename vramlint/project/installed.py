"""Config files inside installed OpenMMLab packages, which a project's configs name as ``mmdet::path``.

mmengine 0.10.7 ``config.py#_get_cfg_path`` looks such a base up in the installed package's ``.mim/configs``; the
new-style configs that ``read_base`` imports are modules of the package (``mmdet.configs``). The packages are looked for
where this program runs, in the environment that is active, and in the repository's own; they are read, never imported.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator

SEPARATOR = "::"

_ENVIRONMENTS = (".venv", "venv", "env")
_CONFIGS = (os.path.join(".mim", "configs"), "configs")


def installed_config(name: str, root: str) -> str | None:
    """The file that ``mmdet::faster_rcnn/x.py`` names for a project at ``root``, None where no environment has it."""
    scope, _, path = name.partition(SEPARATOR)
    if not scope.isidentifier() or not path or ".." in path.split("/"):
        return None
    for packages in site_folders(root):
        for configs in _CONFIGS:
            found = os.path.join(packages, scope, configs, *path.split("/"))
            if os.path.isfile(found):
                return found
    return None


def is_package_config(path: str) -> bool:
    """Whether the absolute ``path`` lies in the configs of an installed package."""
    folders = os.path.dirname(path).split(os.sep)
    inside = "site-packages" in folders or "dist-packages" in folders
    return inside and "configs" in folders and ".." not in folders


def site_folders(root: str) -> Iterator[str]:
    """The folders of installed packages: this program's, the active environment's, the repository's own."""
    yield from (path for path in sys.path if path.endswith(("site-packages", "dist-packages")))
    active = [found for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if (found := os.environ.get(name))]
    for environment in (*active, *(os.path.join(root, name) for name in _ENVIRONMENTS)):
        yield from sorted(glob.glob(os.path.join(glob.escape(environment), "lib", "python*", "site-packages")))
        yield from glob.glob(os.path.join(glob.escape(environment), "Lib", "site-packages"))
