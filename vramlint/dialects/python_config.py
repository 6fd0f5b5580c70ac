"""A Python config class (or dataclass) whose annotated attributes are the settings.

The batch is per process; the class is read, never imported. Attributes of base classes count, also across files::

    effective batch = batch_size x ranks x gradient_accumulation_steps

Example (``config.py``):

```python
class Config:
    backbone: str = "resnet50"
    batch_size: int = 64
    gradient_accumulation_steps: int = 4
    queue_size: int = 1024 * 64
    use_amp: bool = True
    use_grad_checkpointing: bool = True
```

```plan gpus=2
micro_batch: 64 file 3
accumulation: 4 file 4
effective_batch: 512 derived
queue_size: 65536 file 5
precision: fp16 file 6
grad_checkpointing: true file 7
model: resnet50 file 2
task: self-supervised derived
```

A queue of keys means contrastive pre-training: a second encoder follows the first without gradients.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from vramlint.dialects import generic
from vramlint.dialects.draft import Draft
from vramlint.dialects.launch import world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import Place, Source
from vramlint.dialects.reading import plain_value
from vramlint.dialects.signature import normal_name
from vramlint.dialects.spellings import SPELLINGS
from vramlint.sources.model import Definition, Document

NAME = "python_config"
TITLE = "a Python config class"

_MOST_BASES = 8


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one class."""
    subject = claim.subject
    assert isinstance(subject, Definition)
    draft = Draft(claim, document, subject.name)
    sources = list(class_sources(subject, document, context))
    for source in sources:
        draft.use(source.document)
    generic.fill(draft, _places(sources), _precisions(sources), generic.NO_KEY)
    return draft.close(world(document, None, context))


def class_sources(definition: Definition, document: Document, context: Context) -> Iterator[Source]:
    """The class, then its bases, depth first, each here or in a file of the repository that is imported."""
    seen: set[tuple[str, str]] = set()

    def visit(found: Definition, at: Document) -> Iterator[Source]:
        if (at.path, found.name) in seen or len(seen) >= _MOST_BASES:
            return
        seen.add((at.path, found.name))
        yield Source(at, found.members)
        for base in found.bases:
            home = _class(at, base.rsplit(".", 1)[-1])
            if home is not None:
                yield from visit(home, at)
                continue
            for other in _imported(base, at, context):
                inherited = _class(other, base.rsplit(".", 1)[-1])
                if inherited is not None:
                    yield from visit(inherited, other)

    yield from visit(definition, document)


def _class(document: Document, name: str) -> Definition | None:
    return next((found for found in document.definitions if found.kind == "class" and found.name == name), None)


def _imported(base: str, document: Document, context: Context) -> Iterator[Document]:
    """The files from which ``base`` may be imported: its module as a path, from the file's folder and those above."""
    first = base.split(".", 1)[0]
    for found in document.imports:
        if first not in (found.alias, found.name):
            continue
        for path in module_paths(found.module, document.path):
            other = context.document(path)
            if other is not None:
                yield other


def module_paths(module: str, path: str) -> list[str]:
    """Where ``from module import …`` in the file ``path`` may find its module, most likely first."""
    folder = posixpath.dirname(path)
    stripped = module.lstrip(".")
    dots = len(module) - len(stripped)
    tail = stripped.replace(".", "/")
    if dots:
        base = posixpath.normpath(posixpath.join(folder, *[".."] * (dots - 1)))
        return [posixpath.normpath(posixpath.join(base, f"{tail}.py"))]
    roots = [folder, *_parents(folder)]
    return [posixpath.normpath(posixpath.join(root, f"{tail}.py")) for root in roots]


def _parents(folder: str) -> list[str]:
    """The folders above, up to the project's root (``""``) or, outside of it, the machine's (``/``)."""
    parents = []
    while (above := posixpath.dirname(folder)) != folder:
        folder = above
        parents.append(folder)
    return parents


def _places(sources: list[Source]) -> dict[str, Place]:
    places: dict[str, Place] = {}
    for source in sources:
        by_name = {normal_name(entry.key): entry for entry in source.mapping.entries}
        for fact, names in SPELLINGS.items():
            if fact in places or fact not in generic.Trainer.model_fields:
                continue
            entry = next((by_name[name] for name in names if name in by_name), None)
            if entry is not None:
                places[fact] = Place(source, entry.key, entry, source.mapping)
    return places


def _precisions(sources: list[Source]) -> list[Place]:
    places: dict[str, Place] = {}
    for source in sources:
        for entry in source.mapping.entries:
            name = normal_name(entry.key)
            if name in SPELLINGS["precision"] and plain_value(entry.value) is not None:
                places.setdefault(name, Place(source, entry.key, entry, source.mapping))
    return list(places.values())
