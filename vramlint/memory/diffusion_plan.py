"""What a plan makes of a denoiser: whole or behind adapters, its base quantised or not, with what stands beside it.

Reads of ``plan.extra``: ``adapter_targets``, ``adapter_method``, ``adapter_bytes`` (2 where adapters are held in 16
bits), ``autocast`` (whether the step runs under it), ``weights_in_16_bits`` (of a denoiser trained whole),
``trained_parameters``, ``base_quantization`` (``int8``, ``fp8``, ``nf4``), ``vae_resident`` and
``text_encoders_resident`` (whether they stay on the card while the denoiser trains), ``beside`` (further frozen models:
name, parameters, bytes each), ``frames`` of a clip and ``moved_off`` (a setting, in words, that moves blocks or
activations to host memory or frees gradients inside backward).
"""

from __future__ import annotations

from vramlint.memory.adapters import METHODS
from vramlint.memory.denoiser import HALF, Beside, Denoiser
from vramlint.memory.diffusion import (
    ALL_LINEAR,
    ATTENTION,
    ATTENTION_16_BITS,
    autoencoder,
    is_traced,
    is_video,
    latent_frames,
    text_encoders,
    with_adapters,
    with_method,
)
from vramlint.memory.knowledge import Resolution
from vramlint.memory.states import NF4_BYTES
from vramlint.plan import TrainingPlan

BASE_BYTES = {"int8": 1.0, "fp8": 1.0, "nf4": NF4_BYTES}
"""Bytes of a quantised linear weight. A scale for each row or tensor is left out."""

_USUAL_RANK = 16


def trained(plan: TrainingPlan, denoiser: Denoiser) -> Resolution:
    """What the plan trains of ``denoiser``."""
    texts: list[str] = []
    moved = plan.fact("moved_off")
    if moved.value:
        return Resolution(None, because=f"{moved.value}: what stays on the card then is not worked out")
    if is_video(denoiser):
        frames = plan.fact("frames").value
        if not isinstance(frames, int):
            return Resolution(
                None, because=f"{denoiser.name} is trained on clips, and their number of frames is unknown"
            )
        denoiser = denoiser._replace(frames=latent_frames(denoiser, frames))
    adapted = _adapted(plan, denoiser, texts)
    if isinstance(adapted, str):
        return Resolution(None, because=adapted)
    return _with_company(plan, adapted, texts)


def _adapted(plan: TrainingPlan, denoiser: Denoiser, texts: list[str]) -> list[Denoiser] | str:
    """The chosen reading first; why there is none, in words, where the adapters were not traced."""
    kind = str(plan.fact("adapter_method").value or plan.adapter.value or "none")
    if plan.adapter.value is None and plan.adapter.location is not None:
        return f"adapters unknown: {plan.adapter.note}"
    if kind in ("none", "full"):
        return [denoiser._replace(half=bool(plan.fact("weights_in_16_bits").value))]
    quantised = _quantised(plan, denoiser)
    if quantised is None:
        return f"a base quantised by {plan.fact('base_quantization').value} is not worked out"
    if kind not in ("lora", "qlora") or plan.fact("autocast").value is False:
        return _by_method(plan, quantised, kind)
    return _with_lora(plan, quantised, texts)


def _quantised(plan: TrainingPlan, denoiser: Denoiser) -> Denoiser | None:
    kind = plan.fact("base_quantization").value or ("nf4" if plan.adapter.value == "qlora" else None)
    if kind is None:
        return denoiser
    found = BASE_BYTES.get(str(kind))
    return None if found is None else denoiser._replace(base_bytes=found)


def _by_method(plan: TrainingPlan, denoiser: Denoiser, kind: str) -> list[Denoiser] | str:
    count = plan.fact("trained_parameters").value
    found = with_method(denoiser, kind, plan.adapter_rank.value, count if isinstance(count, int) else None)
    if found is not None:
        return [found]
    known = "on this denoiser" if kind in METHODS or kind == "lora" else "anywhere"
    return f"the adapter method {kind!r} was not traced {known}"


def _with_lora(plan: TrainingPlan, denoiser: Denoiser, texts: list[str]) -> list[Denoiser]:
    rank = plan.adapter_rank.value
    if rank is None:
        rank = _USUAL_RANK
        texts.append(f"LoRA rank unknown: {rank} assumed")
    in_16_bits = plan.fact("adapter_bytes").value == 2 or plan.precision.value in HALF
    attention = with_adapters(denoiser, rank, ATTENTION_16_BITS if in_16_bits else ATTENTION)
    everywhere = with_adapters(denoiser, rank, ALL_LINEAR)
    if not is_traced(denoiser, ALL_LINEAR):
        texts.append("activations are those of adapters on the attention's projections alone")
    match plan.fact("adapter_targets").value:
        case "all-linear" | "all":
            return [everywhere]
        case None:
            texts.append("LoRA on the attention's projections; the upper bound is for every linear layer of the blocks")
            return [attention, everywhere]
        case _:
            return [attention]


def _with_company(plan: TrainingPlan, found: list[Denoiser], texts: list[str]) -> Resolution:
    """The readings with the frozen models that stay on the card, as far as the plan says which."""
    first = found[0]
    named = plan.fact("beside").value
    given = tuple(Beside(*one) for one in named) if isinstance(named, tuple) else ()
    vae, encoders = autoencoder(first), text_encoders(first)
    keeps_vae, keeps_text = plan.fact("vae_resident").value, plan.fact("text_encoders_resident").value
    company = given + ((vae,) if keeps_vae in (None, True) else ())
    small = tuple(one for one in encoders if "clip" in one.name)
    company += encoders if keeps_text else small if keeps_text is None else ()
    others = [each._replace(beside=company) for each in found]
    if keeps_text is None and len(small) < len(encoders):
        texts.append("CLIP text encoders beside it, larger ones' outputs computed beforehand; the upper bound has all")
        others.append(found[-1]._replace(beside=(*given, *((vae,) if keeps_vae is not False else ()), *encoders)))
    elif keeps_text is None and encoders:
        texts.append("text encoders beside it in 16 bits; the lower bound is without")
        others.append(first._replace(beside=(*given, *((vae,) if keeps_vae is not False else ()))))
    if keeps_vae is None:
        texts.append("VAE beside it in 16 bits; the lower bound is without")
        others.append(first._replace(beside=tuple(one for one in company if one is not vae)))
    return Resolution(others[0], tuple(others[1:]), tuple(texts))
