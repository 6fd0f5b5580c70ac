"""How a decoder LLM is divided among ranks outside Megatron-LM, and which of its parameters one rank holds.

Tensor parallelism divides heads, MLP widths and the vocabulary; norms are whole on every rank. A pipeline's stage has
some of the blocks, experts lie on the ranks that share them.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from vramlint.memory.architecture import DecoderConfig, Experts
from vramlint.memory.parallel import Parallelism


class Division(NamedTuple):
    """How a rank's part comes about.

    ``vocabulary``: the embedding is divided too (the head is in every case). ``loss_parallel``: logits stay divided.
    ``pipeline_batch``: samples of one of the pipeline's micro batches, which then divide the plan's micro batch; 0
    where the pipeline's micro batches are the steps that accumulate, ``micro_batches`` of them. ``torch_pipeline``:
    torch's stages, which keep a buffer for every micro batch. ``fully_sharded``: experts are counted whole, since
    data-parallel ranks share all of them. ``stays_gathered``: FSDP gathers a stage once a step and keeps its gradients
    whole. ``saved_operations``: of checkpointed blocks every second matrix product and attention's output are kept
    (torchtitan ``selective``, ``op``); ``checkpoint_every``: which blocks are checkpointed.
    """

    parallel: Parallelism = Parallelism()
    vocabulary: bool = True
    loss_parallel: bool = False
    pipeline_batch: int = 0
    micro_batches: int = 1
    torch_pipeline: bool = False
    fully_sharded: bool = False
    stays_gathered: bool = False
    saved_operations: bool = False
    checkpoint_every: int = 1
    partitions: bool = False
    """Whether tensor-parallel ranks keep a part each of a checkpointed block's input."""
    less_layers: tuple[int, int] | None = None
    """By how many blocks embedding and head count when stages are cut (torchtitan); None: as even as may be."""

    def with_sizes(self, layers: int) -> Division:
        """The same with the blocks of every stage worked out."""
        parallel = self.parallel
        if parallel.pipeline == 1 or parallel.sizes:
            return self
        stages = parallel.pipeline * parallel.chunks
        first, last = self.less_layers or (0, 0)
        whole, rest = divmod(layers + first + last, stages)
        counted = [whole + (stage < rest) for stage in range(stages)]
        counted[0] -= first
        counted[-1] -= last
        return self._replace(parallel=parallel._replace(sizes=tuple(counted)))

    @property
    def divides(self) -> bool:
        """Whether anything but a sequence is shared among ranks."""
        parallel = self.parallel
        return parallel.tensor * parallel.pipeline * parallel.expert > 1


def rank_config(config: DecoderConfig, parallel: Parallelism) -> DecoderConfig:
    """The architecture with this rank's heads, widths and blocks; widths of the residual stream stay."""
    t, shape = parallel.tensor, config.shape
    local = shape._replace(
        heads=ceil(shape.heads / t),
        kv_heads=ceil(shape.kv_heads / t),
        ffn=ceil(shape.ffn / t),
        layers=parallel.layers_of(shape.layers),
    )
    experts = config.experts
    if experts is not None:
        experts = experts._replace(
            ffn=ceil(experts.ffn / parallel.expert_tensor),
            shared_ffn=ceil(experts.shared_ffn / t),
            dense_layers=_dense_layers(config, parallel),
        )
    return config._replace(shape=local, experts=experts)


def _dense_layers(config: DecoderConfig, parallel: Parallelism) -> int:
    """Blocks without experts on this stage; they come first."""
    assert config.experts is not None
    before = sum(parallel._replace(stage=stage).layers_of(config.shape.layers) for stage in range(parallel.stage))
    return min(parallel.layers_of(config.shape.layers), max(0, config.experts.dense_layers - before))


class RankParameters(NamedTuple):
    """Parameters of a rank: those outside the blocks, of one block without its routed experts, and those experts'."""

    outside: int
    block: int
    dense_block: int
    experts_of_block: int
    layers: int
    dense_layers: int

    @property
    def dense(self) -> int:
        """All but routed experts."""
        return self.outside + (self.layers - self.dense_layers) * self.block + self.dense_layers * self.dense_block

    @property
    def experts(self) -> int:
        return (self.layers - self.dense_layers) * self.experts_of_block


def rank_parameters(config: DecoderConfig, division: Division) -> RankParameters:
    """What one rank holds before data parallelism shards it; under ``fully_sharded`` the experts of all ranks."""
    parallel = division.parallel
    local = rank_config(config, parallel)
    routed, held = 0, 0
    if local.experts is not None:
        routed = _routed(local, local.experts)
        held = routed if division.fully_sharded else routed // parallel.expert
    return RankParameters(
        _outside(config, division),
        local.layer_parameters - routed,
        local.dense_layer_parameters,
        held,
        local.shape.layers,
        local.experts.dense_layers if local.experts else 0,
    )


def _routed(config: DecoderConfig, experts: Experts) -> int:
    h, i = config.shape.hidden, experts.ffn
    matrices = 3 if config.gated else 2
    return experts.number * (matrices * h * i + (((matrices - 1) * i + h) if experts.biases else 0))


def _outside(config: DecoderConfig, division: Division) -> int:
    parallel, shape = division.parallel, config.shape
    found = 0
    if parallel.first:
        found += shape.vocabulary * shape.hidden // (parallel.tensor if division.vocabulary else 1)
        found += config.positions * shape.hidden
    if parallel.last:
        norm = shape.hidden * (2 if config.norm == "layer" else 1)
        apart = not shape.tied or not parallel.first
        found += norm + (config.head_parameters // parallel.tensor if apart else 0)
    return found
