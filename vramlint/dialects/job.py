"""What the dialects of job files share: the commands inside a YAML, and their plans in the job's own world.

A job file is no config itself: it says on how many GPUs which command runs. The command is read by the dialect that
knows it, with the job's GPUs as its target and the job's variables in its shell; facts, findings and repairs stand at
their places in the YAML.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from vramlint.dialects import registry
from vramlint.dialects.launch import World
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import locate
from vramlint.hardware.model import Target
from vramlint.plan import Origin
from vramlint.sources.embedded import scripts_of, words_of
from vramlint.sources.model import Command, Document
from vramlint.sources.model import Mapping as MappingNode


class Around:
    """The surroundings of the command inside a job: those of the file, on the job's own nodes."""

    def __init__(self, context: Context, target: Target) -> None:
        self._context = context
        self.target = target

    def document(self, path: str) -> Document | None:
        """Another file of the repository, as the job file's own context finds it."""
        return self._context.document(path)

    def launches(self, document: Document) -> Sequence[tuple[Document, Command]]:
        """The launch lines that use ``document``."""
        return self._context.launches(document)


def commands_of(document: Document, holder: MappingNode, known: Mapping[str, str] | None = None) -> Iterator[Document]:
    """The scripts and word lists that hang on ``holder``, as shell documents that know where they stand."""
    texts = [script.shell for script in scripts_of(document, holder, known)]
    yield from texts
    listed = None if texts else words_of(document, holder)
    if listed is not None:
        yield listed.shell


def read_inside(name: str, claim: Claim, inner: Document, around: Around, world: World | None = None) -> Reading:
    """The plan of a command inside a job, as the job's own; ``world`` stands where no launcher says otherwise."""
    reading = registry.dialect(claim.dialect).read(claim, inner, around)
    host = inner.host
    assert host is not None
    plan = reading.plan
    plan.dialect, plan.path = name, host.document.path
    if isinstance(claim.subject, Command):
        line = locate(inner, claim.subject.program_span).line
        plan.title = f"{claim.subject.program} (line {line})"
    if world is not None and plan.world_size.origin is not Origin.LAUNCH:
        plan.world_size, plan.nodes = world
    reading.document = host.document
    reading.spoken_in = inner
    reading.documents = [host.document, *(each for each in reading.documents if each is not inner)]
    return reading


@lru_cache(maxsize=4)
def inner_claims(row: str, document: Document) -> tuple[tuple[Document, Claim], ...]:
    """Every command inside ``document`` that a dialect knows, and that dialect's claim.

    Kept for the few documents that were asked for last: recognising a file and reading it need the same commands.
    """
    found = []
    for inner in _inside(row, document):
        claims = registry.claims(inner)
        found += [(inner, claim) for claim in claims if isinstance(claim.subject, Command)]
    return tuple(found)


def _inside(row: str, document: Document) -> Iterator[Document]:
    for holder, known in registry.job(row).holders(document):
        yield from commands_of(document, holder, known)
