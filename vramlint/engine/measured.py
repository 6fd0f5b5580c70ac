"""What the repository's owner knows of a run's memory: models in the settings, profiles and observations beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vramlint.errors import SettingsError
from vramlint.plan import Fact, Origin, TrainingPlan
from vramlint.project.discovery import Repositories
from vramlint.project.settings import Settings

if TYPE_CHECKING:
    from vramlint.hardware.model import Target
    from vramlint.memory.calibration import Calibration
    from vramlint.memory.observations import Observation
    from vramlint.project.own_profiles import OwnProfiles

_FILE = os.path.join(".vramlint", "observations.jsonl")  # vramlint.memory.observations.FILE, without importing it

_PROBED = os.path.join(".vramlint", "probe.json")  # vramlint.memory.calibration.FILE


class OwnersKnowledge:
    """Attaches what is known of each plan; every observations file is read once."""

    def __init__(self, repositories: Repositories, *, isolated: bool) -> None:
        self._repositories = repositories
        self._isolated = isolated
        self._by_folder: dict[str, tuple[Observation, ...]] = {}
        self._profiles: OwnProfiles | None = None
        self._calibrations: dict[str, Calibration | None] = {}

    def attach(self, plan: TrainingPlan, settings: Settings, path: str) -> None:
        """Gives ``plan`` of the file ``path`` (absolute) ``user_model``, ``own_profile`` and ``observations``.

        Raises SettingsError, with the line, where a file of theirs cannot be read.
        """
        if not self._isolated and plan.model.value:
            self._attach_profile(plan, path)
        typed: list[Observation] = []
        for model in settings.models:
            if model.means(plan.model.value) and (not model.path or settings.matches(path, model.path)):
                plan.extra["user_model"] = Fact(model, Origin.FILE, note=str(model))
                typed.extend(model.observations)
        measured = () if self._isolated else self._observations(os.path.dirname(path))
        if typed or measured:
            from vramlint.memory.observations import attach

            attach(plan, (*typed, *measured))

    def calibrated(self, target: Target, path: str) -> Target:
        """The target with what ``vramlint probe`` measured of its card, where the repository of ``path`` has that.

        Raises SettingsError where the result cannot be read.
        """
        if self._isolated or target.gpu is None:
            return target
        root = self._root(os.path.dirname(path))
        if root not in self._calibrations:
            self._calibrations[root] = _calibration(os.path.join(root, _PROBED))
        found = self._calibrations[root]
        if found is None or not found.names(target.gpu):
            return target
        return target._replace(gpu=found.applied(target.gpu))

    def _attach_profile(self, plan: TrainingPlan, path: str) -> None:
        if self._profiles is None:
            from vramlint.project.own_profiles import OwnProfiles  # most invocations meet no config

            self._profiles = OwnProfiles()
        for folder in self._upwards(os.path.dirname(path)):
            own = self._profiles.find(str(plan.model.value), folder)
            if own is not None:
                plan.extra["own_profile"] = Fact(own, Origin.FILE, note="vramlint trace")
                return

    def _observations(self, folder: str) -> tuple[Observation, ...]:
        root = self._root(folder)
        known = self._by_folder.get(root)
        if known is None:
            known = self._by_folder[root] = _read(os.path.join(root, _FILE))
        return known

    def _root(self, folder: str) -> str:
        """The repository's root; the folder itself outside every repository."""
        return self._repositories.root(folder) or folder

    def _upwards(self, folder: str) -> Iterator[str]:
        """``folder`` and those above it, up to the repository's root; itself alone outside every repository."""
        root = self._root(folder)
        while folder != root:
            yield folder
            folder = os.path.dirname(folder)
        yield root


def _calibration(path: str) -> Calibration | None:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot be read: {error}", path=os.path.relpath(path)) from error
    from vramlint.memory.calibration import read_calibration

    return read_calibration(text, os.path.relpath(path))


def _read(path: str) -> tuple[Observation, ...]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot be read: {error}", path=os.path.relpath(path)) from error
    from vramlint.memory.observations import read_observations

    return read_observations(text, os.path.relpath(path))
