"""A Llama as torchtitan writes it, divided by torch's own classes over a fake process group, and its step's peak.

torchtitan 0.2.2 ``models/llama3``: blocks, the plan of tensor parallelism, what its selective checkpointing saves, how
it wraps for FSDP2. The fused RMSNorm of CUDA is a function that keeps what that kernel keeps.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
from collections import defaultdict
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    loss_parallel,
    parallelize_module,
)
from torch.utils._python_dispatch import _disable_current_modes

from vramlint.trace.answers import answers, few_positives
from vramlint.trace.events import Recording, Shape, block_bytes, phase_of_each
from vramlint.trace.fake import fake_world, skipped_initialisation
from vramlint.trace.parallel import resizes_recorded
from vramlint.trace.storages import StorageRecorder
from vramlint.trace.tracer import no_collection


class Sizes(NamedTuple):
    """A decoder's shape, its batch and the ranks that share it."""

    hidden: int = 1024
    layers: int = 4
    heads: int = 16
    kv_heads: int = 4
    head_dim: int = 64
    ffn: int = 2816
    vocabulary: int = 1000
    batch: int = 2
    length: int = 2048
    tensor: int = 1
    shards: int = 1
    checkpointing: str = ""
    stage: int = -1
    stages: int = 1
    micro_batches: int = 1


class _FusedNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any) -> Any:
        ctx.save_for_backward(x, weight, torch.empty_like(x[..., :1], dtype=torch.float32))
        return torch.empty_like(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight, _ = ctx.saved_tensors
        return torch.empty_like(x), torch.empty_like(weight)


class Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Any) -> Any:
        return _FusedNorm.apply(x, self.weight)


class Attention(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.width, self.grouped = sizes.head_dim, sizes.heads > sizes.kv_heads
        attention, kv = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
        self.wq = nn.Linear(sizes.hidden, attention, bias=False)
        self.wk = nn.Linear(sizes.hidden, kv, bias=False)
        self.wv = nn.Linear(sizes.hidden, kv, bias=False)
        self.wo = nn.Linear(attention, sizes.hidden, bias=False)

    def forward(self, x: Any, turns: Any) -> Any:
        batch, length, _ = x.shape
        q, k, v = (each.view(batch, length, -1, self.width) for each in (self.wq(x), self.wk(x), self.wv(x)))
        q, k = (self._turned(each, turns[:length].view(1, length, 1, -1)).transpose(1, 2) for each in (q, k))
        found = F.scaled_dot_product_attention(q, k, v.transpose(1, 2), is_causal=True, enable_gqa=self.grouped)
        return self.wo(found.transpose(1, 2).contiguous().view(batch, length, -1))

    def _turned(self, x: Any, turns: Any) -> Any:
        pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * turns).flatten(3).type_as(x)


