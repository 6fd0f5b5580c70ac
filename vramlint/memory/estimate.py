"""The estimator: a plan and a target to peak memory with intervals, a phase and a verdict.

allocated = states + activations and gradients at the worst moment + workspaces
reserved  = allocated + allocator slack            required = allocated + smallest slack that works + context
device    = reserved + CUDA context (and NCCL)     verdict: ``required`` against the card's usable memory

``evaluation`` of a language model is what rests between two steps and a batch of logits, and is told beside them.

Besides the plan's fields it reads these facts of ``plan.extra`` where a dialect gives them. Of the model:
``implementation``, ``architecture``, ``architecture_like``, ``expert_mixture``, ``latent_attention``,
``learned_positions``, ``parallel_residual``, ``qk_norm``, ``attention``, ``encoder_layers``, ``decoder_seq_len``,
``projection_dim``, ``in_channels``, ``mask_head``, ``user_model``, ``own_profile``, ``observations``. Of adapters:
``adapter_targets``, ``adapter_dropout``, ``adapter_method``, ``trained_parameters``, ``virtual_tokens``,
``modules_to_save``, ``base_quantization``, ``double_quantization``, ``quantised_experts``. Of the step: ``packing``,
``longest_sample``, ``fused_loss``, ``chunked_loss``, ``compile``, ``activation_offload``, ``optimizer_in_backward``,
``optimizer_kernel``, ``optimizer_rank``, ``optimizer_targets``, ``momentum``, ``largest_image_size``, ``batch_shape``,
``side_multiple``, ``deterministic``, ``tiled_loss``, ``weights_as_saved``, ``stack``, ``assumed``. Of preference and
reinforcement runs: ``preference``, ``reference_model``, ``completion_length``, ``generated_sequences``, ``teacher``,
``fused_preference_loss``, ``token_budget``, ``open_lengths``, ``written_lengths``, ``rollout_engine``. Of evaluations:
``eval_strategy``, ``eval_batch``, ``eval_accumulation``, ``keeps_eval_logits``, ``prediction_loss_only``. Of
parallelism: ``model_parallel``, ``tensor_parallel``, ``expert_tensor_parallel`` and other degrees,
``sequence_parallel``, ``loss_parallel``, ``pipeline_schedule``, ``pipeline_chunks``, ``pipeline_micro_batch``,
``uneven_stages``, ``stage_layers``, ``stage_less_layers``, ``reshard_after_forward``, ``hybrid_sharding``,
``shard_replicas``, ``checkpointing_kind``, ``checkpoint_every``, ``partitioned_checkpoints``,
``low_precision_weights``, ``sharded_accumulation``, ``offload_optimizer``, ``offload_parameters``, ``cpu_offload``;
DeepSpeed's buffers (``deepspeed.py``), what stands beside a denoiser (``diffusion_plan.py``), parts of encoders and
vision models (``networks/planned.py``); and Megatron-LM's flags as ``vramlint/dialects/megatron_model.py`` names them.
"""

from __future__ import annotations

from typing import Protocol

from vramlint.hardware.model import Target
from vramlint.memory.allocator import REQUIRED_SLACK, RESERVED_SLACK, VARYING_SLACK
from vramlint.memory.context import (
    CONTEXT,
    EAGER_CONTEXT,
    NCCL,
)
from vramlint.memory.decoder import Decoder
from vramlint.memory.intervals import added, shifted, spanning, varied, with_slack
from vramlint.memory.knowledge import ModelKnowledge, Resolution
from vramlint.memory.megatron import MegatronModel
from vramlint.memory.model import Component, Estimate, Interval, Verdict
from vramlint.memory.named_models import NamedLedger
from vramlint.memory.peak import Peak, covers, peak_of, setting_states
from vramlint.memory.plan_setting import missing_facts, settings_of
from vramlint.memory.profile import Profile
from vramlint.memory.resolve import resolve
from vramlint.memory.setting import Setting, readings
from vramlint.plan import Precision, TrainingPlan, revise

_SHARDS_WEIGHTS = ("zero3", "fsdp")


class Headroom(Protocol):
    """The part of ``vramlint.rule.Limits`` that a verdict needs."""

    @property
    def headroom(self) -> float:
        """Share of usable memory to leave free."""
        ...


