"""MoCo's ``main_moco.py``, versions 1 to 3. The script starts one process a GPU itself and shares the batch out.

With ``--multiprocessing-distributed`` ``-b`` counts the GPUs of ONE node in v1 and v2, and those of ALL nodes in v3::

    v1, v2: micro batch = -b // GPUs of the node      effective batch = micro batch x GPUs x nodes
    v3:     micro batch = -b // all GPUs              effective batch = micro batch x all GPUs

Example (``pretrain.sh``):

```shell
python main_moco.py -a resnet50 --lr 0.03 -b 256 --mlp --moco-t 0.2 --aug-plus --cos \\
    --dist-url tcp://localhost:10001 --multiprocessing-distributed --world-size 1 --rank 0 /data/imagenet
```

```plan gpus=8
micro_batch: 32 launch 1
accumulation: 1 default
world_size: 8 derived
effective_batch: 256 derived
queue_size: 65536 default
workers_per_rank: 4 derived
precision: fp32 default
model: resnet50 launch 1
task: self-supervised derived
```

``--world-size`` counts nodes here. v3 is told by flags that only it has (``--moco-m-cos``, ``--stop-grad-conv1``,
``--moco-mlp-dim``, ``--crop-min``, ``--optimizer``, ``--warmup-epochs``) or by a ``vit`` architecture.

Sources: MoCo v1/v2 ``main_moco.py`` lines 46 and 172-175 (``int(batch / ngpus_per_node)``), ``moco/builder.py`` line 53
(the queue); MoCo v3 ``main_moco.py`` lines 55-100 (defaults), 190-207 (``int(batch / world_size)``)
and ``train`` (autocast).
"""

from __future__ import annotations

from typing import Any, ClassVar

from vramlint.dialects import spelling_out
from vramlint.dialects.commands import Run, open_run, world_of
from vramlint.dialects.draft import Draft
from vramlint.dialects.language import torch_prefetch
from vramlint.dialects.launch import World
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.places import location
from vramlint.dialects.reading import Count, Natural, Schema, Settings, Text, keys
from vramlint.dialects.values import as_count
from vramlint.plan import Fact, ImageSize, Precision, default, derived, unknown
from vramlint.sources.model import Document

NAME = "moco"
TITLE = "MoCo reference code"

_SHORT = {"-b": ("batch_size",), "-j": ("workers",), "-a": ("arch",)}
_ONLY_V3 = ("moco_m_cos", "stop_grad_conv1", "moco_mlp_dim", "crop_min", "optimizer", "warmup_epochs")


class Train(Schema):
    """Flags that all versions have."""

    source: ClassVar[str] = "main_moco.py"

    batch: Count | None = keys("batch_size")
    workers: Natural | None = keys("workers", default=32)
    epochs: Count | None = keys("epochs")
    learning_rate: float | None = keys("lr", "learning_rate")
    model: Text | None = keys("arch", default="resnet50")
    queue_size: Count | None = keys("moco_k")
    projection_dim: Count | None = keys("moco_dim")
    spawns: Any = keys("multiprocessing_distributed", default=False)
    nodes: Count | None = keys("world_size")
    gpu: Natural | None = keys("gpu")
    optimizer: Text | None = keys("optimizer")


