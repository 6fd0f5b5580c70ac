"""The profiles that ``vramlint trace`` left in the user's repository, found for a model's name and checked for age."""

from __future__ import annotations

import json
import os
from typing import Any

from vramlint.errors import SettingsError, TraceError
from vramlint.memory.pack import pack_key
from vramlint.memory.profile import SCHEMA, OwnProfile, load_profile

FOLDER = os.path.join(".vramlint", "profiles")
"""Where a repository keeps its profiles."""

_LARGEST_BYTES = 4 * 2**20


class OwnProfiles:
    """Finds the profiles of one invocation's repositories; each folder is listed once, each profile read once."""

    def __init__(self) -> None:
        self._files: dict[str, dict[str, str]] = {}
        self._read: dict[str, OwnProfile] = {}

    def find(self, model: str, root: str) -> OwnProfile | None:
        """The profile of ``model`` in the repository ``root``, None where there is none.

        Names are compared without their separators; of ``package.module.MyNet`` and ``org/my-net`` the last part is
        tried as well. Raises SettingsError where the profile is no JSON or malformed.
        """
        files = self._files.get(root)
        if files is None:
            files = self._files[root] = _listed(os.path.join(root, FOLDER))
        for name in (model, model.replace(":", "/").rpartition("/")[2], model.rpartition(".")[2]) if files else ():
            file = files.get(pack_key(name))
            if file is not None:
                return self._load(root, file)
        return None

    def _load(self, root: str, name: str) -> OwnProfile:
        path = os.path.join(root, FOLDER, name)
        if path not in self._read:
            self._read[path] = load_own_profile(root, path)
        return self._read[path]


def _listed(folder: str) -> dict[str, str]:
    """The profiles' files by the key of their name."""
    try:
        names = os.listdir(folder)
    except OSError:
        return {}
    return {pack_key(name[: -len(".json")]): name for name in sorted(names) if name.endswith(".json")}


def load_own_profile(root: str, path: str) -> OwnProfile:
    """The profile in the file ``path`` of the repository ``root``, with what makes it stale.

    Raises SettingsError where the file cannot be read, is no JSON or malformed; one of another schema version is no
    error but stale.
    """
    shown = os.path.relpath(path)
    try:
        if os.path.getsize(path) > _LARGEST_BYTES:
            raise SettingsError("too large for a profile", path=shown, help="Make it again with `vramlint trace`.")
        with open(path, "rb") as file:
            data = json.loads(file.read())
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"profile cannot be read: {error}", path=shown, help="Delete it or trace again.") from error
    if not isinstance(data, dict):
        raise SettingsError("profile is no JSON object", path=shown, help="Make it again with `vramlint trace`.")
    if data.get("schema") != SCHEMA:
        return OwnProfile(shown, None, f"it has schema {data.get('schema')!r}, this vramlint reads {SCHEMA}")
    try:
        profile = load_profile(data)
    except TraceError as error:
        raise SettingsError(error.message, path=shown, help=error.help) from error
    return OwnProfile(shown, profile, _stale(root, data))


def _stale(root: str, data: dict[str, Any]) -> str:
    """Why a profile may no longer be true: a source file that changed, or another version of a package."""
    code = data.get("code")
    sources = code.get("sources") if isinstance(code, dict) else None
    for name, digest in sources.items() if isinstance(sources, dict) else ():
        there = source_digest(os.path.join(root, *str(name).split("/")))
        if there != digest:
            return f"{name} {'changed since it was traced' if there else 'is gone'}"
    for package, version in data["built_by"].items():
        installed = _installed(package)
        if installed and installed != version:
            return f"traced with {package} {version}, {installed} is installed"
    return ""


def source_digest(path: str) -> str:
    """SHA-256 of a source file, its line ends apart (git may change them); empty where there is no such file."""
    import hashlib  # OpenSSL behind it; most repositories have no profile whose age is to be told

    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read().replace(b"\r\n", b"\n")).hexdigest()
    except OSError:
        return ""


def _installed(package: str) -> str:
    """The installed version without its build tag, empty where the package is not installed here."""
    from importlib import metadata  # only where a repository has a profile

    try:
        return metadata.version(package).split("+")[0]
    except metadata.PackageNotFoundError:
        return ""
