"""The public rule interface: all that a rule plugin may import from vramlint.

A rule is a module with ``RULE`` (a :class:`RuleInfo`), ``VALID`` and ``INVALID`` (tuples of :class:`Case`) and
``check(run)``, a generator of :class:`Verdict`. The module's docstring is its documentation. ``CONTRIBUTING.md`` shows
the six steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from vramlint.hardware.model import GIB, MIB, Gpu, Host, Target
from vramlint.memory.model import Component, Estimate, Interval
from vramlint.memory.model import Verdict as MemoryVerdict
from vramlint.plan import DecoderShape, Fact, ImageSize, Origin, Precision, TrainingPlan, revise


class Severity(StrEnum):
    """``error``: the run fails or corrupts. ``warning``: it wastes or risks. ``info``: worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Confidence(StrEnum):
    """How sure vramlint is that the finding is true."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Safety(StrEnum):
    """``safe`` keeps the effective batch and the numerics; ``unsafe`` may not; ``display`` is only shown."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    DISPLAY = "display"


class Stability(StrEnum):
    """``stable``: code, name and meaning stay. ``preview``: what the rule finds may still change."""

    STABLE = "stable"
    PREVIEW = "preview"


class Change(NamedTuple):
    """Give the plan's fact called ``fact`` the plan value ``value``; the dialect knows how the file spells it.

    ``value`` None deletes the entry.
    """

    fact: str
    value: object


class Repair(NamedTuple):
    """Changes that apply together or not at all. ``title`` is one imperative phrase: "set batch_size to 64"."""

    title: str
    safety: Safety
    changes: tuple[Change, ...]


class Verdict(NamedTuple):
    """What a rule says about a plan: the engine adds the rule's code and turns ``fact`` into a place.

    ``fact`` names the plan's fact the finding is about; ``message`` says what, the number, the consequence; ``label``
    is the few words to print under the value; ``help`` one imperative sentence. ``severity`` overrides the rule's own.
    ``key`` names a setting to point at instead, as ``Run.setting`` takes it.
    """

    fact: str
    message: str
    label: str = ""
    help: str = ""
    repairs: tuple[Repair, ...] = ()
    severity: Severity | None = None
    confidence: Confidence | None = None
    key: str = ""


class Case(NamedTuple):
    """One worked case of a rule: a file, how it is checked, and, when invalid, what the fix makes of it.

    ``path`` decides the syntax; ``text`` is the file. ``gpu``, ``gpus``, ``cores``, ``ram_gib``, ``shm_mib`` and
    ``disk_gib`` are the target. ``fixed`` is the whole file after ``--fix`` (``--unsafe-fixes`` where ``unsafe``), None
    where the rule fixes nothing.
    """

    path: str
    text: str
    gpu: str | None = None
    gpus: int | None = None
    cores: int | None = None
    ram_gib: float | None = None
    shm_mib: int | None = None
    disk_gib: float | None = None
    fixed: str | None = None
    unsafe: bool = False


class RuleInfo(NamedTuple):
    """Identity of a rule. ``name`` says the bad thing in kebab case; ``sources`` are the documents behind the rule."""

    code: str
    name: str
    summary: str
    severity: Severity
    confidence: Confidence
    fix: Safety | None
    sources: tuple[str, ...]
    pedantic: bool = False
    """Shown only with ``--pedantic``."""
    stability: Stability = Stability.STABLE
    needs_gpu: bool = False
    """Says nothing of a run whose GPU nobody names: it is not asked then, and no estimate made for it."""
    once_a_card: bool = False
    """About the card more than about the file: of many files of a folder that do not name their card themselves, the
    report tells it of one, with the number of the others."""


class Limits(NamedTuple):
    """The settings a rule may ask for; defaults are those of ``vramlint.toml``'s documentation."""

    headroom: float = 0.05
    """Share of usable memory to leave free, for verdicts and repairs."""
    wasted_below: float = 0.60
    """Below this share of usable memory a card counts as wasted."""
    fill_to: float = 0.85
    """Share of usable memory that a larger batch should reach."""


class Run(Protocol):
    """One training run as a rule sees it."""

    @property
    def plan(self) -> TrainingPlan: ...
    @property
    def target(self) -> Target: ...
    @property
    def limits(self) -> Limits: ...

    def estimate(self, plan: TrainingPlan | None = None) -> Estimate:
        """Peak memory of the run's plan, or of a changed one, on the run's target. Cached."""
        ...

    @property
    def shape(self) -> DecoderShape | None:
        """The shape of the decoder that is trained, from the files or by the model's name; None for all else."""
        ...

    def editable(self, fact: str) -> bool:
        """Whether a repair can write this fact (its spelling, or a place to insert it, is known)."""
        ...

    def spelling(self, fact: str) -> str:
        """What the file calls the fact: ``batch_size``, ``--accum``; the plan's own name where no file spells it."""
        ...

    def setting(self, key: str) -> Fact[Any]:
        """A setting by the name its file gives it: ``bf16``, ``zero_optimization.stage``, a flag without its dashes.

        It is looked up in the claimed file, call or command and on the launch line that uses it. UNKNOWN where it is an
        expression or may come from a file that is not at hand; the value None with origin DEFAULT where nobody spells
        it; the value None with origin FILE where it is spelled as null. ``$NAME`` is a variable of the environment that
        the launch line sets: UNKNOWN where it sets none.
        """
        ...

    def repairs_to_fit(self) -> Sequence[Repair]:
        """Repairs after which the plan fits the target with head-room, best first (the solver's work)."""
        ...

    def steps_to_fit(self) -> Sequence[Repair]:
        """Every single step that saves memory, in the order of preference, each with what it saves; for display."""
        ...

    def repairs_to_fill(self) -> Sequence[Repair]:
        """Repairs that use the card's free memory up to ``limits.fill_to``, best first."""
        ...

    def repairs_to_divide(self) -> Sequence[Repair]:
        """Repairs after which the queue is a multiple of the batch and everything else still holds, best first."""
        ...


class RuleModule(Protocol):
    """The shape of a rule module."""

    RULE: RuleInfo
    VALID: tuple[Case, ...]
    INVALID: tuple[Case, ...]

    def check(self, run: Run, /) -> Iterator[Verdict]: ...


__all__ = [
    "GIB",
    "MIB",
    "Case",
    "Change",
    "Component",
    "Confidence",
    "DecoderShape",
    "Estimate",
    "Fact",
    "Gpu",
    "Host",
    "ImageSize",
    "Interval",
    "Limits",
    "MemoryVerdict",
    "Origin",
    "Precision",
    "Repair",
    "RuleInfo",
    "RuleModule",
    "Run",
    "Safety",
    "Severity",
    "Stability",
    "Target",
    "TrainingPlan",
    "Verdict",
    "revise",
]
