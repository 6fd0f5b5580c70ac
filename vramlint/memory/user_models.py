"""Models that the user describes in the settings, ``[[tool.vramlint.models]]``.

    [[tool.vramlint.models]]
    match = "our-unet*"             # the model's name as configs spell it; * and ? as in a shell
    path = "configs/unet/**"        # instead, or as well: the config files it is trained by
    # at most one of these says what it is:
    like = "resnet50"               # another name for a known model
    config = "models/ours"          # a folder with a config.json (a decoder LLM)
    profile = "ours.json"           # a file that `vramlint trace` made
    parameters = "31M"              # only how large it is: weights, gradients and optimizer states are then known
    trainable = "2M"                # with parameters: how many of them train; all where it is not given
    shape = {hidden = 4096, layers = 32, heads = 32, kv-heads = 8, ffn = 14336, vocabulary = 128256, tied = false}
    # and what somebody measured of it:
    observations = [{batch = 2, image-size = 512, memory = "7.4GiB", meter = "nvidia-smi"}]

Paths are relative to the settings file. Observations hold whatever the rest of the plan is, so measure what you run.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from vramlint.errors import SettingsError, TraceError
from vramlint.memory.knowledge import Moment, Workload
from vramlint.memory.observations import Meter, Observation
from vramlint.plan import DecoderShape, ImageSize

_KINDS = ("like", "config", "profile", "parameters", "shape")
_KEYS = ("match", "path", "trainable", "observations", *_KINDS)
_SCALES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_METERS = {
    "allocated": Meter.ALLOCATED,
    "reserved": Meter.RESERVED,
    "device": Meter.DEVICE,
    "nvidia-smi": Meter.DEVICE,
}
_SIZES = {"mib": 2**20, "gib": 2**30, "mb": 10**6, "gb": 10**9}
_SHAPE = {
    "hidden": "hidden",
    "layers": "layers",
    "heads": "heads",
    "kv-heads": "kv_heads",
    "head-dim": "head_dim",
    "ffn": "ffn",
    "vocabulary": "vocabulary",
}


class Counted(NamedTuple):
    """A model of which only the number of parameters is known: states follow, activations do not."""

    name: str
    parameters: int
    trainable: int
    buffer_bytes: int = 0
    spread: float = 0.0

    @property
    def source(self) -> str:
        """Where the knowledge comes from, in words for the report."""
        return "number of parameters in the settings"

    def moments(self, _workload: Workload) -> tuple[Moment, ...]:
        """None: the activations are unknown."""
        return ()


class UserModel(NamedTuple):
    """One table of the settings. ``root`` is the folder that its paths are relative to."""

    root: str
    match: str = ""
    path: str = ""
    like: str = ""
    config: str = ""
    profile: str = ""
    counted: Counted | None = None
    shape: DecoderShape | None = None
    observations: tuple[Observation, ...] = ()

    def means(self, model: str | None) -> bool:
        """Whether a config's model is this one by its name; a table without ``match`` leaves it to ``path``."""
        if not self.match:
            return True
        if not model:
            return False
        names = {model.lower(), model.lower().rstrip("/").rpartition("/")[2]}
        return any(fnmatchcase(name, self.match.lower()) for name in names)

    def __str__(self) -> str:
        return f"settings, match = {self.match!r}" if self.match else f"settings, path = {self.path!r}"


def user_model(table: object, root: str) -> UserModel:
    """A table of the settings as a model. Raises ValueError, in words, where it cannot be read."""
    if not isinstance(table, Mapping):
        raise ValueError("expected a table")
    given = {str(key).replace("_", "-"): value for key, value in table.items()}
    for key in given:
        if key not in _KEYS:
            raise ValueError(f"unknown key {key!r}; known: {', '.join(sorted(_KEYS))}")
    match, path = _text(given, "match"), _text(given, "path")
    if not match and not path:
        raise ValueError('needs match = "model name" or path = "configs/**"')
    kinds = [kind for kind in _KINDS if kind in given]
    if len(kinds) > 1:
        raise ValueError(f"{' and '.join(kinds)} both say what the model is: keep one")
    if not kinds and "observations" not in given:
        raise ValueError(f"needs one of {', '.join(_KINDS)}, or observations")
    if "trainable" in given and "parameters" not in given:
        raise ValueError("trainable needs parameters")
    return UserModel(
        root, match, path, _text(given, "like"), _text(given, "config"), _text(given, "profile"),
        _counted(given, match or path), _shape(given), _observations(given),
    )  # fmt: skip


def _text(given: Mapping[str, Any], key: str) -> str:
    value = given.get(key, "")
    if not isinstance(value, str):
        raise ValueError(f"{key} = {value!r}: expected a text")
    return value


