"""Facts of a detectron2 config that only the memory of a run depends on: the model's tree and the padded batch.

Sources: detectron2 2026-06 ``config/config.py`` (``_BASE_`` merging; text that reads as a Python literal is one),
``modeling/backbone/fpn.py`` (size_divisibility: the coarsest stride of the bottom-up network, 32),
``structures/image_list.py`` (a batch is padded to its largest image), ``solver/build.py`` (SGD with momentum).
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from vramlint.dialects.draft import Draft
from vramlint.dialects.model_tree import model_tree
from vramlint.dialects.places import Source
from vramlint.dialects.reading import plain_value
from vramlint.plan import Fact, ImageSize, ModelTree, Origin, default, derived, unknown
from vramlint.sources.model import Mapping

FRAMEWORK = "detectron2"
_FPN_DIVISOR = 32


def memory_facts(draft: Draft, sources: Sequence[Source], *, complete: bool, source: str) -> None:
    """Put the facts into the plan. ``sources`` are the words of the launch line and the chain, nearest first."""
    if not complete:
        missing: Fact[Any] = unknown("a _BASE_ file that is not at hand may say")
        draft.put("architecture", missing)
        draft.put("batch_shape", missing)
        return
    tree = merged_model(sources)
    draft.put("architecture", Fact(tree, Origin.FILE))
    draft.put("batch_shape", _batch_shape(draft.plan.image_size, tree))
    crop = next((place for each in sources if (place := each.find("INPUT.CROP.ENABLED")) is not None), None)
    kind = next((place for each in sources if (place := each.find("INPUT.CROP.TYPE")) is not None), None)
    absolute = kind is not None and str(plain_value(kind.node)) == "absolute"
    cropped = crop is not None and plain_value(crop.node) is True and absolute
    draft.put("shapes_vary", derived(not cropped, "images keep their ratio" if not cropped else "fixed crops"))
    draft.put("grad_checkpointing", default(value=False, note=f"{source} has none"))
    draft.put("ema", default(value=False, note=f"{source} has none of its own"))
    spelled = next((place for each in sources if (place := each.find("SOLVER.OPTIMIZER")) is not None), None)
    named = plain_value(spelled.node) if spelled is not None else None
    # Names are the registry's own spellings: ADAM, ADAMW, SGD (projects/Panoptic-DeepLab/train_net.py).
    draft.put("optimizer", default("SGD", f"default of {source}") if named is None else Fact(str(named), Origin.FILE))


def merged_model(sources: Sequence[Source]) -> ModelTree:
    """The ``MODEL`` section over all files, the first of ``sources`` winning."""
    tree = ModelTree(_framework=FRAMEWORK, _scope=FRAMEWORK)
    for source in reversed(sources):
        section = source.mapping.get("MODEL")
        if isinstance(section, Mapping):
            _merge(tree, _literal(model_tree(section, FRAMEWORK, FRAMEWORK)))
        for entry in source.mapping.entries:
            if entry.key.startswith("MODEL."):
                _set(tree, entry.key.split(".")[1:], _literal(plain_value(entry.value)))
    # config/defaults.py: META_ARCHITECTURE is GeneralizedRCNN.
    tree["type"] = str(tree.get("META_ARCHITECTURE", "GeneralizedRCNN"))
    return tree


def _merge(into: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        below = into.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            _merge(below, value)
        else:
            into[key] = value


def _set(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        found = tree.setdefault(key, {})
        if not isinstance(found, dict):
            return
        tree = found
    tree[path[-1]] = value


def _literal(value: Any) -> Any:
    """Text that reads as a Python literal is that literal, tuples as lists."""
    if isinstance(value, dict):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_literal(item) for item in value]
    if not isinstance(value, str) or value[:1] not in "([-0123456789TFN":
        return value
    try:
        found = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
    return _literal(found) if isinstance(found, (list, tuple)) else found


def _batch_shape(size: Fact[ImageSize], tree: ModelTree) -> Fact[ImageSize]:
    if size.value is None:
        return unknown(size.note)
    backbone = tree.get("BACKBONE")
    name = str(backbone.get("NAME", "")) if isinstance(backbone, dict) else ""
    if "fpn" not in name.lower():
        return derived(size.value, "the largest size, not padded further")
    height, width = (-(-side // _FPN_DIVISOR) * _FPN_DIVISOR for side in size.value)
    return derived(ImageSize(height, width), f"the largest size, {size.value}, padded to multiples of {_FPN_DIVISOR}")
