"""The worst moment of one setting: what is alive then, component by component, with bounds."""

from __future__ import annotations

from math import hypot
from typing import NamedTuple

from vramlint.memory.context import cublas_workspace_bytes, transformer_engine_workspace_bytes
from vramlint.memory.decoder import Decoder
from vramlint.memory.denoiser import Denoiser
from vramlint.memory.divided import backward_bytes
from vramlint.memory.division import rank_parameters
from vramlint.memory.knowledge import Moment, Workload, inputs_of
from vramlint.memory.megatron import MegatronModel
from vramlint.memory.model import Component, Interval
from vramlint.memory.setting import Setting
from vramlint.memory.states import States, states_of

CONVOLUTION_WORKSPACE_SHARE = 3.9
"""Upper bound of what vision runs take beyond a trace and a gradient bucket, in units of the parameters' bytes.

54 published mmsegmentation runs of 2019 to 2022 (torch 1.x, ``cudnn.benchmark``): measured - traced = 4.9 x parameter
bytes, of which one is the DDP bucket. A description of old stacks, so it only raises the upper bound.
"""

SHARDED_SPREAD = 0.12
"""Half-width for sharded parameters, whose gathering depends on wrapping and timing: four published runs (litgpt's FSDP
over 4 GPUs, Megatron-FSDP over 2 and 4) lie within 2 % of the formula, but other wrappings were not seen."""

LANGUAGE_FLOOR = 0.045
"""Half-width for language models whatever the activations: published figures of one setting differ by 1 % in the median
and 9 % at the 90th percentile between cards, and states have small parts that no formula here has."""


_OVERLAPPED = 3
"""Streams with a workspace of their own where products overlap with communication (Transformer Engine 2.x
``module/base.py`` ``_NUM_MAX_UB_STREAMS``)."""


class Peak(NamedTuple):
    """The worst moment of one setting: allocated bytes with bounds, and what they consist of."""

    allocated: Interval
    phase: str
    components: tuple[Component, ...]


def setting_states(setting: Setting) -> States:
    """What lasts from the first step to the last."""
    groups = setting.weight_groups()
    return states_of(
        groups,
        setting.optimizer,
        setting.sharding,
        ema=setting.ema,
        buffer_bytes=setting.knowledge.buffer_bytes,
        gradients_kept=setting.workload.gradients_kept,
    )


def covers(setting: Setting) -> bool:
    """Whether the model's knowledge answers for this workload."""
    return bool(setting.knowledge.moments(setting.workload))


def peak_of(setting: Setting, *, deterministic: bool) -> Peak | None:
    """The worst moment; None where the knowledge does not cover the setting."""
    moments = setting.knowledge.moments(setting.workload)
    if not moments:
        return None
    states = setting_states(setting)
    trainable = setting.knowledge.trainable
    # The optimizer's step is worked out here, for the plan's own optimizer; a profile was traced with one of its own.
    candidates = [moment for moment in moments if moment.phase != "optimizer"]
    if setting.workload.gradients_freed:
        # The gradient of the weight that is stepped is still there.
        stepped = min(trainable, _largest_weight(setting))
        candidates.append(Moment("optimizer", _one_step_bytes(setting, states) + _stepped_bytes(setting), stepped))
    else:
        candidates.append(Moment("optimizer", states.step_bytes + _stepped_bytes(setting), trainable))
    workspace = _workspace_bytes(setting, deterministic=deterministic)

    def total(moment: Moment) -> float:
        gradients = moment.gradient_elements * states.gradient_bytes_each
        return moment.activation_bytes + gradients + _gathered_bytes(setting, moment.phase)

    worst = max(candidates, key=total)
    gradients = round(worst.gradient_elements * states.gradient_bytes_each)
    working = _gathered_bytes(setting, worst.phase)
    components = (
        *states.components,
        Component("gradients", gradients, f"{worst.gradient_elements:,} elements alive at this moment"),
        Component(
            "gathered weights" if setting.sharding.parameters > 1 else "reduction buffers",
            working,
            "full weights and gradients of the blocks in flight; DeepSpeed's reduce_bucket_size",
        ),
        Component("optimizer step", worst.activation_bytes, f"temporary copies: {setting.optimizer.source}")
        if worst.phase == "optimizer"
        else Component("activations", worst.activation_bytes, f"{worst.phase}: {setting.knowledge.source}"),
        Component("cuBLAS workspaces", workspace, "torch 2.13: two of 8.125 MiB, 32 MiB each on Hopper"),
    )
    value = states.bytes + gradients + working + worst.activation_bytes + workspace
    return Peak(_bounds(setting, value, worst), worst.phase, tuple(part for part in components if part.bytes))


def _largest_weight(setting: Setting) -> int:
    model = setting.knowledge
    if isinstance(model, Denoiser):
        return model.largest_weight
    return model.largest_weight if isinstance(model, Decoder) and model.adapter is None else 0


