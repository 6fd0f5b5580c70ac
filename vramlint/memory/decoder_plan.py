"""From a plan's facts to a decoder LLM in one implementation, whole or behind adapters."""

from __future__ import annotations

import re

from vramlint.memory.adapter import Adapter
from vramlint.memory.adapters import METHODS
from vramlint.memory.architecture import DecoderConfig, Experts, LatentAttention
from vramlint.memory.catalogue import find_decoder
from vramlint.memory.decoder import Decoder
from vramlint.memory.division_plan import shared
from vramlint.memory.implementations import (
    HUGGING_FACE,
    IMPLEMENTATIONS,
    TILED_SOURCE,
    TORCHTUNE_COMPILED,
    TORCHTUNE_PLAIN,
    UNSLOTH,
    UNSLOTH_PLAIN_LOSS,
    Implementation,
)
from vramlint.memory.knowledge import Resolution
from vramlint.memory.megatron_plan import megatron_model
from vramlint.memory.objectives import OBJECTIVES, Objective
from vramlint.plan import DecoderShape, TrainingPlan

KERNELS_SOURCE = (
    "linear attention and convolutions in their kernels; plain torch, without those packages, keeps far more"
)

_OWN_NAMES = (
    *("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj"),
    *("in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "in_proj_qkvz", "in_proj_ba", "in_proj", "out_proj"),
)
"""Layers of latent attention and of mixers, which every codebase calls alike."""

_ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", *_OWN_NAMES)
_DEFAULT_TARGETS = ("q_proj", "v_proj")
"""PEFT's default for Llama-like models (peft 0.21 ``utils/constants.py``)."""


def spelled_config(plan: TrainingPlan, shape: DecoderShape) -> DecoderConfig:
    """A spelled shape with the other facts that a config gives of an architecture."""
    experts, latent = plan.fact("expert_mixture").value, plan.fact("latent_attention").value
    positions = plan.fact("learned_positions").value
    return DecoderConfig(
        shape,
        gated=shape.gated,
        norm=shape.norm,
        biases=shape.biases,
        parallel=bool(plan.fact("parallel_residual").value),
        qk_norm=bool(plan.fact("qk_norm").value),
        positions=positions if isinstance(positions, int) else 0,
        experts=Experts(*experts) if isinstance(experts, tuple) else None,
        latent=LatentAttention(*latent) if isinstance(latent, tuple) else None,
    )


def decoder_of(plan: TrainingPlan, name: str, config: DecoderConfig, source: str) -> Resolution:
    """The decoder ``config`` as the plan's implementation and adapter method run it; the reason where none is known."""
    if plan.fact("implementation").value == "megatron":
        if plan.adapter.value not in (None, "none"):
            return Resolution(None, because="adapters on Megatron-LM's models are not worked out")
        model, described = megatron_model(plan, name, config, source)
        return Resolution(model, assumptions=(described,))
    implementation = _implementation(plan)
    if not implementation.ties_embeddings and config.shape.tied:
        config = config._replace(shape=config.shape._replace(tied=False))
    if plan.fact("fused_loss").value:
        implementation = implementation._replace(fused_loss=True, name=f"{implementation.name} with a fused loss")
    if implementation.name == "torchtitan" and config.experts is not None:
        config = config._replace(experts=config.experts._replace(grouped=True))  # models/moe/moe.py
    eager = config.attention_sinks and not _knows_sinks(plan)
    config = config._replace(eager=eager)
    text = f"{implementation.name} implementation ({implementation.source}), {'eager' if eager else 'flash'} attention"
    if config.others:
        text += f"; {KERNELS_SOURCE}"
    base = Decoder(name, config, f"{source}; {implementation.name}", implementation=implementation)
    kind = str(plan.fact("adapter_method").value or plan.adapter.value or "none")
    if kind not in (*_WHOLE, *_LORA, *METHODS):
        return Resolution(None, because=f"no formula here covers the adapter method {kind!r}")
    return shared(plan, _as_trained(plan, base, kind, text))


def _knows_sinks(plan: TrainingPlan) -> bool:
    """Whether attention's kernel takes sinks: without one that is named, transformers 5.24 runs gpt-oss eager
    (``GptOssPreTrainedModel``: no ``_supports_sdpa``)."""
    return bool(re.search("flash|flex|fa[234]", str(plan.fact("attention").value or "")))


def _as_trained(plan: TrainingPlan, base: Decoder, kind: str, text: str) -> Resolution:
    """``base`` under the loss that the plan's trainer computes."""
    if plan.fact("preference").value is not None:
        return _preferring(plan, base, kind)
    if base.implementation.name == UNSLOTH.name:
        return _unsloth(plan, base, kind)
    if plan.fact("tiled_loss").value and not base.implementation.fused_loss:
        return _tiled(plan, base, kind)
    return _up_to(plan, base, kind, (), text)


_WHOLE, _LORA = ("none", "full"), ("lora", "qlora")
"""Kinds of training: all weights, or low-rank adapters; the others are names of ``METHODS``."""


def _preferring(plan: TrainingPlan, base: Decoder, kind: str) -> Resolution:
    """Preference, reward, reinforcement and distillation runs: the trained model with what stands beside it."""
    word = str(plan.fact("preference").value)
    objective = OBJECTIVES.get(word)
    if objective is None:
        return Resolution(None, because=f"the models that {word} holds beside the trained one are not worked out")
    beside, because = _teacher(plan)
    if because:
        return Resolution(None, because=because)
    compares = plan.fact("reference_model").value
    full = kind in _WHOLE
    reference = full and (objective.reference if compares is None else bool(compares))
    scored, generated = plan.fact("completion_length").value, plan.fact("generated_sequences").value
    base = base._replace(
        sequences=objective.sequences,
        reference=reference,
        scores=objective.scores,
        scored_tokens=scored if isinstance(scored, int) else 0,
        generated=generated if isinstance(generated, int) else 0,
        beside=beside,
    )
    text = objective.says + (", a frozen copy of the model beside it" if reference else "")
    return _scored(plan, base, kind, objective, text)


def _scored(plan: TrainingPlan, base: Decoder, kind: str, objective: Objective, text: str) -> Resolution:
    """``base`` with its objective's loss over logits in fp32 or 16 bits, or in tiles as the newest trainer has it."""
    own = base.implementation
    name = f"{own.name} under {objective.says.partition(':')[0]}"
    if objective.scores:
        scoring = own._replace(name=name, loss=objective.in_fp32, fused_loss=False)
        return _up_to(plan, base._replace(implementation=scoring), kind, (), text)
    wide = own._replace(name=name, loss=objective.in_fp32, fused_loss=False)
    narrow = wide._replace(loss=objective.in_16_bits)
    engine = (plan.sharding.value or "").startswith("zero")
    whole, other = (narrow, wide) if engine else (wide, narrow)
    if objective.tiled and plan.fact("tiled_loss").value:
        tiled = whole._replace(fused_loss=True)
        text += f"; the upper bound: whole logits, {TILED_SOURCE}"
        return _up_to(plan, base._replace(implementation=tiled), kind, (whole,), text)
    if own.fused_loss and plan.fact("fused_preference_loss").value:
        return _up_to(
            plan, base._replace(implementation=own._replace(name=name)), kind, (), f"{text}; Liger's fused loss"
        )
    if own.fused_loss:
        text += "; a fused loss is taken as whole logits"
    text += f"; logits in {'16 bits' if engine else 'fp32'}, the other bound is for {'fp32' if engine else '16 bits'}"
    return _up_to(plan, base._replace(implementation=whole), kind, (other,), text)


def _teacher(plan: TrainingPlan) -> tuple[int, str]:
    """Parameters of the teacher beside the trained model, or why they are not known."""
    teacher = plan.fact("teacher").value
    if teacher is None:
        needed = plan.fact("preference").value == "gkd"
        return 0, "the teacher's name is not known" if needed else ""
    found = find_decoder(str(teacher))
    if found is None:
        return 0, f"the teacher {teacher} is not in the catalogue"
    return found.config.parameters + (found.tower.parameters if found.tower else 0), ""


def _tiled(plan: TrainingPlan, base: Decoder, kind: str) -> Resolution:
    """The loss a tile of tokens at a time as the newest trainer computes it, the upper bound over whole logits."""
    whole = base.implementation
    tiled = whole._replace(name=f"{whole.name} with a loss in tiles", fused_loss=True)
    text = f"{whole.name} implementation ({whole.source}), flash attention; the upper bound: whole logits"
    return _up_to(plan, base._replace(implementation=tiled), kind, (whole,), f"{text}, {TILED_SOURCE}")


def _unsloth(plan: TrainingPlan, base: Decoder, kind: str) -> Resolution:
    """unsloth's blocks by those of transformers, which keep more than its kernels do; its loss in chunks or whole."""
    text = f"{base.implementation.source}; the upper bound is for a loss over whole logits"
    if kind not in (*_WHOLE, *_LORA):
        return Resolution(None, because=f"no formula here covers the adapter method {kind!r} in unsloth")
    return _up_to(plan, base, kind, (UNSLOTH_PLAIN_LOSS,), text)


def _up_to(plan: TrainingPlan, base: Decoder, kind: str, others: tuple[Implementation, ...], text: str) -> Resolution:
    """``base`` whole or behind adapters, with the same in ``others`` as further readings."""
    found = Resolution(base, assumptions=(text,))
    if kind not in _WHOLE:
        found = _adapted(plan, base, plan.adapter.value == "qlora", base.implementation, text)
    decoders = [each for each in (found.knowledge, *found.alternatives) if isinstance(each, Decoder)]
    further = tuple(each._replace(implementation=other) for other in others for each in decoders)
    return found._replace(alternatives=(*found.alternatives, *further))


def _implementation(plan: TrainingPlan) -> Implementation:
    name = str(plan.fact("implementation").value)
    if name == "torchtune" and plan.fact("chunked_loss").value is False:
        return TORCHTUNE_PLAIN
    if name == "torchtune" and plan.fact("compile").value:
        return TORCHTUNE_COMPILED
    return IMPLEMENTATIONS.get(name, HUGGING_FACE)


def _adapted(
    plan: TrainingPlan, base: Decoder, quantised: bool, implementation: Implementation, text: str
) -> Resolution:
    rank = plan.adapter_rank.value
    texts = [text]
    if rank is None:
        rank = 16
        texts.append("LoRA rank unknown: 16 assumed")
    spelled = plan.fact("adapter_targets")
    targets, head = _targets(spelled.value)
    weight_bytes = implementation.adapter_weight_bytes or 2
    trained, virtual = plan.fact("trained_parameters").value, plan.fact("virtual_tokens").value
    adapter = Adapter(
        rank,
        targets,
        weight_bytes,
        bool(plan.fact("adapter_dropout").value),
        head,
        fused=not implementation.fused_qkv,
        method=METHODS.get(str(plan.fact("adapter_method").value or plan.adapter.value)),
        trained=trained if isinstance(trained, int) else None,
        virtual_tokens=virtual if isinstance(virtual, int) else 0,
        copied=_copied(plan.fact("modules_to_save").value),
    )
    if adapter.method is not None and adapter.method.name == "osf":
        if adapter.trained is None or not adapter.chosen(base.config):
            return Resolution(None, because="OSF's trained rank is not known without its layers and trained parameters")
        adapter = adapter._replace(rank=_trained_rank(adapter, base.config))
    if quantised and implementation.quantised_input_copies > 1 and not plan.fact("packing").value:
        # Where lengths vary, the batch before the longest one is shorter: its inputs hardly count.
        base = base._replace(implementation=implementation._replace(quantised_input_copies=1))
    eight_bit = plan.fact("base_quantization").value == "int8" and not quantised
    double = bool(plan.fact("double_quantization").value)
    found = base._replace(
        adapter=adapter, quantised=quantised or eight_bit, eight_bit=eight_bit, double_quantised=double
    )
    if found.config.experts is not None:
        found, text = _experts(plan, found)
        texts.append(text)
    if spelled.value is not None:
        return Resolution(found, assumptions=tuple(texts))
    texts.append("LoRA targets unknown: all linear layers assumed, the lower bound is for q_proj and v_proj")
    fewer = found._replace(adapter=adapter._replace(targets=_DEFAULT_TARGETS))
    return Resolution(found, (fewer,), tuple(texts))


def _experts(plan: TrainingPlan, found: Decoder) -> tuple[Decoder, str]:
    """What adapters and quantisation make of experts, which are no linear layers in transformers 5.

    transformers 5.24 ``quantizer_bnb_4bit.py#param_needs_quantization`` takes linear layers alone; axolotl 0.19
    ``monkeypatch/moe_quant.py`` quantises experts where ``quantize_moe_experts`` is on.
    """
    quantised = bool(found.quantised and plan.fact("quantised_experts").value)
    text = "experts as transformers 5 runs them, no linear layers: without adapters"
    if found.quantised and not quantised:
        text += ", and left in 16 bits by bitsandbytes (4-bit under transformers 4)"
    return found._replace(quantised_experts=quantised), text


def _trained_rank(adapter: Adapter, config: DecoderConfig) -> int:
    """The rank at which factors of all adapted layers, with a singular value each, have the spelled number."""
    per_rank = config.shape.layers * sum(each.inputs + each.outputs + 1 for each in adapter.chosen(config))
    return max(1, round((adapter.trained or 0) / per_rank))


def _copied(saved: object) -> tuple[str, ...]:
    """Embedding and head where they are trained whole, by the names that models give them."""
    words = {word.rsplit(".", 1)[-1] for word in _words(saved)}
    return tuple(name for name, spelled in _MODULES.items() if spelled & words)


_MODULES = {
    "embed_tokens": {"embed_tokens", "wte", "word_embeddings", "embed_in"},
    "lm_head": {"lm_head", "embed_out"},
}
"""How transformers' models call the embedding and the head."""


def _words(value: object) -> list[str]:
    parts = value.split(",") if isinstance(value, str) else list(value) if isinstance(value, (list, tuple)) else []
    return [str(part).strip() for part in parts]


def _targets(value: object) -> tuple[tuple[str, ...], bool]:
    """Adapted linear layers by their Hugging Face names, and whether the output head is adapted."""
    if value is None or value in ("all-linear", "all"):
        return _ALL_LINEAR, False
    names = {word.rsplit(".", 1)[-1] for word in _words(value)}
    chosen = tuple(linear for linear in _ALL_LINEAR if names & _TARGET_WORDS[linear])
    return chosen or _ALL_LINEAR, bool(names & {"lm_head", "head", "output"})


_TARGET_WORDS: dict[str, frozenset[str]] = {
    **{name: frozenset({name}) for name in _OWN_NAMES},
    "q_proj": frozenset({"q_proj", "query", "q", "qkv_proj", "query_key_value", "c_attn", "Wqkv"}),
    "k_proj": frozenset({"k_proj", "key", "k", "qkv_proj", "query_key_value", "c_attn", "Wqkv"}),
    "v_proj": frozenset({"v_proj", "value", "v", "qkv_proj", "query_key_value", "c_attn", "Wqkv"}),
    "o_proj": frozenset({"o_proj", "projection", "output_proj", "out_proj", "dense"}),
    "gate_proj": frozenset({"gate_proj", "mlp", "gate_up_proj", "w1"}),
    "up_proj": frozenset({"up_proj", "mlp", "gate_up_proj", "w3", "dense_h_to_4h", "fc1"}),
    "down_proj": frozenset({"down_proj", "mlp", "w2", "dense_4h_to_h", "fc2"}),
}
"""How codebases call the layers: transformers, litgpt, torchtune, Phi, Falcon and Qwen 1."""