def estimate(plan: TrainingPlan, target: Target, limits: Headroom | None = None) -> Estimate:
    """Peak memory of one rank of ``plan`` on ``target``; UNKNOWN with the reason where it cannot be known.

    Points that were measured of this plan (its fact ``observations``) correct what is calculated.
    """
    found = _corrected(plan, target, limits)
    own = plan.fact("own_profile").value
    return found._replace(caveat=f"{own.path} is stale: {own.stale}") if own is not None and own.stale else found


def _not_covered(setting: Setting) -> str:
    """Why the model's knowledge says nothing of this way to run it."""
    knowledge = setting.knowledge
    if isinstance(knowledge, (Profile, NamedLedger)):
        return f"{knowledge.name} is known, but {knowledge.missing(setting.workload)}"
    return f"{knowledge.name} is known ({knowledge.source}), but not for this precision, size or checkpointing"


def _corrected(plan: TrainingPlan, target: Target, limits: Headroom | None) -> Estimate:
    calculated = _calculated(plan, target, limits)
    if "observations" not in plan.extra:
        return calculated
    from vramlint.memory.correction import Point, corrected, work_of  # few plans have observations
    from vramlint.memory.observations import at, points_for

    points = points_for(plan)
    if not points:
        return calculated

    measured = [
        Point(point, _calculated(there, target, None), work_of(there))
        for point in points
        for there in [at(plan, point)]
    ]
    found = corrected(calculated, measured, work_of(plan))
    if found.required is None:
        return found
    return found._replace(verdict=_verdict(found.required, found.usable_bytes, limits.headroom if limits else 0.0))


def _calculated(plan: TrainingPlan, target: Target, limits: Headroom | None) -> Estimate:
    found = resolve(plan)
    if found.knowledge is None:
        return _unknown(plan, target, found.because, (), found.assumptions)
    missing = missing_facts(plan, found.knowledge)
    if missing:
        because = f"{' and '.join(missing)} unknown"
        unknown = _unknown(
            plan, target, because, _weights(plan, found.knowledge), found.assumptions, found.knowledge.name
        )
        return unknown._replace(least_bytes=_least_bytes(plan, found.knowledge, target))
    return _worked_out(plan, found, found.knowledge, target, limits)


def _worked_out(
    plan: TrainingPlan, found: Resolution, knowledge: ModelKnowledge, target: Target, limits: Headroom | None
) -> Estimate:
    """The estimate of a plan that says all that its model needs."""
    settings = settings_of(plan, found, target.gpu.capability if target.gpu else None)
    deterministic = bool(plan.fact("deterministic").value)
    peaks = [peak for setting in readings(settings) if (peak := peak_of(setting, deterministic=deterministic))]
    if not peaks or not covers(settings.chosen):
        because = _not_covered(settings.chosen)
        components = setting_states(settings.chosen).components
        return _unknown(plan, target, because, components, tuple(settings.assumptions), knowledge.name)
    lengths = [peak_of(setting, deterministic=deterministic) for setting in settings.lengths]
    allocated = varied(spanning([peak.allocated for peak in peaks]), [peak.allocated.value for peak in lengths if peak])
    found_here = _estimate(target, limits, settings.chosen, peaks[0], allocated, tuple(settings.assumptions))
    return _evaluated(plan, _beside_rollout(plan, found_here, settings.chosen, target, limits), settings.chosen)


def _evaluated(plan: TrainingPlan, found: Estimate, setting: Setting) -> Estimate:
    """The estimate with the peak of the run's evaluations beside it."""
    if plan.fact("eval_strategy").value not in ("steps", "epoch"):
        return found
    from vramlint.memory.evaluation import evaluation_peak, kept_logits  # few runs evaluate

    said = kept_logits(plan, setting)
    return found._replace(
        evaluation=evaluation_peak(plan, found, setting),
        assumptions=(*found.assumptions, said) if said else found.assumptions,
    )


def _beside_rollout(
    plan: TrainingPlan, found: Estimate, setting: Setting, target: Target, limits: Headroom | None
) -> Estimate:
    """The estimate with the inference engine that shares the card, where the plan has one."""
    engine = plan.fact("rollout_engine").value
    if not isinstance(engine, tuple):
        return found
    from vramlint.memory.rollout import Rollout, with_rollout  # few runs have an engine beside them

    together = with_rollout(found, Rollout(*engine), target.gpu, setting_states(setting).bytes)
    if together.required is None:
        return together
    return together._replace(
        verdict=_verdict(together.required, together.usable_bytes, limits.headroom if limits else 0.0)
    )


