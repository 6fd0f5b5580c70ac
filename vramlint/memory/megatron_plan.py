"""From a plan's facts to one rank of a Megatron-LM model."""

from __future__ import annotations

from vramlint.memory.architecture import DecoderConfig
from vramlint.memory.knowledge import Workload
from vramlint.memory.megatron import EncoderPart, MegatronModel
from vramlint.memory.megatron_hybrid import Hybrid, Mamba
from vramlint.memory.megatron_ledger import MegatronOptions, Recompute
from vramlint.memory.parallel import Parallelism, parallelism_of
from vramlint.plan import Precision, TrainingPlan


def megatron_model(plan: TrainingPlan, name: str, config: DecoderConfig, source: str) -> tuple[MegatronModel, str]:
    """The rank that needs most memory, or that of the spelled ``pipeline_stage``, and what was assumed, in words."""
    layers, length = plan.fact("encoder_layers").value, plan.fact("decoder_seq_len").value
    encoder = EncoderPart(layers, length) if isinstance(layers, int) and isinstance(length, int) else None
    model = MegatronModel(
        name,
        config,
        f"{source}; Megatron-LM 2026-08 with Transformer Engine",
        parallelism_of(plan),
        _options(plan),
        encoder,
        _micro_batches(plan),
        _hybrid(plan),
        plan.fact("predicted_tokens").value or 0,
    )
    model = _on_stage(plan, model)
    return model, _described(model)


def _micro_batches(plan: TrainingPlan) -> int:
    """Of one step; where nobody knows how many, as many as fill the pipeline."""
    if plan.accumulation.value is not None:
        return plan.accumulation.value
    parallel = parallelism_of(plan)
    return 2 * parallel.pipeline * parallel.chunks if parallel.pipeline > 1 else 1


def _options(plan: TrainingPlan) -> MegatronOptions:
    kernel = plan.fact("attention_kernel").value
    dropout, attention_dropout = plan.fact("hidden_dropout").value, plan.fact("attention_dropout").value
    deferred = plan.fact("deferred_gradients").value
    return MegatronOptions(
        attention=kernel if kernel in ("flash", "fused", "unfused") else "auto",
        hidden_dropout=dropout != 0,
        attention_dropout=attention_dropout != 0,
        fp32_residual=bool(plan.fact("fp32_residual").value),
        mask=plan.fact("attention_mask").value is not False,
        loss=str(plan.fact("megatron_loss").value or "plain"),
        recompute=_recompute(plan),
        fp8=bool(plan.fact("fp8_products").value),
        fp8_parameters=bool(plan.fact("fp8_parameters").value),
        overlapped=bool(plan.fact("overlapped_products").value),
        local=bool(plan.fact("local_layers").value),
        deferred=deferred if isinstance(deferred, int) else None,
    )


def _hybrid(plan: TrainingPlan) -> Hybrid | None:
    stages, mamba = plan.fact("hybrid_layers").value, plan.fact("mamba").value
    return Hybrid(stages, Mamba(*mamba)) if isinstance(stages, tuple) and isinstance(mamba, tuple) else None


def _recompute(plan: TrainingPlan) -> Recompute:
    given = plan.fact("recompute").value
    if not isinstance(given, tuple):
        return Recompute()
    granularity, method, layers, modules = given
    return Recompute(granularity, method, layers, modules)


def _on_stage(plan: TrainingPlan, model: MegatronModel) -> MegatronModel:
    stages = model.parallel.pipeline
    spelled = plan.fact("pipeline_stage").value
    if spelled == "last" or stages == 1:
        return model._replace(parallel=model.parallel._replace(stage=stages - 1))
    on_stages = [model._replace(parallel=model.parallel._replace(stage=stage)) for stage in range(stages)]
    return max(on_stages, key=lambda stage: _rough_bytes(plan, stage))


def _rough_bytes(plan: TrainingPlan, model: MegatronModel) -> int:
    """States without any sharding and the worst moment: enough to choose a stage."""
    workload = Workload(
        plan.micro_batch.value or 0,
        Precision.PURE_BF16,
        bool(plan.grad_checkpointing.value),
        seq_len=plan.seq_len.value or 0,
    )
    moments = model.moments(workload)
    return 18 * model.parameters + max((moment.activation_bytes for moment in moments), default=0)


def _described(model: MegatronModel) -> str:
    parallel: Parallelism = model.parallel
    degrees = [
        f"{name} {degree}"
        for name, degree in (
            ("tensor", parallel.tensor),
            ("pipeline", parallel.pipeline),
            ("context", parallel.context),
            ("expert", parallel.expert),
        )
        if degree > 1
    ]
    split = f"parallel over {', '.join(degrees)}" if degrees else "no model parallelism"
    stage = f", stage {parallel.stage + 1} of {parallel.pipeline}" if parallel.pipeline > 1 else ""
    return f"Megatron-LM ({split}{stage}): parameters are those of one rank"