class FeedForward(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.w1 = nn.Linear(sizes.hidden, sizes.ffn, bias=False)
        self.w2 = nn.Linear(sizes.ffn, sizes.hidden, bias=False)
        self.w3 = nn.Linear(sizes.hidden, sizes.ffn, bias=False)

    def forward(self, x: Any) -> Any:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Block(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(sizes), FeedForward(sizes)
        self.attention_norm, self.ffn_norm = Norm(sizes.hidden), Norm(sizes.hidden)

    def forward(self, x: Any, turns: Any) -> Any:
        x = x + self.attention(self.attention_norm(x), turns)
        return x + self.feed_forward(self.ffn_norm(x))


class Llama(nn.Module):
    """The whole model, or one stage of its pipeline."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.first, self.last = sizes.stage <= 0, sizes.stage in (-1, sizes.stages - 1)
        if self.first:
            self.tok_embeddings = nn.Embedding(sizes.vocabulary, sizes.hidden)
        self.layers = nn.ModuleList(Block(sizes) for _ in range(sizes.layers // sizes.stages))
        if self.last:
            self.norm, self.output = Norm(sizes.hidden), nn.Linear(sizes.hidden, sizes.vocabulary, bias=False)
        turns = torch.ones(sizes.length, sizes.head_dim // 2, dtype=torch.complex64)
        self.register_buffer("turns", turns, persistent=False)

    def forward(self, x: Any) -> Any:
        x = self.tok_embeddings(x) if self.first else x
        for block in self.layers:
            x = block(x, self.turns)
        return self.output(self.norm(x)) if self.last else x


def peak_of_divided_step(sizes: Sizes) -> int:
    """Bytes at the peak of forward and backward in a steady step of AdamW, on the first rank (or the stage's)."""
    recording = Recording(Shape(sizes.batch, seq_len=sizes.length))
    recorder = StorageRecorder(recording, answers(few_positives))
    fake: Any = importlib.import_module("torch.testing._internal.distributed.fake_pg")
    ranks = sizes.stages if sizes.stages > 1 else sizes.tensor * sizes.shards
    dist.init_process_group("fake", rank=max(0, sizes.stage), world_size=ranks, store=fake.FakeStore())
    meshes: dict[str, Any] = {}
    if sizes.stages == 1 and ranks > 1:
        mesh = init_device_mesh("cpu", (sizes.shards, sizes.tensor), mesh_dim_names=("dp", "tp"))
        meshes = {name: mesh[name] for name in ("dp", "tp")}  # sliced here, where ranks are numbers and no fakes
    with no_collection(), fake_world(), resizes_recorded(recording), _shapes_unseen(), recorder:
        run = _pipelined(sizes) if sizes.stages > 1 else _whole(sizes, meshes)
        for part in ("first", "steady"):
            run(recorder, part)
            gc.collect()
            recorder.mark(f"{part}:end")
    return _peak(recording)


def _whole(sizes: Sizes, meshes: dict[str, Any]) -> Any:
    with skipped_initialisation():
        model = Llama(sizes)
    if sizes.tensor > 1:
        _tensor_parallel(model, meshes["tp"])
    _checkpointed(model, sizes)
    model = _sharded(model, meshes["dp"]) if sizes.shards > 1 else model.to(torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)

    def run(recorder: StorageRecorder, part: str) -> None:
        ids, labels = (torch.zeros(sizes.batch, sizes.length, dtype=torch.long) for _ in range(2))
        with loss_parallel() if sizes.tensor > 1 else contextlib.nullcontext():
            logits = model(ids)
            loss = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(0, 1))
            del logits
            loss.backward()  # type: ignore[no-untyped-call]
        recorder.mark(f"{part}:step")
        optimizer.step()
        recorder.mark(f"{part}:optimizer")
        optimizer.zero_grad()

    return run


def _pipelined(sizes: Sizes) -> Any:
    pipelining: Any = importlib.import_module("torch.distributed.pipelining")
    with skipped_initialisation():
        model = Llama(sizes)
    _checkpointed(model, sizes)
    model = model.to(torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
    with _disable_current_modes():
        passed = torch.empty(sizes.batch, sizes.length, sizes.hidden, dtype=torch.bfloat16, device="meta")
        ids = torch.empty(sizes.batch, sizes.length, dtype=torch.long, device="meta")
        logits = torch.empty(sizes.batch, sizes.length, sizes.vocabulary, dtype=torch.bfloat16, device="meta")
    inputs, outputs = ids if model.first else passed.requires_grad_(), logits if model.last else passed
    stage = pipelining.PipelineStage(
        model, sizes.stage, sizes.stages, torch.device("cpu"), input_args=(inputs,),
        output_args=(outputs.requires_grad_(),),
    )  # fmt: skip
    schedule = pipelining.Schedule1F1B(stage, sizes.micro_batches, loss_fn=_loss, scale_grads=False)

    def run(recorder: StorageRecorder, part: str) -> None:
        count = sizes.batch * sizes.micro_batches
        x, y = (torch.zeros(count, sizes.length, dtype=torch.long) for _ in range(2))
        if model.first:
            schedule.step(x)
        elif model.last:
            schedule.step(target=y, losses=[], return_outputs=False)
        else:
            schedule.step()
        recorder.mark(f"{part}:step")
        optimizer.step()
        recorder.mark(f"{part}:optimizer")
        optimizer.zero_grad()

    return run


def _loss(logits: Any, labels: Any) -> Any:
    return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(0, 1))


def _tensor_parallel(model: Llama, mesh: Any) -> None:
    """``apply_tp``."""
    head = ColwiseParallel(input_layouts=Shard(1), output_layouts=Shard(-1), use_local_output=False)
    embedding = RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1))
    parallelize_module(model, mesh, {"tok_embeddings": embedding, "norm": SequenceParallel(), "output": head})
    for block in model.layers:
        plan: dict[str, Any] = {name: ColwiseParallel() for name in ("attention.wq", "attention.wk", "attention.wv")}
        plan |= {name: ColwiseParallel() for name in ("feed_forward.w1", "feed_forward.w3")}
        plan |= {name: RowwiseParallel(output_layouts=Shard(1)) for name in ("attention.wo", "feed_forward.w2")}
        plan |= {name: SequenceParallel() for name in ("attention_norm", "ffn_norm")}
        plan["attention"] = PrepareModuleInput(
            input_layouts=(Shard(1), None), desired_input_layouts=(Replicate(), None)
        )
        plan["feed_forward"] = PrepareModuleInput(input_layouts=(Shard(1),), desired_input_layouts=(Replicate(),))
        parallelize_module(block, mesh, plan)


