"""Compare how vramlint resolves OpenMMLab's configs with what mmengine itself read (``tools/mm_facts.py``).

    python tools/mm_agree.py facts.jsonl .cache/wheels/mmdet-3.3.0-*.whl .cache/wheels/mmsegmentation-1.2.2-*.whl

For every file that mmengine loads, each fact of its table is looked up in vramlint's resolved config: batch size,
optimizer, precision, model type and every image size of the training pipelines. Agreement is equality; where vramlint
says UNKNOWN it counts as unknown, not as agreement. The plan that the mmengine dialect makes is compared as well.
Prints the shares; exit 1 where anything disagrees.
"""

from __future__ import annotations

import argparse
import collections
import json
import posixpath
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tools.mm_facts import SIZES
from vramlint import sources
from vramlint.dialects.registry import claims, dialect
from vramlint.errors import SourceError
from vramlint.hardware.model import Target
from vramlint.plan import Precision, TrainingPlan
from vramlint.sources.model import Command, Document, Mapping, Node, Scalar, Unknown, lookup
from vramlint.sources.model import Sequence as Listed
from vramlint.sources.python_project import PythonProject

GROUPS = {
    "train_dataloader.batch_size": "batch size",
    "data.samples_per_gpu": "batch size",
    "optim_wrapper.accumulative_counts": "batch size",
    "optim_wrapper.type": "precision",
    "optim_wrapper.dtype": "precision",
    "optim_wrapper.loss_scale": "precision",
    "optim_wrapper.optimizer.type": "optimizer",
    "optim_wrapper.optimizer.lr": "optimizer",
    "optimizer.type": "optimizer",
    "model.type": "model type",
    "model.backbone.type": "model type",
    "model.backbone.depth": "model type",
    "model.data_preprocessor.size": "image size",
    "image_sizes": "image size",
}
UNKNOWN = "UNKNOWN"


class Wheel:
    """The configs of a wheel as a project: files by their path, each read once."""

    target = Target()

    def __init__(self, paths: Sequence[str]) -> None:
        self._files: dict[str, bytes] = {}
        self._read: dict[str, Document] = {}
        for path in paths:
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if "/.mim/configs/" in name and name.endswith(".py")]
                self._files |= {name: archive.read(name) for name in names}
        self.project = PythonProject(self.document)

    def document(self, path: str) -> Document | None:
        """The file at ``path``, None where the wheels have none."""
        if path not in self._files:
            return None
        if path not in self._read:
            self._read[path] = sources.read(path, self._files[path])
        return self._read[path]

    def launches(self, _document: Document) -> list[tuple[Document, Command]]:
        """Nobody launches a file of a wheel."""
        return []

    def plan(self, path: str) -> TrainingPlan | None:
        """The plan that the dialect which claims the file makes of it."""
        document = self.document(path)
        if document is None:
            return None
        context: Any = _Beside(self, path)
        found = [dialect(claim.dialect).read(claim, document, context).plan for claim in claims(document)]
        return found[0] if found else None


class _Beside:
    """A wheel as the context of one file: other files are named from the folder of that file."""

    def __init__(self, wheel: Wheel, path: str) -> None:
        self.target = wheel.target
        self._wheel, self._folder = wheel, path.rsplit("/", 1)[0]
        self.launches = wheel.launches

    def document(self, path: str) -> Document | None:
        return self._wheel.document(posixpath.normpath(posixpath.join(self._folder, path)))


class Verdict(NamedTuple):
    """One fact of one file: ``agrees``, ``unknown`` or ``differs``, and both readings."""

    group: str
    name: str
    verdict: str
    ours: object
    theirs: object


def compare(root: Mapping, facts: dict[str, Any]) -> Iterator[Verdict]:
    """Every fact of mmengine's table beside the same of a resolved config."""
    for name, group in GROUPS.items():
        if name == "image_sizes":
            ours: object = list(image_sizes(lookup(root, "train_dataloader.dataset")))
            theirs = facts.get(name, [])
        else:
            node = lookup(root, name)
            ours, theirs = None if node is None else short(node), facts.get(name)
        if ours == theirs and type(ours) is type(theirs):
            if theirs not in (None, []):
                yield Verdict(group, name, "agrees", ours, theirs)
        else:
            yield Verdict(group, name, "unknown" if UNKNOWN in repr(ours) else "differs", ours, theirs)


