"""SkyPilot tasks: the GPUs that ``resources`` ask for, on ``num_nodes`` nodes, and the commands of ``run``.

The task says how many GPUs there are; the launcher inside ``run`` says how many ranks::

    GPUs = count in resources.accelerators x num_nodes
    effective batch = as the dialect of the command has it

Example (``task.yaml``):

```yaml
num_nodes: 2
resources:
  accelerators: A100:8
envs:
  BATCH: 4
run: |
  torchrun --nnodes=$SKYPILOT_NUM_NODES --nproc_per_node=$SKYPILOT_NUM_GPUS_PER_NODE \\
    sft.py --per_device_train_batch_size $BATCH --gradient_accumulation_steps 2
```

```plan
world_size: 16 launch 7
nodes: 2 launch 7
micro_batch: 4 launch 8
accumulation: 2 launch 8
effective_batch: 128 derived
```

Accelerators that are a choice (a list, several of a mapping) leave the number of GPUs open. ``envs`` and the variables
that SkyPilot sets are known inside the scripts; repairs are written into the script, never into ``envs``.

Sources: SkyPilot 0.10 ``docs/source/reference/yaml-spec.rst`` (resources, num_nodes, envs, run),
``docs/source/running-jobs/environment-variables.rst`` (SKYPILOT_NUM_NODES, SKYPILOT_NUM_GPUS_PER_NODE).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vramlint.dialects.job import Around, inner_claims, read_inside
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.reading import plain_value
from vramlint.sources.model import Document, lookup
from vramlint.sources.model import Mapping as MappingNode

NAME = "skypilot"
TITLE = "SkyPilot task"


def holders(document: Document) -> Iterator[tuple[MappingNode, Mapping[str, str]]]:
    """The task itself, with the variables its scripts know."""
    if isinstance(document.root, MappingNode):
        yield document.root, _variables(document)


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one command of the task."""
    inner, inside = next(pair for pair in inner_claims(NAME, document) if pair[1].subject is claim.subject)
    gpus, nodes = _gpus(document), _nodes(document)
    target = context.target
    if gpus is not None and target.gpus is None:
        target = target._replace(gpus=gpus, nodes=nodes, source="the task")
    return read_inside(NAME, inside, inner, Around(context, target))


def _variables(document: Document) -> dict[str, str]:
    """``envs`` and what SkyPilot sets on each node."""
    found: dict[str, str] = {"SKYPILOT_NUM_NODES": str(_nodes(document))}
    gpus = _gpus(document)
    if gpus is not None:
        found["SKYPILOT_NUM_GPUS_PER_NODE"] = str(gpus)
    envs = lookup(document.root, "envs")
    for entry in envs.entries if isinstance(envs, MappingNode) else ():
        value = plain_value(entry.value)
        if isinstance(value, str | int | float):
            found[entry.key] = str(value)
    return found


def _nodes(document: Document) -> int:
    found = lookup(document.root, "num_nodes")
    value = plain_value(found) if found is not None else 1
    return value if isinstance(value, int) and value > 0 else 1


def _gpus(document: Document) -> int | None:
    """``A100:8`` is eight; a name alone is one; a choice is none that is known."""
    found = lookup(document.root, "resources.accelerators")
    value = plain_value(found) if found is not None else None
    if isinstance(value, dict) and len(value) == 1:
        ((name, count),) = value.items()
        value = f"{name}:{count}"
    if not isinstance(value, str) or "," in value:
        return None
    _, _, count = value.partition(":")
    return int(count) if count.isdecimal() and int(count) else 1 if not count else None
