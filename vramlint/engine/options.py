"""What a caller may ask of a check."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vramlint.hardware.model import Host


class CheckOptions(NamedTuple):
    """Options of one invocation; everything left at its default is decided by comments in the files and the settings.

    ``select`` and ``ignore`` take codes, names and code prefixes (``VL2``). ``gpu`` may hold several names: each run is
    then checked against each. ``gpus`` is per node.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    gpu: tuple[str, ...] = ()
    gpus: int | None = None
    nodes: int | None = None
    host: Host | None = None
    """Overrides the settings' host, part by part; rule cases and ``exec`` use it."""
    force_exclude: bool = False
    """Leave excluded files out even where they are named one by one (pre-commit does that)."""
    pedantic: bool = False
    min_confidence: str | None = None
    """Leave out findings that vramlint is less sure of: ``low`` (everything), ``medium`` or ``high``."""
    stdin_filename: str | None = None
    """The path that standard input stands for, where ``-`` is among the paths."""
    settings_path: str | None = None
    """Read these settings instead of the closest ``pyproject.toml`` or ``vramlint.toml``."""
    isolated: bool = False
    """Read no settings at all."""
    plugins: tuple[str, ...] = ()
    """Rule plugins besides those of the settings."""
    launchers: tuple[str, ...] = ()
    """The only scripts whose launch lines count, where the caller knows how the run is launched (``exec``)."""
    with_rules: bool = True
    """Whether rules run; ``plan`` and ``estimate`` need none."""
    verbose: bool = False
    """Whether a crash of a rule or dialect is reported with its traceback."""