def _stepped_bytes(setting: Setting) -> int:
    model = setting.knowledge
    in_blocks = setting.optimizer.matrices is not None and isinstance(model, Decoder)
    largest = model.largest_block_weight if in_blocks and isinstance(model, Decoder) else _largest_weight(setting)
    return round(setting.optimizer.largest_bytes * largest / setting.sharding.optimizer)


def _one_step_bytes(setting: Setting, states: States) -> int:
    """The temporary copies of a step that runs in backward, weight by weight: those of the largest weight."""
    model = setting.knowledge
    if not isinstance(model, (Decoder, Denoiser)) or not _largest_weight(setting):
        return states.step_bytes
    return round(states.step_bytes * model.largest_weight / model.trainable)


def _workspace_bytes(setting: Setting, *, deterministic: bool) -> int:
    capability = setting.workload.capability
    found = cublas_workspace_bytes(capability, deterministic=deterministic)
    if isinstance(setting.knowledge, MegatronModel):
        streams = _OVERLAPPED if setting.knowledge.options.overlapped else 1
        found += streams * transformer_engine_workspace_bytes(capability)
    return found


def _bounds(setting: Setting, value: int, worst: Moment) -> Interval:
    activations = 0 if worst.phase == "optimizer" else worst.activation_bytes
    language = isinstance(setting.knowledge, (Decoder, MegatronModel)) or inputs_of(setting.knowledge) != ""
    swing = hypot(setting.knowledge.spread * activations, (LANGUAGE_FLOOR if language else 0.01) * value)
    if setting.sharding.parameters > 1:
        swing = hypot(swing, SHARDED_SPREAD * value)
    above = swing
    if setting.workload.height and not isinstance(setting.knowledge, (Decoder, MegatronModel)):
        share = getattr(setting.knowledge, "workspace_share", CONVOLUTION_WORKSPACE_SHARE)
        above += share * 4 * setting.knowledge.trainable
    return Interval(round(value - swing), value, round(value + above))


def _gathered_bytes(setting: Setting, phase: str) -> int:
    """What sharded data parallelism holds whole at a time: embeddings and head, and two blocks (one prefetched).

    In backward their gradients too: of one block, and twice those outside the blocks, piece by piece and joined for the
    reduction (torch 2.13 ``_flat_param.py`` ``_get_unflat_views``, FSDP2 ``_fsdp_collectives.py`` ``foreach_reduce``).
    DeepSpeed's reduction buffers beside them, in stages 1 and 2 too.
    """
    sharding = setting.sharding
    model, each = setting.knowledge, 2 if setting.workload.precision.mixed else 4
    reducing = sharding.kind == "zero3" or phase in ("loss", "backward")
    buckets = each * sharding.bucket_elements if reducing else 0
    if sharding.parameters == 1 or phase == "optimizer":
        return buckets
    if not isinstance(model, (Decoder, MegatronModel)):
        return each * model.parameters + buckets
    if isinstance(model, Decoder) and model.division is not None and model.division.torch_pipeline:
        whole = model.division.stays_gathered
        return _gathered_stage(model, each) if whole else _module_by_module(model, each, phase, setting.workload)
    outside, block = model.outside_and_block
    weights = each * max(outside + 2 * block, sharding.live_elements) + buckets
    if isinstance(model, MegatronModel):
        return weights + each * (outside + block)
    if phase != "backward" or model.adapter is not None:
        return weights
    kept = setting.workload.gradients_kept and setting.sharding.kept_gradients == 1
    return weights + each * (2 * outside + (0 if kept else block))


def _module_by_module(model: Decoder, each: int, phase: str, workload: Workload) -> int:
    """torchtitan shards embedding, blocks and head apart (``llama3/infra/parallelize.py`` ``apply_fsdp``).

    Until the loss the head alone is whole. In backward a block is, and the next one is being gathered. Gradients are
    there in 16 bits, and in fp32 for the reduction (torch 2.13 ``_fsdp_collectives.py`` ``foreach_reduce``): of the
    block itself when what it kept is gone, of the one before it, or of the head, until then (``_fsdp_param_group.py``
    ``reduce_scatter_state``).
    """
    assert model.division is not None
    _, block = model.outside_and_block
    if phase != "backward":
        return each * model.head_elements
    if model.adapter is not None:
        return 2 * each * block
    reduced = (each + 4) * block - backward_bytes(model, model.division, workload)
    return 2 * each * block + max(4 * max(block, model.head_elements), reduced)


def _gathered_stage(model: Decoder, each: int) -> int:
    """A stage of a pipeline stays gathered from its first micro batch to its last, and its gradients wait in fp32 for
    one reduction (torch 2.13 ``pipelining/stage.py`` ``backward_maybe_with_nosync``, FSDP2 ``_fsdp_param.py``
    ``to_accumulated_grad_if_needed``)."""
    assert model.division is not None
    counted = rank_parameters(model.config, model.division._replace(fully_sharded=False))
    whole = counted.dense + counted.experts
    if model.adapter is not None or model.division.parallel.pipeline == 1:
        return each * whole
    return (each + 4) * whole
