"""From a plan's facts to settings: every gap filled by an assumption, with the other readings that the gaps allow."""

from __future__ import annotations

from dataclasses import replace

from vramlint.memory.decoder import Decoder
from vramlint.memory.knowledge import ModelKnowledge, Resolution, Workload, inputs_of
from vramlint.memory.megatron import MegatronModel
from vramlint.memory.optimizers import ADAMW, Optimizer, find_optimizer, other_libraries
from vramlint.memory.pack import pack_key
from vramlint.memory.parallel import context_alone
from vramlint.memory.profile import Profile
from vramlint.memory.rank_setting import assume_parallelism, fewest_of, on_stage_of, on_worst_stage, sharding_for
from vramlint.memory.setting import Setting, Settings, cut_to
from vramlint.memory.sizes import trained_size
from vramlint.plan import Fact, Precision, TrainingPlan

FP32_BYTES = 4

MULTI_SCALE_LARGEST = 1.5
"""Largest training shape under multi-scale, as a share of the image size, where the plan does not know it: an
assumption, what an Ultralytics ``multi_scale`` of 0.5 gives (8.4.190, ``models/yolo/detect/train.py``). A plan that
knows says so in ``largest_image_size``."""

UNPACKED_SHARE = 0.8
"""Length of the longest batch of a run that pads samples to their batch's longest, as a share of the limit: what the
peaks of the PEFT comparison come to (huggingface/peft ``method_comparison/MetaMathQA``, 61 runs at a limit of 768)."""

SHORT_SAMPLE_TOKENS = 512
"""Where samples are padded under a long limit, the longest batch may be as short as this: the data decides, which a
config does not show. Instruction data is short: Alpaca's longest sample has about 1,040 tokens, most have fewer than
300 (litgpt's tables of longest samples, torchtune's unpacked run at a limit of 4,096)."""


WRITTEN_SHARE = 0.25
"""Where the trained model writes the answers, the longest batch may be as short as this share of the limit: the policy
decides, which no config shows. An assumption."""


def missing_facts(plan: TrainingPlan, knowledge: ModelKnowledge) -> tuple[str, ...]:
    """Facts without which no figure makes sense, in words."""
    absent = [] if plan.micro_batch.value else ["batch size per GPU"]
    if isinstance(knowledge, Decoder) and plan.fact("token_budget").value:
        return ()
    if isinstance(knowledge, Decoder) and plan.fact("open_lengths").value:
        return (*absent, "how long the answers are, of which no padding is kept,")
    name, known = _needed_size(plan, knowledge)
    return (*absent, *(() if known else (name,)))


def _needed_size(plan: TrainingPlan, knowledge: ModelKnowledge) -> tuple[str, bool]:
    """Which size of a sample the model needs, and whether it is known."""
    kind = inputs_of(knowledge)
    if isinstance(knowledge, (Decoder, MegatronModel)) or kind in ("pair", "text"):
        return "sequence length", bool(plan.seq_len.value)
    if kind == "speech":
        return "length", True  # every clip is cut to thirty seconds
    sized = plan.image_size.value or plan.fact("batch_shape").value
    if kind == "image":
        return "image size", bool(sized or getattr(knowledge, "side", 0))
    return "image size", bool(sized or plan.seq_len.value)


def settings_of(plan: TrainingPlan, found: Resolution, capability: tuple[int, int] | None = None) -> Settings:
    """Fill the gaps of ``plan``. Needs ``found.knowledge`` and no :func:`missing_facts`."""
    assert found.knowledge is not None
    ranks = plan.data_parallel.value or plan.world_size.value or fewest_of(found.knowledge)
    optimizer = _optimizer(plan, found.knowledge)
    workload = _workload(plan)._replace(capability=capability)
    if optimizer is not None and optimizer.steps_in_backward:
        workload = workload._replace(gradients_freed=True)
    chosen = Setting(
        found.knowledge,
        workload,
        optimizer or ADAMW,
        sharding_for(plan, ranks, found.knowledge),
        bool(plan.ema.value),
        ranks,
    )
    if plan.fact("stack").value not in (None, "modern"):
        chosen = _on_old_stack(chosen)
    chosen = on_worst_stage(chosen)
    said = [text for text in found.assumptions if chosen.workload.checkpointing or not text.startswith("checkpointing")]
    settings = Settings(chosen, assumptions=said)
    _assume_dtype(plan, settings)
    for knowledge in found.alternatives:
        settings.also(knowledge=on_stage_of(chosen.knowledge, knowledge))
    _assume_numbers(plan, settings, optimizer is not None)
    assume_parallelism(plan, settings, ranks)
    _assume_shape(plan, settings)
    _assume_compiled(plan, settings)
    _assume_kernels(settings)
    _assume_targets(settings)
    _assume_lengths(plan, settings)
    return settings


