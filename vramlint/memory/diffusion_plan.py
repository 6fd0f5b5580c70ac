"""What a plan makes of a denoiser: whole or behind adapters, its base quantised or not, with what stands beside it.

Reads of ``plan.extra``: ``adapter_targets``, ``adapter_method``, ``adapter_bytes`` (2 where adapters are held in 16
bits), ``autocast`` (whether the step runs under it), ``weights_in_16_bits`` (of a denoiser trained whole),
``trained_parameters``, ``base_quantization`` (``int8``, ``fp8``, ``nf4``), ``vae_resident`` and
``text_encoders_resident`` (whether they stay on the card while the denoiser trains), ``beside`` (further frozen models:
name, parameters, bytes each), ``text_encoder_bytes`` and ``vae_bytes`` (of a weight of those that stay), ``frames`` of
a clip, ``blocks_on_host`` (share of the blocks' weights that waits in host memory, or ``swap N`` of kohya's blocks),
``vae_batch`` (pictures that the VAE encodes at a time), ``text_encoders_trained`` (whether they train with a denoiser
that trains whole),
``activation_offload`` and ``moved_off`` (a setting, in words, that moves something in a way that is not worked out).
"""

from __future__ import annotations

from vramlint.memory.adapters import METHODS
from vramlint.memory.denoiser import HALF, Beside, Denoiser
from vramlint.memory.diffusion import (
    ALL_LINEAR,
    ALL_LINEAR_PLAIN,
    ATTENTION,
    ATTENTION_16_BITS,
    autoencoder,
    block_parameters,
    is_traced,
    is_video,
    latent_frames,
    pictures,
    text_encoders,
    with_adapters,
    with_method,
)
from vramlint.memory.knowledge import Resolution
from vramlint.memory.states import NF4_BYTES
from vramlint.plan import Precision, TrainingPlan

BASE_BYTES = {"int8": 1.0, "fp8": 1.0, "nf4": NF4_BYTES, **{f"int{bits}": bits / 8 + 4 / 128 for bits in (2, 3, 4)}}
"""Bytes of a quantised linear weight. A scale for each row or tensor is left out; with fewer than 8 bits it is one of
two 16-bit numbers a group of 128 (optimum-quanto 0.2 ``tensor/weights/qbits.py``, torchao 0.18 ``uintx``)."""

_USUAL_RANK = 16


def trained(plan: TrainingPlan, denoiser: Denoiser) -> Resolution:
    """What the plan trains of ``denoiser``."""
    texts: list[str] = []
    if not denoiser.ways:
        return Resolution(None, because=f"{denoiser.name} is known by its size alone, its steps were not traced")
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
    if pictures(denoiser) > 1:
        texts.append("an edited sample brings a picture of the same size into the same sequence")
        denoiser = denoiser._replace(frames=pictures(denoiser))
    placed = _placed(plan, denoiser, texts)
    adapted = placed if isinstance(placed, str) else _adapted(plan, placed, texts)
    if isinstance(adapted, str):
        return Resolution(None, because=adapted)
    return _with_company(plan, adapted, texts)


def _placed(plan: TrainingPlan, denoiser: Denoiser, texts: list[str]) -> Denoiser | str:
    """The denoiser with what waits in host memory."""
    if plan.fact("activation_offload").value:
        denoiser = denoiser._replace(moved=True)
    share = plan.fact("blocks_on_host").value
    if share is None:
        return denoiser
    each = block_parameters(denoiser)
    if not each:
        return f"{plan.fact('blocks_on_host').note}: {denoiser.name} has no stack of equal blocks"
    whole = sum(map(int.__mul__, denoiser.blocks, each))
    if isinstance(share, (int, float)):
        moved = round(whole * share)
    else:
        counts = _swapped(int(str(share).removeprefix("swap ")), denoiser.blocks)
        if counts is None:
            return f"blocks to {share}: {denoiser.name} has {denoiser.blocks} blocks"
        moved = sum(map(int.__mul__, counts, each))
    texts.append(
        f"{moved / denoiser.base:.0%} of the weights wait in host memory; the blocks that come take their place"
    )
    return denoiser._replace(on_host=moved)


