"""Where a framework is started on an example."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

Settings = dict[str, Any]


class Place(NamedTuple):
    """Where a framework was unpacked, a folder to write in, and the number of GPUs the example is for."""

    package: Path
    scratch: Path
    gpus: int