def _checkpointed(model: Llama, sizes: Sizes) -> None:
    """``_apply_full_ac`` and ``_apply_op_sac``."""
    if not sizes.checkpointing:
        return
    wrapper: Any = importlib.import_module("torch.distributed.algorithms._checkpoint.checkpoint_wrapper")
    more = {"context_fn": _every_second_product} if sizes.checkpointing == "op" else {}
    for number, block in enumerate(model.layers):
        model.layers[number] = wrapper.checkpoint_wrapper(block, preserve_rng_state=False, **more)


def _every_second_product() -> Any:
    checkpoint: Any = importlib.import_module("torch.utils.checkpoint")
    aten = torch.ops.aten
    kept = {
        aten.mm.default, aten._scaled_dot_product_flash_attention.default,
        torch.ops._c10d_functional.reduce_scatter_tensor.default,
    }  # fmt: skip
    counts: dict[bool, int] = defaultdict(int)

    def policy(context: Any, function: Any, *_: Any, **__: Any) -> Any:
        product = function == aten.mm.default
        counts[context.is_recompute] += product
        saves = function in kept and not (product and counts[context.is_recompute] % 2 == 0)
        return checkpoint.CheckpointPolicy.MUST_SAVE if saves else checkpoint.CheckpointPolicy.PREFER_RECOMPUTE

    return checkpoint.create_selective_checkpoint_contexts(policy)


def _sharded(model: Llama, mesh: Any) -> Any:
    """``apply_fsdp``."""
    fsdp: Any = importlib.import_module("torch.distributed.fsdp")
    policy = fsdp.MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for module in (model.tok_embeddings, *model.layers):
        fsdp.fully_shard(module, mesh=mesh, mp_policy=policy)
    fsdp.fully_shard([model.norm, model.output], mesh=mesh, mp_policy=policy, reshard_after_forward=False)
    return fsdp.fully_shard(model, mesh=mesh, mp_policy=policy)


@contextlib.contextmanager
def _shapes_unseen() -> Any:
    """DTensor works out global shapes with fakes of the mode that is active; they are of no step."""
    propagator: Any = importlib.import_module("torch.distributed.tensor._sharding_prop").ShardingPropagator
    original = propagator._propagate_tensor_meta_non_cached

    def quiet(self: Any, schema: Any) -> Any:
        with _disable_current_modes():
            return original(self, schema)

    propagator._propagate_tensor_meta_non_cached = quiet
    try:
        yield
    finally:
        propagator._propagate_tensor_meta_non_cached = original


def _peak(recording: Recording) -> int:
    live: dict[int, int] = {}
    total = peak = 0
    for event, mark in zip(recording.events, phase_of_each(recording.events), strict=True):
        if isinstance(event, str):
            continue
        if event < 0:
            total -= live.pop(-event, 0)
        elif event not in live:
            live[event] = block_bytes(recording.sizes[event])
            total += live[event]
        if mark == "steady:step":
            peak = max(peak, total)
    return peak