def _least_bytes(plan: TrainingPlan, knowledge: ModelKnowledge, target: Target) -> int | None:
    """What the run takes whatever its unknown batch and length: one sample, of one token; None for images, whose size
    says how much that is."""
    language = isinstance(knowledge, (Decoder, MegatronModel))
    if not language and plan.image_size.value is None:
        return None
    is_open = bool(plan.fact("open_lengths").value)
    smallest = {
        "micro_batch": plan.micro_batch.value or 1,
        **({"seq_len": 1 if is_open else plan.seq_len.value or 1, "open_lengths": False} if language else {}),
    }
    smaller = revise(plan, smallest)
    found = resolve(smaller)
    if found.knowledge is None or missing_facts(smaller, found.knowledge):
        return None
    required = _worked_out(smaller, found, found.knowledge, target, None).required
    return None if required is None else required.low


def _estimate(
    target: Target,
    limits: Headroom | None,
    setting: Setting,
    peak: Peak,
    allocated: Interval,
    assumptions: tuple[str, ...],
) -> Estimate:
    paged = setting_states(setting).paged
    outside = _context(setting, target)
    reserved = with_slack(allocated, VARYING_SLACK if setting.lengths_vary else RESERVED_SLACK)
    required = added(with_slack(allocated, REQUIRED_SLACK), outside)
    usable = target.gpu.usable_bytes if target.gpu else None
    device = _with_paged(added(reserved, outside), sum(component.bytes for component in paged), usable)
    extra = (
        *paged,
        Component("allocator slack", reserved.value - allocated.value, "cached and fragmented bytes, by simulation"),
        Component("CUDA context", outside.value, "CUDA context, loaded kernels, communication buffers"),
    )
    return Estimate(
        model=setting.knowledge.name,
        gpu=target.gpu.name if target.gpu else None,
        allocated=allocated,
        reserved=reserved,
        device=device,
        required=required,
        usable_bytes=usable,
        verdict=_verdict(required, usable, limits.headroom if limits else 0.0),
        phase=peak.phase,
        components=(*peak.components, *extra),
        assumptions=assumptions,
    )


def _with_paged(device: Interval, paged_bytes: int, usable_bytes: int | None) -> Interval:
    """What the card holds when managed memory is resident: the driver moves it to the host where the card is full, so
    that it takes room but is never missing any (``cudaMallocManaged``; bitsandbytes' paged optimizers)."""
    if not paged_bytes:
        return device
    resident = shifted(device, paged_bytes)
    most = max(usable_bytes or resident.high, device.high)
    return Interval(device.low, min(resident.value, most), min(resident.high, most))


def _verdict(required: Interval, usable_bytes: int | None, headroom: float) -> Verdict:
    """``fits`` leaves the head-room free even at the upper bound; ``over`` exceeds the card whatever the head-room."""
    if usable_bytes is None:
        return Verdict.UNKNOWN
    if required.high <= usable_bytes * (1 - headroom):
        return Verdict.FITS
    return Verdict.OVER if required.value > usable_bytes else Verdict.TIGHT


def _unknown(
    plan: TrainingPlan,
    target: Target,
    because: str,
    components: tuple[Component, ...],
    assumptions: tuple[str, ...],
    model: str | None = None,
) -> Estimate:
    gpu = target.gpu
    usable = gpu.usable_bytes if gpu else None
    name = model or plan.model.value
    return Estimate(
        name, gpu.name if gpu else None, None, None, None, None, usable, Verdict.UNKNOWN, "", components, assumptions,
        because,
    )  # fmt: skip


def _weights(plan: TrainingPlan, knowledge: ModelKnowledge) -> tuple[Component, ...]:
    """The weights alone, where the plan says how wide they are and nothing shards or quantises them."""
    if plan.precision.value is None or plan.adapter.value == "qlora" or plan.sharding.value in _SHARDS_WEIGHTS:
        return ()
    each = 2 if plan.precision.value in (Precision.PURE_BF16, Precision.PURE_FP16) else 4
    text = f"{knowledge.parameters:,} parameters of {each} bytes; {knowledge.source}"
    return (Component("parameters", each * knowledge.parameters, text),)


def _context(setting: Setting, target: Target) -> Interval:
    measured = target.gpu.context_bytes if target.gpu else 0
    context = Interval(round(0.95 * measured), measured, round(1.1 * measured)) if measured else _unmeasured(setting)
    return added(context, NCCL) if setting.ranks > 1 else context


def _unmeasured(setting: Setting) -> Interval:
    """The context of a card that no probe has seen."""
    return EAGER_CONTEXT if setting.old_stack else CONTEXT