def _on_old_stack(chosen: Setting) -> Setting:
    """The setting under torch before 2.0. Models worked out layer by layer know their stack themselves."""
    if not isinstance(chosen.knowledge, Profile):
        return replace(chosen, old_stack=True)
    from vramlint.memory.eager import with_eager_attention

    kept = chosen.workload._replace(gradients_kept=True)
    return replace(chosen, old_stack=True, workload=kept, knowledge=with_eager_attention(chosen.knowledge))


def _optimizer(plan: TrainingPlan, knowledge: ModelKnowledge) -> Optimizer | None:
    """The optimizer that the plan names; one of the user's own where their profile was traced with it."""
    named = _of_shapes(plan, find_optimizer(plan.optimizer.value, plan.fact("momentum").value), knowledge)
    traced = knowledge.optimizer if isinstance(knowledge, Profile) else None
    if named is not None and plan.fact("optimizer_kernel").value in ("fused", "for-loop"):
        named = named._replace(step_copies=0)
    if traced is None or not knowledge.trainable:
        return named
    if named is not None and pack_key(plan.optimizer.value or "") != pack_key(traced.name):
        return named
    states, step = traced.state_bytes / knowledge.trainable, traced.step_bytes / knowledge.trainable / FP32_BYTES
    return Optimizer(traced.name, 0, states, step, knowledge.source)


def _of_shapes(plan: TrainingPlan, named: Optimizer | None, knowledge: ModelKnowledge) -> Optimizer | None:
    """An optimizer whose states follow the weights' shapes, with the plan's rank and layers; None where no shapes are
    known: of a decoder trained whole they are, its experts aside."""
    if named is None or named.matrices is None:
        return named
    if not isinstance(knowledge, Decoder) or knowledge.adapter or knowledge.config.experts or knowledge.division:
        return None
    rank, targets = plan.fact("optimizer_rank").value, plan.fact("optimizer_targets").value
    matrices = named.matrices
    if isinstance(rank, int) and rank > 0:
        matrices = matrices._replace(rank=rank)
    if isinstance(targets, tuple):
        matrices = matrices._replace(targets=targets)
    return named._replace(matrices=matrices)


_HELD_IN_16_BITS = {Precision.BF16: Precision.PURE_BF16, Precision.FP16: Precision.PURE_FP16}


def _workload(plan: TrainingPlan) -> Workload:
    size = trained_size(plan)  # a plan that knows its largest batch needs no further spread for multi-scale
    megatron = plan.fact("implementation").value == "megatron"
    precision = plan.precision.value or Precision.FP32
    if plan.fact("low_precision_weights").value:
        # The wrapper or the optimizer casts, not autocast: nothing keeps a second copy of the weights for backward.
        precision = _HELD_IN_16_BITS.get(precision, precision)
        if megatron and precision is Precision.FP8:
            precision = Precision.PURE_BF16  # what is held; the products alone are in 8 bits
    budget = plan.fact("token_budget").value
    tokens = budget if isinstance(budget, int) else plan.seq_len.value or 0
    return Workload(
        micro_batch=1 if budget else plan.micro_batch.value or 0,
        precision=precision,
        checkpointing=bool(plan.grad_checkpointing.value),
        height=size.height if size else 0,
        width=size.width if size else 0,
        seq_len=tokens // (1 if megatron else context_alone(plan)),
        gradients_kept=(plan.accumulation.value or 1) > 1,
        compiled=plan.fact("implementation").value == "torchtune" and bool(plan.fact("compile").value),
        target_len=plan.fact("decoder_seq_len").value or 0,
        activations_offloaded=bool(plan.fact("activation_offload").value),
        gradients_freed=bool(plan.fact("optimizer_in_backward").value),
    )


def _assume_dtype(plan: TrainingPlan, settings: Settings) -> None:
    """Nobody says in which dtype the weights are loaded: as saved (transformers 5.23 ``modeling_utils.py``, dtype
    "auto"), which is 16 bits for nearly every decoder, or in fp32 (transformers 4). DeepSpeed casts them itself."""
    loaded = settings.chosen.workload.precision
    casts = (plan.sharding.value or "").startswith("zero")
    if not plan.fact("weights_as_saved").value or casts or loaded not in (Precision.BF16, Precision.FP32):
        return
    if not isinstance(settings.chosen.knowledge, Decoder):
        return
    settings.assume("weights loaded as saved, in bf16 (transformers 5); the upper bound is for fp32 (transformers 4)")
    settings.also(precision=loaded)
    held = settings.chosen.workload._replace(precision=Precision.PURE_BF16)
    settings.chosen = replace(settings.chosen, workload=held)


