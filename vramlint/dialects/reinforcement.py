"""What GRPO and RLOO say for the estimator, in TRL and in those who pass its arguments on (axolotl, unsloth).

Completions are written before the steps that learn from them: by the trained model itself (``generate``), by vLLM in
the same process (``colocate``) or on other cards (``server``).

Sources: TRL 1.16 ``trainer/grpo_config.py`` and ``rloo_config.py``; defaults of 0.16 to 1.16 compared: ``vllm_mode`` is
``server`` up to 0.27 and ``colocate`` from 1.0 on, ``max_completion_length`` 256 and from 1.10 on 512, ``beta`` 0.04 up
to 0.17, then 0.0 (RLOO 0.05); prompts are cut at 512 tokens up to 0.24 and not at all from 1.0 on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from vramlint.dialects.draft import Draft
from vramlint.plan import Fact, default, derived, unknown

PROMPT_TOKENS = 512
"""Where prompts were cut by default up to TRL 0.24: assumed where nothing says how long they are."""

_SHARE = 0.3
"""``vllm_gpu_memory_utilization`` by default, TRL 0.19 to 1.16."""

_SOURCE = "TRL 1.16"


class Sampling(NamedTuple):
    """The settings that say who writes how many tokens; each None where it is not spelled."""

    prompt: int | None
    completion: int | None
    beta: float | None
    steps_per_generation: int | None
    generation_batch: int | None
    use_vllm: bool | None
    mode: str | None
    share: float | None
    sleeps: bool | None


def sampling_facts(draft: Draft, trainer: str, given: Sampling) -> None:
    """Length, reference, and who writes."""
    completion, prompt = given.completion or 512, given.prompt or PROMPT_TOKENS
    said = "" if given.prompt else ", assumed: no limit is spelled"
    note = f"prompt {prompt}{said} + completion {completion}"
    if not draft.plan.seq_len.known or not draft.plan.seq_len.spelled:
        draft.put("seq_len", derived(prompt + completion, note))
    draft.put("written_lengths", derived(value=True, note="the policy decides how long its completions are"))
    draft.put("completion_length", derived(completion, note))
    beta = given.beta if given.beta is not None else (0.05 if trainer == "rloo" else 0.0)
    draft.put("reference_model", derived(bool(beta), f"beta {beta:g}"))
    if draft.plan.fact("fast_inference").value:
        draft.put("model", unknown("unsloth's vLLM holds the trained model's own weights, which is not worked out"))
        return
    _writer(draft, given)


def _writer(draft: Draft, given: Sampling) -> None:
    if not given.use_vllm:
        draft.put("generated_sequences", _generated(draft, given))
        return
    mode = given.mode or "colocate"
    if mode == "server":
        return
    share = given.share if given.share is not None else _SHARE
    engine = ("vLLM", share, bool(given.sleeps), False, given.mode is not None)
    note = "" if given.mode else f"vllm_mode colocate, default of {_SOURCE}; server up to 0.27"
    draft.put("rollout_engine", derived(engine, note))


def _generated(draft: Draft, given: Sampling) -> Fact[Any]:
    """Sequences of a rank that are written at a time: a whole generation batch (``_prepare_inputs``)."""
    micro, ranks = draft.plan.micro_batch.value, draft.plan.world_size.value or 1
    if micro is None:
        return default(0, "the batch is not known")
    steps = given.steps_per_generation or draft.plan.accumulation.value or 1
    count = given.generation_batch // ranks if given.generation_batch else micro * steps
    return derived(count, f"{micro} x {steps} steps of a generation")