_BATCH = {2: 256, 3: 4096}
_DIMENSION = {2: 128, 3: 256}
_QUEUE = 65536


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one command."""
    run = open_run(claim, document, context, _SHORT)
    settings = run.settings(Train)
    version = _version(run, settings)
    named = f"MoCo v{version} main_moco.py"
    draft = run.draft
    draft.fill(settings, ("epochs", "learning_rate", "model", "queue_size", "projection_dim", "optimizer"))
    draft.put("accumulation", default(1, f"{named}: no accumulation"))
    precision = Precision.FP16 if version == 3 else Precision.FP32
    draft.put("precision", default(precision, f"{named}: {'autocast' if version == 3 else 'no autocast'}"))
    draft.put("grad_checkpointing", default(value=False, note=f"{named}: none"))
    draft.put("image_size", default(ImageSize(224, 224), f"{named}: RandomResizedCrop(224)"))
    if not settings.spelled("optimizer"):
        draft.put("optimizer", default("lars" if version == 3 else "sgd", f"default of {named}"))
    if version == 2 and not settings.spelled("queue_size"):
        draft.put("queue_size", default(_QUEUE, f"default of {named}"))
    if not settings.spelled("projection_dim"):
        draft.put("projection_dim", default(_DIMENSION[version], f"default of {named}"))
    draft.put("task", derived("self-supervised", f"{named} trains two encoders"))
    draft.put("momentum_encoder", derived(value=True, note="a second encoder follows without gradients"))
    draft.put("pin_memory", default(value=True, note=named))
    found, on_node = _world(run, settings, context)
    _batch(draft, settings, version, found, on_node)
    _workers(draft, settings, on_node)
    torch_prefetch(draft)
    return draft.close(found)


def _version(run: Run, settings: Settings[Train]) -> int:
    """3 where a flag or an architecture that only v3 has is there; 1 and 2 share their batch arithmetic."""
    own = run.sources[: 2 if run.script is None else 3]
    if any(source.find(flag) is not None for source in own for flag in _ONLY_V3):
        return 3
    return 3 if (settings.values.model or "").startswith("vit") else 2


def _world(run: Run, settings: Settings[Train], context: Context) -> tuple[World, int | None]:
    """All ranks, and those of one node: every GPU of it with ``--multiprocessing-distributed``, one without."""
    if not settings.values.spawns:
        found = world_of(run, context, "" if settings.values.gpu is None else "--gpu names one GPU")
        if settings.values.gpu is not None:
            return World(default(1, "--gpu names one GPU"), default(1, "one node")), 1
        nodes = found.nodes.value
        return found, found.ranks.value // nodes if found.ranks.value and nodes else None
    gpus = context.target.gpus
    nodes = settings.values.nodes
    if gpus is None or nodes is None:
        reason = "one process a GPU of the machine: name them with --gpus"
        return World(unknown(reason), settings.fact("nodes")), gpus
    note = f"{gpus} GPUs of the target on each of {nodes} nodes" if nodes > 1 else f"{gpus} GPUs of the target"
    return World(derived(gpus * nodes, note), settings.fact("nodes")), gpus


def _batch(draft: Draft, settings: Settings[Train], version: int, found: World, on_node: int | None) -> None:
    """``int(batch / shares)``: what does not divide is dropped."""
    fact = settings.fact("batch")
    if not fact.known and not settings.spelled("batch"):
        fact = default(_BATCH[version], f"default of MoCo v{version} main_moco.py")
    shares = found.ranks.value if version == 3 else on_node
    nodes = found.nodes.value
    if fact.value is None or shares is None:
        draft.put("micro_batch", unknown(fact.note or "the batch is shared out over an unknown number of GPUs"))
        draft.put("global_batch", fact if version == 3 else unknown("-b is one node's batch"))
        return
    if version == 3 or nodes == 1:
        draft.put("global_batch", fact)
    elif nodes is not None:
        draft.put("global_batch", derived(fact.value * nodes, f"{fact.value} on each of {nodes} nodes"))
    if fact.value < shares:
        draft.put("micro_batch", unknown(f"batch {fact.value} leaves nothing for {shares} GPUs", fact.location))
        return
    note = fact.note if shares == 1 else f"{fact.value} over {shares} GPUs"
    draft.put("micro_batch", Fact(fact.value // shares, fact.origin, fact.location, note))
    if "batch" in settings.places:
        draft.offer("micro_batch", settings.places["batch"], spelling_out.scaled(shares))


def _workers(draft: Draft, settings: Settings[Train], on_node: int | None) -> None:
    """``-j`` workers are shared out over the GPUs of the node, rounded up."""
    fact = settings.fact("workers")
    if fact.value is None or on_node is None:
        draft.put("workers_per_rank", unknown("-j is shared out over an unknown number of GPUs", fact.location))
        return
    share = (fact.value + on_node - 1) // on_node
    draft.put("workers_per_rank", derived(share, f"{fact.value} over {on_node} GPUs"))
    place = settings.places.get("workers")
    if place is not None and isinstance(as_count(fact.value), int) and location(place):
        draft.offer("workers_per_rank", place, spelling_out.scaled(on_node))
