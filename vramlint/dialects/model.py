"""What every dialect gives: a claim on a document, and a reading of it as a training plan with editable slots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from vramlint.sources.model import Command, Definition, Document, Mapping, Plain, Scalar

if TYPE_CHECKING:
    # Recognising needs none of these, and they bring the estimator with them: 50 ms of a start that most files end.
    from vramlint.findings import Finding
    from vramlint.hardware.model import Target
    from vramlint.plan import TrainingPlan


class Slot(NamedTuple):
    """Where a fact can be written.

    ``node`` is the scalar to replace; where it is None, ``key`` can be inserted into ``parent`` (after the entry
    ``after``, at the end where None). ``spell`` turns the plan's value into the file's (a per-rank micro batch into a
    global one, a precision into True). ``name`` is what the file calls it.
    """

    document: Document
    name: str
    node: Scalar | None
    parent: Mapping | None
    key: str
    after: str | None
    spell: Callable[[object], Plain]


class Claim(NamedTuple):
    """A dialect's claim on a document or a part of it. ``evidence`` explains it in the file's own words."""

    dialect: str
    subject: Document | Command | Definition | Mapping
    evidence: tuple[str, ...]


class Context(Protocol):
    """What a dialect may ask about the surroundings of a document: the other files of its run unit and the target."""

    @property
    def target(self) -> Target: ...

    def document(self, path: str) -> Document | None:
        """Another file of the repository by path from the project root, read once; None where absent."""
        ...

    def launches(self, document: Document) -> Sequence[tuple[Document, Command]]:
        """The launch lines known to use this document."""
        ...


@dataclass(slots=True, eq=False)
class Reading:
    """One run as a dialect reads it: the plan, the slots by fact name, and findings of reading itself (VL0)."""

    plan: TrainingPlan
    document: Document
    slots: dict[str, Slot] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    """Every file the plan was read from, ``document`` first."""
    subject: Document | Command | Definition | Mapping | None = None
    """What was claimed: the engine sets it, for rules that look at single keys."""
    settings: Mapping | None = None
    """Where the run's settings stand, where that is a part of the subject: one process of a job, a job's parameters."""
    spoken_in: Document | None = None
    """The part of ``document`` that holds the subject, where it is a command inside a job's YAML."""
    launches: Sequence[tuple[Document, Command]] = ()
    """The launch lines known to use ``document``; the engine sets them."""


class Dialect(Protocol):
    """The shape of a dialect module; its row in the table says what it claims. The docstring is its documentation."""

    NAME: str
    TITLE: str

    def read(self, claim: Claim, document: Document, context: Context, /) -> Reading:
        """The plan of one claim."""
        ...


class Job(Dialect, Protocol):
    """A dialect of job files, whose runs are the commands inside."""

    def holders(self, document: Document, /) -> Iterator[tuple[Mapping, MappingType[str, str]]]:
        """The mappings that hold commands, with the variables that the scripts on them know."""
        ...