def _assume_numbers(plan: TrainingPlan, settings: Settings, optimizer_known: bool) -> None:
    if isinstance(text := plan.fact("assumed").value, str):
        settings.assume(text)
    if plan.precision.value is Precision.FP8 and not isinstance(settings.chosen.knowledge, MegatronModel):
        settings.assume("fp8 taken as bf16: what a backend keeps in 8 bits is not worked out")
    if not plan.precision.known:
        settings.assume("precision unknown: fp32 assumed, the lower bound is for bf16 autocast")
        settings.also(precision=Precision.BF16)
    if not plan.grad_checkpointing.known:
        settings.assume("activation checkpointing unknown: taken as off")
    if not plan.accumulation.known:
        settings.assume("gradient accumulation unknown: none assumed")
        settings.also(gradients_kept=True)
    if not optimizer_known:
        spelled = f" {plan.optimizer.value!r}" if plan.optimizer.value else ""
        settings.assume(f"optimizer{spelled} unknown: AdamW assumed, the lower bound is for SGD with momentum")
        settings.also(optimizer=find_optimizer("sgd"))
    if (other := other_libraries(plan.optimizer.value, settings.chosen.optimizer)) is not None:
        settings.assume(f"{plan.optimizer.value} may be bitsandbytes' or torchao's: the upper bound is for the latter")
        settings.also(optimizer=other)
    if not plan.ema.known and not isinstance(settings.chosen.knowledge, (Decoder, MegatronModel)):
        settings.assume("EMA of the weights unknown: none assumed")


def _assume_kernels(settings: Settings) -> None:
    """unsloth's Triton kernels keep what compiled blocks keep: no fp32 copies, no product of gate and up."""
    model = settings.chosen.knowledge
    if isinstance(model, Decoder) and model.implementation.name.startswith("unsloth") and not model.config.experts:
        settings.assume("unsloth's kernels keep less than transformers' blocks: the lower bound is for fused ones")
        settings.also(compiled=True)


def _assume_compiled(plan: TrainingPlan, settings: Settings) -> None:
    if settings.chosen.workload.compiled or not plan.fact("compile").value:
        return
    if isinstance(settings.chosen.knowledge, Decoder):
        settings.assume("torch.compile: the value is for eager blocks, the lower bound for fused ones")
        settings.also(compiled=True)


def _assume_shape(plan: TrainingPlan, settings: Settings) -> None:
    if not plan.multi_scale.value or plan.image_size.value is None:
        return
    if plan.fact("batch_shape").known:
        settings.assume(f"multi-scale training: the figure is for the largest batch, {plan.fact('batch_shape').value}")
        return
    largest: Fact[object] = plan.fact("largest_image_size")
    size = plan.image_size.value
    height, width = int(size.height * MULTI_SCALE_LARGEST), int(size.width * MULTI_SCALE_LARGEST)
    if isinstance(largest.value, tuple):
        height, width = largest.value
    settings.assume(f"multi-scale training: the upper bound is for its largest shape, {height}x{width}")
    settings.also(height=height, width=width)


SPEECH_TARGET = 128
"""Tokens of the longest transcript in a batch of 30-second clips, a judgement: 75 words at 150 a minute, with some
words in several tokens. The data decides; the table of positions ends at 448."""


def _assume_targets(settings: Settings) -> None:
    """How long targets are where the plan does not say."""
    model, workload = settings.chosen.knowledge, settings.chosen.workload
    kind = inputs_of(model)
    if workload.target_len or kind not in ("pair", "speech"):
        return
    if kind == "pair":
        settings.assume("target length unknown: taken as long as the source")
        settings.chosen = replace(settings.chosen, workload=workload._replace(target_len=workload.seq_len))
        return
    limit = int(getattr(model, "longest_target", 0)) or SPEECH_TARGET
    length = min(SPEECH_TARGET, limit)
    settings.assume(f"target length unknown: {length} tokens, the upper bound is for {limit}")
    settings.chosen = replace(settings.chosen, workload=workload._replace(target_len=length))
    settings.also(target_len=limit)


def _assume_lengths(plan: TrainingPlan, settings: Settings) -> None:
    """How long the longest batch is: known where samples are packed or the longest one was looked up."""
    model = settings.chosen.knowledge
    language = isinstance(model, (Decoder, MegatronModel)) or inputs_of(model) in ("pair", "text")
    if not language or plan.fact("packing").value:
        return
    limit = settings.chosen.workload.seq_len
    if plan.fact("token_budget").value:
        settings.assume(f"a micro batch is filled up to its {limit:,} tokens")
        return
    if plan.fact("written_lengths").value:
        least = max(1, round(limit * WRITTEN_SHARE))
        settings.assume(
            f"answers as long as their limit, {limit:,} tokens with the prompt; the lower bound is for {least:,} tokens"
        )
        settings.up_to(least)
        return
    if plan.fact("longest_sample").value:
        settings.assume("the longest batch is as long as the sequence limit")
        return
    if plan.fact("packing").value is not False:
        settings.assume("every sample as long as the sequence limit")
        settings.assume("the lower bound is for batches of three quarters of the sequence limit")
        settings.up_to(limit * 3 // 4)
        return
    least = min(limit * 3 // 4, SHORT_SAMPLE_TOKENS)
    settings.assume(
        f"samples are padded, not packed: {UNPACKED_SHARE:.0%} of the limit; the bounds are for batches of {least} "
        "tokens and for the limit"
    )
    worked_on = cut_to(settings.chosen.workload, round(limit * UNPACKED_SHARE))
    settings.chosen = replace(settings.chosen, workload=worked_on, lengths_vary=True)
    settings.up_to(least, limit)
