"""What a plan makes of a network: whole or behind adapters, its base quantised or not.

Reads of ``plan.extra``: ``adapter_targets``, ``adapter_method``, ``adapter_dropout``, ``base_quantization``,
``attention``, ``frozen_parts``, ``head`` (``MaskedLM``, …), ``gathered_features`` and ``local_loss`` (CLIP), and
``upcast_weights`` (whether a quantised model's other weights are made fp32), ``generation`` (samples, tokens and
beams of an evaluation that generates).
"""

from __future__ import annotations

import re

from vramlint.memory.knowledge import Resolution
from vramlint.memory.networks.knowledge import Network
from vramlint.memory.networks.stepping import Lora
from vramlint.memory.states import NF4_BYTES
from vramlint.plan import TrainingPlan

_BASE_BYTES = {"int8": 1.0, "nf4": NF4_BYTES}
_USUAL_RANK = 8
"""peft's default (0.21 ``tuners/lora/config.py``)."""
_WHOLE = ("none", "full")
_SMALL = {"classifier", "score", "head", "pooler", "qa_outputs", "classification_head"}
"""Modules that peft may train whole beside the adapters and that are small."""


def planned_network(plan: TrainingPlan, network: Network) -> Resolution:
    """The network as the plan trains it; the reason where that is not worked out."""
    texts = [f"transformers' {network.config['model_type']}, {_kernel_words(plan)}"]
    kernel = str(plan.fact("attention").value or "sdpa")
    network = network._replace(config={**network.config, **_told(plan)})
    if network.inputs == "image" and plan.image_size.value is None and network.side:
        texts.append(f"image size unknown: {network.side}x{network.side}, to which the checkpoint's processor resizes")
    generation = plan.fact("generation").value
    if isinstance(generation, tuple) and network.inputs in ("pair", "speech"):
        network = network._replace(generation=generation)
        samples, tokens, beams = generation
        beamed = f" with {beams} beams" if beams > 1 else ""
        texts.append(f"evaluation generates {tokens} tokens for {samples} samples{beamed}, keys and values kept")
    network = network._replace(kernel=_KERNELS.get(kernel, "sdpa"), frozen=_frozen(plan))
    kind = str(plan.fact("adapter_method").value or plan.adapter.value or "none")
    if kind in _WHOLE:
        return Resolution(network, assumptions=tuple(texts))
    if kind not in ("lora", "qlora"):
        return Resolution(None, because=f"the adapter method {kind!r} is not worked out for {network.name}")
    return _adapted(plan, network, kind, texts)


def _told(plan: TrainingPlan) -> dict[str, object]:
    """What the plan says of head, labels and gathered features, beside the checkpoint's config."""
    told: dict[str, object] = {}
    if plan.fact("head").value:
        told["head"] = plan.fact("head").value
    if plan.num_classes.value:
        told["num_labels"] = plan.num_classes.value
    if plan.fact("gathered_features").value:
        told["gathered_ranks"] = plan.data_parallel.value or plan.world_size.value or 1
        told["local_loss"] = bool(plan.fact("local_loss").value)
    return told


_KERNELS = {"eager": "eager", "flash_attention_2": "flash", "flash_attention_3": "flash"}


def _kernel_words(plan: TrainingPlan) -> str:
    kernel = plan.fact("attention").value
    return f"{kernel} attention" if kernel else "attention by torch's fused kernels (transformers 5)"


def _frozen(plan: TrainingPlan) -> tuple[str, ...]:
    value = plan.fact("frozen_parts").value
    return tuple(map(str, value)) if isinstance(value, tuple) else ()


def _adapted(plan: TrainingPlan, network: Network, kind: str, texts: list[str]) -> Resolution:
    saved = {word.rsplit(".", 1)[-1] for word in _words(plan.fact("modules_to_save").value)} - _SMALL
    if saved:
        return Resolution(None, because=f"modules trained whole beside adapters ({min(saved)}) are not worked out")
    stored = plan.fact("base_quantization").value or ("nf4" if kind == "qlora" else None)
    if stored is not None and str(stored) not in _BASE_BYTES:
        return Resolution(None, because=f"a base quantised by {stored} is not worked out")
    rank = plan.adapter_rank.value
    if rank is None:
        texts.append(f"LoRA rank unknown: {_USUAL_RANK} assumed, peft's default")
    spelled = plan.fact("adapter_targets").value
    targets = _targets(spelled, network)
    lora = Lora(rank or _USUAL_RANK, targets, 0.1 if plan.fact("adapter_dropout").value else 0.0)
    found = network._replace(lora=lora, base_bytes=None if stored is None else _BASE_BYTES[str(stored)])
    found = found._replace(upcast=plan.fact("upcast_weights").value is not False)
    if not found.trainable:
        return Resolution(None, because=f"{network.name} has no linear layer called {' or '.join(map(str, targets))}")
    if spelled is not None:
        return Resolution(found, assumptions=tuple(texts))
    texts.append(f"LoRA targets unknown: {' and '.join(targets)}, the upper bound is for every linear layer")
    every = found._replace(lora=lora._replace(targets=()))
    return Resolution(found, (every,), tuple(texts))


def _targets(spelled: object, network: Network) -> tuple[str, ...]:
    """Ends of module names; none for every linear layer. A text that is no name is a pattern with names in it."""
    if spelled is None:
        return network.family.query_value
    if spelled in ("all-linear", "all"):
        return ()
    return tuple(word.rsplit(".", 1)[-1] for word in _words(spelled))


def _words(value: object) -> list[str]:
    if isinstance(value, str):
        return re.findall(r"\w+", value)
    return [str(each) for each in value] if isinstance(value, (list, tuple)) else []
