"""Kubernetes jobs and pods: the commands of their containers, on the GPUs that the containers ask for.

The pod says how many GPUs there are; the launcher inside says how many ranks::

    GPUs = resources.limits nvidia.com/gpu      effective batch = as the dialect of the command has it

Example (``job.yaml``):

```yaml
apiVersion: batch/v1
kind: Job
metadata: {name: sft}
spec:
  template:
    spec:
      containers:
        - name: train
          image: pytorch/pytorch
          command: [torchrun, --nproc_per_node=4, sft.py]
          args:
            - --per_device_train_batch_size=2
            - --gradient_accumulation_steps=8
          resources: {limits: {nvidia.com/gpu: 4}}
```

```plan
world_size: 4 launch 10
micro_batch: 2 launch 12
accumulation: 8 launch 13
effective_batch: 64 derived
```

``Job``, ``CronJob``, ``Pod``, ``JobSet``, ``MPIJob``, ``AppWrapper``, ``StatefulSet`` and a ``RayJob``'s ``entrypoint``
count; a text after ``bash -c`` is read as a script that knows the container's ``env``. A service is no job, and a job
whose command no dialect knows is left alone. Kubeflow's ``TrainJob`` and ``PyTorchJob`` have a dialect of their own.

Sources: Kubernetes 1.34 API reference (``Job``, ``Container``: ``command`` and ``args`` are words, no shell between).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vramlint.dialects.job import Around, inner_claims, read_inside
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.reading import plain_value
from vramlint.sources.model import Document, Sequence, lookup
from vramlint.sources.model import Mapping as MappingNode

NAME = "kubernetes_job"
TITLE = "Kubernetes job"

_GPU = "nvidia.com/gpu"


def holders(document: Document) -> Iterator[tuple[MappingNode, Mapping[str, str]]]:
    """Every container of the file, in all its documents, with the constants of its ``env``."""
    for container in _containers(document):
        yield container, _variables(container)
    ray = lookup(document.root, "spec")
    if isinstance(ray, MappingNode) and ray.get("entrypoint") is not None:
        yield ray, {}


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one command of a container."""
    inner, inside = next(pair for pair in inner_claims(NAME, document) if pair[1].subject is claim.subject)
    target = context.target
    gpus = next((count for holder in _containers(document) if (count := _gpus(holder)) is not None), None)
    if gpus is not None and target.gpus is None:
        target = target._replace(gpus=gpus, nodes=target.nodes or 1, source="the job")
    return read_inside(NAME, inside, inner, Around(context, target))


def _containers(document: Document) -> Iterator[MappingNode]:
    for mapping in document.mappings():
        listed = mapping.get("containers")
        if isinstance(listed, Sequence):
            yield from (item for item in listed.items if isinstance(item, MappingNode))


def _variables(container: MappingNode) -> dict[str, str]:
    listed = container.get("env")
    found: dict[str, str] = {}
    for item in listed.items if isinstance(listed, Sequence) else ():
        name, value = (
            plain_value(node) if (node := lookup(item, key)) is not None else None for key in ("name", "value")
        )
        if isinstance(name, str) and isinstance(value, str | int):
            found[name] = str(value)
    return found


def _gpus(container: MappingNode) -> int | None:
    for kind in ("limits", "requests"):
        holder = lookup(container, f"resources.{kind}")
        value = (
            plain_value(node) if isinstance(holder, MappingNode) and (node := holder.get(_GPU)) is not None else None
        )
        if str(value).isdecimal() and int(str(value)):
            return int(str(value))
    return None