def short(node: Node) -> object:
    """A value as ``tools/mm_facts.py`` writes it; a class by its last name."""
    match node:
        case Scalar():
            return node.value.rsplit(".", 1)[-1] if isinstance(node.value, str) else node.value
        case Unknown():
            text = node.text.rsplit(".", 1)[-1]
            return text if text.isidentifier() and text[:1].isupper() else UNKNOWN
        case Listed():
            return [short(item) for item in node.items]
        case Mapping():
            return {entry.key: short(entry.value) for entry in node.entries}


def image_sizes(node: Node | None, inside: str = "") -> Iterator[list[object]]:
    """Every size in the training pipelines, in the order of ``tools/mm_facts.py``."""
    if isinstance(node, Unknown):
        yield [UNKNOWN]
    elif isinstance(node, Mapping):
        named = node.get("type")
        kind = inside if named is None else str(short(named))
        for key in sorted(node.keys()):
            value = node.get(key)
            assert value is not None
            if key in SIZES:
                yield [kind, key, short(value)]
            elif not isinstance(value, Unknown) or key in ("pipeline", "dataset"):
                yield from image_sizes(value, kind)
    elif isinstance(node, Listed):
        for item in node.items:
            yield from image_sizes(item, inside)


def compare_plan(plan: TrainingPlan, facts: dict[str, Any]) -> Iterator[Verdict]:
    """The facts of a plan against mmengine's; precision by mmengine's own rule (AmpOptimWrapper is float16)."""
    dtype = str(facts.get("optim_wrapper.dtype", "float16"))
    amp = facts.get("optim_wrapper.type") == "AmpOptimWrapper"
    kept = {"bfloat16": Precision.BF16}.get(dtype, Precision.FP16) if amp else Precision.FP32
    expected = {
        "micro_batch": facts.get("train_dataloader.batch_size"),
        "accumulation": facts.get("optim_wrapper.accumulative_counts", 1),
        "optimizer": facts.get("optim_wrapper.optimizer.type"),
        "precision": kept if "optim_wrapper.type" in facts else None,
    }
    for name, theirs in expected.items():
        fact = plan.fact(name)
        ours = fact.value if fact.known else None
        if theirs is None and ours is None:
            continue
        same = ours == theirs or (name == "precision" and theirs is None)
        yield Verdict(f"plan {name}", name, "agrees" if same else "differs" if fact.known else "unknown", ours, theirs)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare; exit 1 where anything disagrees."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("facts")
    parser.add_argument("wheels", nargs="+")
    options = parser.parse_args(argv)
    wheel = Wheel(options.wheels)
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    notes: list[str] = []
    for line in Path(options.facts).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if "error" in row:
            counts["files"]["not loaded by mmengine"] += 1
            continue
        verdicts = list(_verdicts(wheel, row["file"], row["facts"], notes))
        whole = {verdict.verdict for verdict in verdicts}
        worst = "differs" if "differs" in whole else "unknown" if "unknown" in whole else "agrees"
        counts["files"][worst] += 1
        for verdict in verdicts:
            counts[verdict.group][verdict.verdict] += 1
    for note in notes[:40]:
        print(note)
    for group, found in sorted(counts.items()):
        judged = sum(found[verdict] for verdict in ("agrees", "unknown", "differs"))
        share = f"{found['agrees'] / judged:.2%}" if judged else ""
        print(
            f"{group}: {share} of {judged:,} agree; " + ", ".join(f"{n:,} {what}" for what, n in sorted(found.items()))
        )
    return 1 if any(found["differs"] for found in counts.values()) else 0


def _verdicts(wheel: Wheel, path: str, facts: dict[str, Any], notes: list[str]) -> Iterator[Verdict]:
    try:
        resolved = wheel.project.module(path)
    except SourceError as error:
        notes.append(f"{path}: {error}")
        resolved = None
    found = [] if resolved is None else list(compare(resolved.mapping, facts))
    if resolved is None:
        found.append(Verdict("files that vramlint reads", path, "differs", None, None))
    plan = wheel.plan(path)
    if plan is not None:
        found.extend(compare_plan(plan, facts))
    for verdict in found:
        if verdict.verdict != "agrees":
            notes.append(
                f"{path}: {verdict.name} {verdict.verdict}: {verdict.ours!r}, mmengine {verdict.theirs!r}"[:400]
            )
    yield from found


if __name__ == "__main__":
    sys.exit(main())
