"""Kubeflow jobs: the world is the job's, the run is that of the command inside.

``TrainJob`` (v2) and ``PyTorchJob`` (v1) say how many nodes and processes there are; torchrun takes them from the
environment::

    ranks = numNodes x numProcPerNode (auto: the GPUs of a node)
    effective batch = as the dialect of the command has it

Example (``job.yaml``):

```yaml
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainJob
metadata:
  name: sft
spec:
  trainer:
    numNodes: 2
    numProcPerNode: 4
    command:
      - torchrun
      - train.py
      - --per_device_train_batch_size=2
      - --gradient_accumulation_steps=8
```

```plan
world_size: 8 file 8
nodes: 2 file 7
micro_batch: 2 launch 12
accumulation: 8 launch 13
effective_batch: 128 derived
```

Without ``numProcPerNode`` the GPUs in ``resourcesPerNode`` count, or the ``resources.limits`` of the container. A
shell text after ``bash -c`` is read as a script. Repairs are written into the words of the list or into the script.
Runtimes and charts are templates of jobs and no run; neither is a job whose command names no batch.

Sources: kubeflow/trainer 2026-08-21, ``pkg/runtime/framework/plugins/torch/torch.go`` lines 121-194 (auto),
``manifests/base/crds``; kubeflow/training-operator 1.9 ``PyTorchJob`` (replicas, ``nprocPerNode``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from vramlint.dialects import registry
from vramlint.dialects.draft import Draft, locate
from vramlint.dialects.job import Around, commands_of, read_inside
from vramlint.dialects.launch import World, world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import Place, Source, location
from vramlint.dialects.reading import plain_value
from vramlint.dialects.values import as_count
from vramlint.hardware.model import Target
from vramlint.plan import Fact, Location, Origin, default, unknown
from vramlint.sources.model import Command, Document, Mapping, Node, lookup
from vramlint.sources.model import Sequence as Items

NAME = "kubeflow"
TITLE = "Kubeflow training job"

_GPU = "nvidia.com/gpu"


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of the first command that a dialect knows, in the world of the job."""
    found = _world(document, context)
    around = Around(context, _target(context.target, found))
    for inner in _documents(document):
        for inside in registry.claims(inner):
            if isinstance(inside.subject, Command):
                return read_inside(NAME, inside, inner, around, found)
    draft = Draft(claim, document)
    draft.put("micro_batch", unknown("no dialect knows the command of this job"))
    return draft.close(found)


def _target(target: Target, found: World) -> Target:
    ranks, nodes = found.ranks.value, found.nodes.value or 1
    if ranks is None or ranks % nodes:
        return target
    return target._replace(gpus=ranks // nodes, nodes=nodes, source="the job")


def _world(document: Document, context: Context) -> World:
    """``numNodes`` x ``numProcPerNode`` of a TrainJob, the sum of a PyTorchJob's replicas x ``nprocPerNode``."""
    root = document.root
    source = Source(document, root) if isinstance(root, Mapping) else None
    if source is None:
        return world(document, None, context)
    nodes = _nodes(source)
    place = source.find("spec.trainer.numProcPerNode") or source.find("spec.nprocPerNode")
    each, where = _number(place), location(place) if place is not None else None
    if each is None:
        each, where = _gpus(document)
    if nodes.value is None or each is None:
        return World(unknown("neither numProcPerNode nor GPUs of a node"), nodes)
    note = "" if nodes.value == 1 else f"{each} on each of {nodes.value} nodes"
    return World(Fact(each * nodes.value, Origin.FILE, where, note), nodes)


def _nodes(source: Source) -> Fact[int]:
    place = source.find("spec.trainer.numNodes")
    if place is not None:
        count = _number(place)
        where = location(place)
        return unknown("numNodes is no number", where) if count is None else Fact(count, Origin.FILE, where)
    replicas = lookup(source.mapping, "spec.pytorchReplicaSpecs")
    if not isinstance(replicas, Mapping):
        return default(1, "numNodes of the runtime, 1 unless it says otherwise")
    counts = [_replicas(entry.value) for entry in replicas.entries]
    total = sum(counts)
    return Fact(total, Origin.FILE, locate(source.document, replicas.span), "replicas") if total else unknown()


def _replicas(node: Node) -> int:
    value = plain_value(node.get("replicas") or node) if isinstance(node, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else 1


def _number(place: Place | None) -> int | None:
    if place is None:
        return None
    try:
        value = as_count(plain_value(place.node))
    except ValueError:
        return None
    return value if isinstance(value, int) and value > 0 else None


def _gpus(document: Document) -> tuple[int | None, Location | None]:
    """GPUs that a node or the first container asks for."""
    holders = [lookup(document.root, f"spec.trainer.resourcesPerNode.{kind}") for kind in ("limits", "requests")]
    holders += [lookup(container, "resources.limits") for container in _containers(document)]
    for holder in holders:
        entry = holder.entry(_GPU) if isinstance(holder, Mapping) else None
        if entry is None:
            continue
        try:
            value = as_count(plain_value(entry.value))
        except ValueError:
            continue
        if isinstance(value, int) and value > 0:
            return value, locate(document, entry.value.span)
    return None, None


def _containers(document: Document) -> Iterator[Mapping]:
    replicas = lookup(document.root, "spec.pytorchReplicaSpecs")
    if not isinstance(replicas, Mapping):
        return
    for entry in replicas.entries:
        listed = lookup(entry.value, "template.spec.containers")
        if isinstance(listed, Items):
            yield from (item for item in listed.items if isinstance(item, Mapping))


def _documents(document: Document) -> Iterator[Document]:
    """The job's commands as shell documents."""
    trainer = lookup(document.root, "spec.trainer")
    holders = [trainer] if isinstance(trainer, Mapping) else list(_containers(document))
    for holder in holders:
        for inner in commands_of(document, holder):
            inner.commands = [_without_bare_torchrun(command) for command in inner.commands]
            yield inner


def _without_bare_torchrun(command: Command) -> Command:
    """torchrun without ``--nproc_per_node`` takes the job's numbers from ``PET_*``, so it says nothing itself."""
    told = any("nproc" in entry.key for launcher in command.launchers for entry in launcher.options.entries)
    return command if told else dataclasses.replace(command, launchers=[])