def _counted(given: Mapping[str, Any], name: str) -> Counted | None:
    if "parameters" not in given:
        return None
    parameters = _number(given["parameters"], "parameters")
    trainable = _number(given.get("trainable", parameters), "trainable")
    if trainable > parameters:
        raise ValueError(f"trainable = {trainable} exceeds parameters = {parameters}")
    return Counted(name, parameters, trainable)


def _number(value: object, key: str) -> int:
    """31000000, 3.1e7 or "31M"."""
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmb]?)", value.strip().lower())
        value = float(match[1]) * _SCALES[match[2]] if match else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value < 10**15:
        raise ValueError(f'{key}: expected a number as 31000000 or "31M"')
    return round(value)


def _shape(given: Mapping[str, Any]) -> DecoderShape | None:
    table = given.get("shape")
    if table is None:
        return None
    if not isinstance(table, Mapping):
        raise ValueError("shape: expected a table {hidden = …, layers = …}")
    words = {str(key).replace("_", "-"): value for key, value in table.items()}
    tied = words.pop("tied", False)
    unknown = [key for key in words if key not in _SHAPE]
    if unknown:
        raise ValueError(f"shape: unknown key {unknown[0]!r}; known: {', '.join((*_SHAPE, 'tied'))}")
    numbers = {_SHAPE[key]: _number(value, f"shape.{key}") for key, value in words.items()}
    missing = [key for key in ("hidden", "layers", "heads", "ffn", "vocabulary") if key not in numbers]
    if missing:
        raise ValueError(f"shape: {' and '.join(missing)} missing")
    return DecoderShape(
        hidden=numbers["hidden"],
        layers=numbers["layers"],
        heads=numbers["heads"],
        kv_heads=numbers.get("kv_heads", numbers["heads"]),
        head_dim=numbers.get("head_dim", max(1, numbers["hidden"] // numbers["heads"])),
        ffn=numbers["ffn"],
        vocabulary=numbers["vocabulary"],
        tied=bool(tied),
    )


def _observations(given: Mapping[str, Any]) -> tuple[Observation, ...]:
    rows = given.get("observations", [])
    if not isinstance(rows, list):
        raise ValueError("observations: expected a list of tables")
    return tuple(typed(row) for row in rows)


def typed(row: object) -> Observation:
    """An observation as people type it: ``{batch = 2, image-size = 512, memory = "7.4GiB", meter = "nvidia-smi"}``.

    Raises ValueError, in words, where it cannot be read.
    """
    if not isinstance(row, Mapping):
        raise ValueError('observations: expected {batch = 2, memory = "7.4GiB"}')
    words = {str(key).replace("_", "-"): value for key, value in row.items()}
    known = ("batch", "image-size", "seq-len", "memory", "meter", "gpu", "source", "date")
    unknown = [key for key in words if key not in known]
    if unknown:
        raise ValueError(f"observations: unknown key {unknown[0]!r}; known: {', '.join(known)}")
    meter = _METERS.get(str(words.get("meter", "nvidia-smi")).lower())
    if meter is None:
        raise ValueError(f"observations: meter = {words['meter']!r}, expected {', '.join(_METERS)}")
    return Observation(
        micro_batch=_number(words.get("batch"), "observations: batch"),
        bytes=_memory(words.get("memory")),
        meter=meter,
        image_size=_image(words.get("image-size")),
        seq_len=None if words.get("seq-len") is None else _number(words["seq-len"], "observations: seq-len"),
        gpu=str(words.get("gpu", "")),
        date=str(words.get("date", "")),
        source=str(words.get("source", "settings")),
    )


def _memory(value: object) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([mg]i?b)", value.strip().lower()) if isinstance(value, str) else None
    if match is None or not float(match[1]):
        raise ValueError(f'observations: memory = {value!r}, expected a size with its unit, as "7.4GiB"')
    return round(float(match[1]) * _SIZES[match[2]])


def _image(value: object) -> ImageSize | None:
    if value is None:
        return None
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2:
        raise ValueError(f"observations: image-size = {value!r}, expected pixels as 512 or [height, width]")
    return ImageSize(*(_number(side, "observations: image-size") for side in sides))


def profile_data(model: UserModel) -> Mapping[str, Any]:
    """The JSON of the model's profile file. Raises SettingsError where it cannot be read."""
    path = os.path.join(model.root, model.profile)
    try:
        with open(path, "rb") as file:
            data = json.load(file)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"profile of {model}: {error}", path=os.path.relpath(path), help="Make it with `vramlint trace`."
        ) from error
    if not isinstance(data, Mapping):
        raise TraceError(f"{os.path.relpath(path)} holds no profile", help="Make it with `vramlint trace`.")
    return data