def _swapped(count: int, blocks: tuple[int, ...]) -> tuple[int, ...] | None:
    """Blocks of each stack that ``blocks_to_swap`` moves: half of the number are double blocks, and for each other one
    two single blocks (sd-scripts 2026-02 ``library/flux_models.py`` ``enable_block_swap``). Two stay at least."""
    counts = (count,) if len(blocks) == 1 else (count // 2, (count - count // 2) * 2)
    return counts if all(moved <= own - 2 for moved, own in zip(counts, blocks, strict=True)) else None


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
    if kind not in ("lora", "qlora"):
        return _by_method(plan, quantised, kind)
    if plan.fact("autocast").value is False:
        found = _by_method(plan, quantised, kind)
        return _without_autocast(plan, quantised, texts) if isinstance(found, str) else found
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


def _without_autocast(plan: TrainingPlan, denoiser: Denoiser, texts: list[str]) -> list[Denoiser] | str:
    """A 16-bit base behind fp32 adapters, which cast what they read."""
    if not is_traced(denoiser, ALL_LINEAR_PLAIN):
        return "LoRA without autocast was not traced on this denoiser"
    if plan.precision.value is Precision.FP32:
        return "adapters on fp32 weights were not traced"
    return [with_adapters(denoiser, _rank(plan, texts), ALL_LINEAR_PLAIN)]


def _rank(plan: TrainingPlan, texts: list[str]) -> int:
    rank = plan.adapter_rank.value
    if rank is None:
        texts.append(f"LoRA rank unknown: {_USUAL_RANK} assumed")
    return rank or _USUAL_RANK


def _with_lora(plan: TrainingPlan, denoiser: Denoiser, texts: list[str]) -> list[Denoiser] | str:
    """Adapters under autocast."""
    if plan.precision.value is Precision.FP32:
        return "adapters on fp32 weights were not traced: nothing asks for bf16 or fp16"
    rank = _rank(plan, texts)
    bytes_each = 2 if plan.fact("adapter_bytes").value == 2 or plan.precision.value in HALF else 4
    attention = with_adapters(denoiser, rank, ATTENTION_16_BITS if bytes_each == 2 else ATTENTION, bytes_each)
    everywhere = with_adapters(denoiser, rank, ALL_LINEAR, bytes_each)
    if not is_traced(denoiser, ALL_LINEAR) and plan.fact("adapter_targets").value != "attention":
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
    vae, encoders = (
        autoencoder(first, _bytes(plan, "vae_bytes")),
        text_encoders(first, _bytes(plan, "text_encoder_bytes")),
    )
    keeps_vae, keeps_text = plan.fact("vae_resident").value, plan.fact("text_encoders_resident").value
    if plan.fact("text_encoders_trained").value and first.adapters is None:
        keeps_text, encoders = True, tuple(one._replace(trained=True) for one in encoders)
        texts.append("text encoders train too; what they keep for backward is left out")
    company = given + ((vae,) if keeps_vae in (None, True) else ())
    small = tuple(one for one in encoders if "clip" in one.name)
    company += encoders if keeps_text else small if keeps_text is None else ()
    if vae in company:
        found = [_encoding(plan, each, vae) for each in found]
    others = [each._replace(beside=company) for each in found]
    if keeps_text is None and len(small) < len(encoders):
        texts.append("CLIP text encoders beside it, larger ones' outputs computed beforehand; the upper bound has all")
        others.append(found[-1]._replace(beside=(*given, *((vae,) if keeps_vae is not False else ()), *encoders)))
    elif keeps_text is None and encoders:
        texts.append("text encoders beside it in 16 bits; the lower bound is without")
        others.append(first._replace(beside=(*given, *((vae,) if keeps_vae is not False else ()))))
    if keeps_vae is None:
        texts.append("VAE beside it in 16 bits; the lower bound is without")
        others.append(first._replace(beside=tuple(one for one in company if one is not vae), encoding=0))
    return Resolution(others[0], tuple(others[1:]), tuple(texts))


def _bytes(plan: TrainingPlan, name: str) -> float:
    """Bytes of a weight that stands beside the denoiser; 16 bits where nobody says."""
    given = plan.fact(name).value
    return float(given) if isinstance(given, (int, float)) else 2.0


_ENCODER_TENSORS = 5 * 128
"""Elements a pixel that the KL autoencoders hold at once where they encode: five tensors of 128 channels, of the whole
picture (traced: diffusers 0.42 ``AutoencoderKL.encode``, exact at three sizes in 16 and 32 bits)."""


def _encoding(plan: TrainingPlan, denoiser: Denoiser, vae: Beside) -> Denoiser:
    if not vae.name.startswith("VAE kl-") or is_video(denoiser):
        return denoiser
    chunk = plan.fact("vae_batch").value
    amount = _ENCODER_TENSORS * vae.bytes_each
    return denoiser._replace(encoding=amount, encoded=chunk if isinstance(chunk, int) else None)
