"""What the language-model dialects share: flat files whose keys the framework knows, adapters, ZeRO stages."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping as MappingType
from typing import Any

from vramlint.dialects.draft import Draft
from vramlint.dialects.model import Context
from vramlint.dialects.places import Place, Source, location
from vramlint.dialects.reading import Settings, plain_value
from vramlint.plan import Fact, Precision, default, derived, unknown
from vramlint.sources.model import Document, Mapping, lookup

STAGES = {0: "ddp", 1: "zero1", 2: "zero2", 3: "zero3"}
"""DeepSpeed's ``zero_optimization.stage`` in the plan's words."""


def root_source(document: Document) -> list[Source]:
    """The file's root as the one source of its settings."""
    return [Source(document, document.root)] if isinstance(document.root, Mapping) else []


def torch_prefetch(draft: Draft) -> None:
    """torch's DataLoader prefetches two batches a worker, none without workers."""
    if draft.plan.workers_per_rank.value and not draft.plan.prefetch_factor.spelled:
        draft.put("prefetch_factor", default(2, "default of torch.utils.data.DataLoader with workers"))


def offer_keys(draft: Draft, document: Document, keys: MappingType[str, str], after: str | None = None) -> None:
    """Let repairs add a top-level key for each fact that nothing spells; ``after`` counts where it is there."""
    root = document.root
    if not isinstance(root, Mapping):
        return
    behind = after if after is not None and root.get(after) is not None else None
    for fact, key in keys.items():
        if not draft.plan.fact(fact).spelled:
            draft.offer_insert(fact, document, root, key, after=behind)


def half(context: Context) -> Precision:
    """What ``auto`` comes to: bf16 where the card has it (or is not known), else fp16."""
    gpu = context.target.gpu
    return Precision.BF16 if gpu is None or gpu.has_bf16 else Precision.FP16


def product(*degrees: int | None) -> int:
    """Ranks that share one copy of the model: the product of the model-parallel degrees, absent ones being 1."""
    ranks = 1
    for degree in degrees:
        ranks *= degree or 1
    return ranks


def deepspeed_sharding(draft: Draft, place: Place | None, context: Context) -> bool:
    """Set the sharding from the DeepSpeed file or mapping that ``place`` names; False where it names none."""
    value = plain_value(place.node) if place is not None else None
    if place is None or not value:
        return False
    if isinstance(value, dict):
        found: Any = lookup(place.node, "zero_optimization.stage")
        draft.put("sharding", _stage(place, plain_value(found) if found is not None else 0, ""))
        return True
    config = named_beside(place, str(value), context)
    if config is None:
        draft.put("sharding", unknown(f"the ZeRO stage stands in {value}, which is not at hand", location(place)))
        return True
    draft.use(config)
    stage = lookup(config.root, "zero_optimization.stage")
    draft.put("sharding", _stage(place, plain_value(stage) if stage is not None else 0, config.path))
    return True


def _stage(place: Place, stage: object, path: str) -> Fact[str]:
    kind = STAGES.get(stage) if isinstance(stage, int) and not isinstance(stage, bool) else None
    if kind is None:
        return unknown(f"ZeRO stage {stage} is none that is known", location(place))
    return Fact(kind, place.source.origin, location(place), f"stage {stage} in {path}" if path else "")


def named_beside(place: Place, named: str, context: Context) -> Document | None:
    """The file as named from the project root (where such runs are started), else from the config's own folder."""
    folder = posixpath.dirname(place.source.document.path)
    for path in (posixpath.normpath(named), posixpath.normpath(posixpath.join(folder, named))):
        if not path.startswith(("/", "..")) and (found := context.document(path)) is not None:
            return found
    return None


def language_facts(draft: Draft, implementation: str) -> None:
    """Facts of every decoder run: its task and the codebase that implements it."""
    draft.put("task", derived("causal-lm", "a language model is trained"))
    draft.put("implementation", derived(implementation, f"the models of {implementation}"))


_WORKED_OUT = ("dpo", "ipo", "kto", "bco", "orpo", "cpo", "simpo", "reward", "rm", "prm", "grpo", "rloo", "gkd")
"""Trainers whose step the estimator knows (``vramlint/memory/objectives.py``)."""

_WHY_NOT = {
    "ppo": "PPO holds a policy, its reference, a value and a reward model",
    "online_dpo": "online DPO holds a reward model or a judge beside policy and reference",
    "nash_md": "Nash-MD holds a mixture of two models and a judge",
    "xpo": "XPO holds a judge beside policy and reference",
}


def preference(draft: Draft, trainer: str, reference: Fact[bool] | None = None) -> None:
    """For the estimator: what the trainer compares. ``reference``: whether a frozen copy stands beside the model,
    where the trainer's own rule is overruled. Of a trainer that is not worked out, the model is said to be unknown."""
    if trainer.removeprefix("llamafactory ") not in _WORKED_OUT:
        why = _WHY_NOT.get(trainer, f"{trainer} holds more than one sequence or model a sample")
        draft.put("model", unknown(why, draft.plan.model.location))
        return
    draft.put("preference", derived(trainer, f"the step of {trainer}"))
    if reference is not None:
        draft.put("reference_model", reference)


def optimizer_shapes(draft: Draft, arguments: Fact[Any], targets: Fact[Any]) -> None:
    """For the estimator: the rank of a low-rank optimizer, and the linear layers that it is for.

    transformers 5.24 ``trainer_optimizer.py``: ``optim_args`` is ``rank=64, update_proj_gap=100``, and
    ``optim_target_modules`` a list, or a text that is ``all-linear`` or a pattern.
    """
    text = arguments.value
    pairs = text.items() if isinstance(text, dict) else re.findall(r"(\w+)\s*=\s*([\w.]+)", str(text or ""))
    rank = str(dict(pairs).get("rank", ""))
    if rank.isdecimal() and int(rank):
        draft.put("optimizer_rank", Fact(int(rank), arguments.origin, arguments.location))
    meant = targets.value
    words = [meant] if isinstance(meant, str) else meant
    if isinstance(words, (list, tuple)) and words and words[0] not in ("all", "all-linear", "all_linear"):
        draft.put("optimizer_targets", Fact(tuple(map(str, words)), targets.origin, targets.location))


def low_precision_weights(draft: Draft, note: str) -> None:
    """For the estimator: weights are held or gathered in 16 bits beside fp32 main copies, and nothing autocasts."""
    draft.put("low_precision_weights", derived(value=True, note=note))


def sharded_accumulation(draft: Draft, note: str) -> None:
    """For the estimator: gradients are reduced at every micro step, so that a rank never holds all of them."""
    draft.put("sharded_accumulation", derived(value=True, note=note))


def spelled_true(settings: Settings[Any], name: str) -> bool:
    """Whether a switch is on; words such as ``auto`` and ``full`` count as on."""
    value = getattr(settings.values, name)
    return bool(value) and str(value).lower() not in ("false", "no", "none")
