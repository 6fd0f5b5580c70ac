"""GitHub workflows whose steps train: commands of ``run:``.

A workflow says nothing about GPUs, so the launcher, the program or ``--gpus`` does::

    effective batch = as the dialect of the command has it

Example (``.github/workflows/train.yml``):

```yaml
on: workflow_dispatch
env: {BATCH: "8"}
jobs:
  train:
    runs-on: [self-hosted, gpu]
    steps:
      - uses: actions/checkout@v4
      - name: train
        run: |
          torchrun --nproc_per_node=2 train.py --per_device_train_batch_size $BATCH \\
            --gradient_accumulation_steps 4
```

```plan
world_size: 2 launch 10
micro_batch: 8 launch 10
accumulation: 4 launch 11
effective_batch: 64 derived
```

``env`` of the workflow, the job and the step is known inside the scripts; an expression (``${{ matrix.batch }}``) is
UNKNOWN. A step of another shell, and a workflow that trains nothing, is left alone.

Source: https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax (``jobs.<id>.steps[*].run``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vramlint.dialects.job import Around, inner_claims, read_inside
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.reading import plain_value
from vramlint.sources.model import Document, Sequence, lookup
from vramlint.sources.model import Mapping as MappingNode

NAME = "github_workflow"
TITLE = "GitHub workflow"


def holders(document: Document) -> Iterator[tuple[MappingNode, Mapping[str, str]]]:
    """Every step, with the variables of workflow, job and step."""
    jobs = lookup(document.root, "jobs")
    for entry in jobs.entries if isinstance(jobs, MappingNode) else ():
        steps = lookup(entry.value, "steps")
        for step in steps.items if isinstance(steps, Sequence) else ():
            if isinstance(step, MappingNode):
                yield step, {**_variables(document.root), **_variables(entry.value), **_variables(step)}


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one command of a step."""
    inner, inside = next(pair for pair in inner_claims(NAME, document) if pair[1].subject is claim.subject)
    return read_inside(NAME, inside, inner, Around(context, context.target))


def _variables(node: object) -> dict[str, str]:
    found = node.get("env") if isinstance(node, MappingNode) else None
    values = {entry.key: plain_value(entry.value) for entry in found.entries} if isinstance(found, MappingNode) else {}
    return {
        name: str(value) for name, value in values.items() if isinstance(value, str | int) and "${{" not in str(value)
    }
