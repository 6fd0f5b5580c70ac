"""Which family reads which ``model_type``, imported when a config of the family is met."""

from __future__ import annotations

from importlib import import_module

from vramlint.memory.networks.knowledge import Config, Family, Network

_MODULES = {
    **dict.fromkeys(("t5", "mt5", "umt5"), "t5"),
    **dict.fromkeys(("bart", "mbart", "pegasus", "marian", "m2m_100", "whisper"), "bart"),
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra", "albert", "distilbert"), "text"),
    **dict.fromkeys(("vit", "deit", "dinov2", "dinov2_with_registers", "clip"), "vision"),
}
"""The module of each type."""


def network_from_config(name: str, data: Config, read_in: str) -> Network | None:
    """The model that a ``config.json``'s ``data`` describes; None for types and options that are not worked out."""
    module = _MODULES.get(str(data.get("model_type")))
    if module is None:
        return None
    family: Family | None = import_module(f"vramlint.memory.networks.{module}").family_of(data)
    if family is None:
        return None
    found = Network(name, data, family, read_in)
    try:
        return found if found.parameters else None
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None  # a size that the family needs is missing or no number
