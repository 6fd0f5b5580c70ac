"""How the values of further facts are read: None where a value says nothing; ValueError where it is not readable."""

from __future__ import annotations

import re
from typing import Any

from vramlint.dialects.values import as_count, as_flag, as_text


def whole(value: Any) -> int | None:
    """A count of at least 0; shares (``warmup: 0.1``) and lists say nothing here."""
    number = as_count(value)
    if isinstance(number, float) and number.is_integer() and number >= 1:
        number = int(number)
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else None


def listed(value: Any) -> tuple[str, ...]:
    """Names in a list, or in one text with commas."""
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(str(part).strip() for part in parts)


def elements(value: Any) -> int | str | None:
    """A number of elements, also spelled ``5e8``; ``auto`` is left to who knows the model's width."""
    return "auto" if value == "auto" else whole(float(value) if isinstance(value, str) else value)


def number(value: Any) -> float | None:
    """A number, also one that YAML 1.1 takes for a text (``1e-4``); the first of a list where all are the same."""
    if isinstance(value, list) and len(set(map(str, value))) == 1:
        value = value[0]
    if isinstance(value, (bool, list, dict)):
        return None
    return float(value)


def offloaded(value: Any) -> bool:
    """DeepSpeed's offload device: ``cpu`` and ``nvme`` are somewhere else, ``none`` is not."""
    word = str(value).lower()
    if word in ("cpu", "nvme", "true"):
        return True
    if word in ("none", "false"):
        return False
    raise ValueError("no device")


def flash(value: Any) -> str | None:
    """A switch for FlashAttention 2: on names it, off says nothing of what runs instead."""
    return "flash_attention_2" if as_flag(value) else None


def xformers(value: Any) -> str | None:
    """A switch for xformers' memory-efficient attention."""
    return "xformers" if as_flag(value) else None


def scaled_dot_product(value: Any) -> str | None:
    """A switch for torch's scaled_dot_product_attention."""
    return "sdpa" if as_flag(value) else None


def attention(value: Any) -> str | None:
    """The kernel in transformers' words."""
    word = as_text(value).lower()
    return _KERNELS.get(word, word)


_KERNELS = {"fa2": "flash_attention_2", "fa3": "flash_attention_3", "disabled": "eager", "flash": "flash_attention_2"}
_KERNELS |= {"auto": None, "none": None, "torch": "eager"}  # type: ignore[dict-item]


def eight_bits(value: Any) -> str | None:
    """bitsandbytes' LLM.int8, where it is switched on."""
    return "int8" if as_flag(value) else None


def capped(value: Any) -> int | None:
    """The first ``n`` samples of a split: ``train[:100]`` is 100; shares are unknown."""
    found = re.search(r"\[:\s*(\d+)\s*\]$", as_text(value))
    return int(found[1]) if found else None


def batches(value: Any) -> int | None:
    """Composer's ``100ba``: batches, which are optimizer steps; other units say nothing here."""
    found = re.fullmatch(r"(\d+)ba", str(value).strip())
    return int(found[1]) if found else None


def static_scale(value: Any) -> float | None:
    """A fixed loss scale; 0 and ``dynamic`` mean that it adapts."""
    if str(value).lower() == "dynamic":
        return 0.0
    return number(value)


def switch(value: Any) -> bool | None:
    """A switch that may also hold a mode in words, which counts as on."""
    if isinstance(value, dict):
        return None
    try:
        return as_flag(value)
    except ValueError:
        return bool(as_text(value))


def objective(value: Any) -> str | None:
    """What is learnt, where that needs more than one forward pass of one model: preferences, rewards, rollouts."""
    word = as_text(value).rsplit(".", 1)[-1].lower()
    found = re.search(r"dpo|grpo|gdpo|ipo|kto|orpo|simpo|ppo|rm$|ebft|reward", word)
    return found[0] if found else None


def searched(value: Any) -> bool | None:
    """Ultralytics and YOLOv5 search for the batch at -1 and at a share of the card."""
    size = number(value)
    return None if size is None else size < 1


def hybrid(value: Any) -> bool | None:
    """FSDP's strategy: ``HYBRID_SHARD`` and its kin shard inside a machine and replicate among machines; by number as
    torch's ``ShardingStrategy`` counts them (accelerate 1.15 ``utils/constants.py`` ``FSDP_SHARDING_STRATEGY``)."""
    words = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return True if "hybrid" in words.lower() or words in ("4", "5") else None
