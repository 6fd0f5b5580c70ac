"""Properties of estimates of language models over a grid of settings: no crash, and more never takes less.

What a setting does is held elsewhere; here any combination that a config can spell must give an answer in order, or
UNKNOWN with its reason.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.memory.support import plan
from vramlint.hardware import Target, find_gpu
from vramlint.memory import Estimate, estimate
from vramlint.memory.adapters import METHODS
from vramlint.plan import Precision

MODELS = (
    "meta-llama/Llama-3.2-1B", "Qwen/Qwen2.5-7B", "google/gemma-2-2b", "microsoft/phi-2", "EleutherAI/pythia-1b",
    "facebook/opt-1.3b", "openai-community/gpt2", "tiiuae/falcon-7b", "mistralai/Mixtral-8x7B-v0.1",
    "deepseek-ai/DeepSeek-V2-Lite", "Qwen/Qwen3-30B-A3B", "openai/gpt-oss-20b", "Qwen/Qwen2.5-VL-7B-Instruct",
)  # fmt: skip
OPTIMIZERS = (
    None, "adamw_torch", "adamw_torch_fused", "adamw_bnb_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "adafactor",
    "lion", "lion_8bit", "sgd", "muon", "ademamix", "schedule_free_adamw", "torchao.optim.AdamW4bit", "galore_adamw",
    "apollo_adamw", "soap", "adam_mini", "something",
)  # fmt: skip
IMPLEMENTATIONS = (
    "transformers",
    "litgpt",
    "litgpt with bitsandbytes 0.42",
    "torchtune",
    "megatron",
    "unsloth",
    "torchtitan",
)
SHARDING = (None, "none", "ddp", "zero1", "zero2", "zero3", "fsdp")

RUNS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(MODELS),
        "micro_batch": st.sampled_from((1, 2, 3, 8)),
        "seq_len": st.sampled_from((1, 7, 512, 1536, 8192, 131_072)),
        "precision": st.sampled_from((None, *Precision)),
        "optimizer": st.sampled_from(OPTIMIZERS),
        "grad_checkpointing": st.sampled_from((None, False, True)),
        "accumulation": st.sampled_from((None, 1, 8)),
        "sharding": st.sampled_from(SHARDING),
        "world_size": st.sampled_from((None, 1, 8, 64)),
        "adapter": st.sampled_from((None, "none", "lora", "qlora", *METHODS)),
        "adapter_rank": st.sampled_from((None, 1, 64)),
        "ema": st.sampled_from((None, False, True)),
    }
)
SWITCHES = (
    "double_quantization", "fused_loss", "chunked_loss", "compile", "activation_offload", "optimizer_in_backward",
    "low_precision_weights", "sharded_accumulation", "offload_optimizer", "offload_parameters", "cpu_offload",
    "longest_sample", "deterministic", "sequence_parallel", "overlap_comm",
)  # fmt: skip
EXTRA = st.fixed_dictionaries(
    {"implementation": st.sampled_from(IMPLEMENTATIONS)},
    optional={
        **dict.fromkeys(SWITCHES, st.booleans()),
        "packing": st.sampled_from((None, False, True)),
        "preference": st.just("llamafactory dpo"),  # logits in fp32 whoever shards
        "adapter_targets": st.sampled_from(
            ("all-linear", ("q_proj", "v_proj"), ("c_attn",), ("lm_head",), ("nothing",))
        ),
        "adapter_dropout": st.sampled_from((0.0, 0.1)),
        "trained_parameters": st.sampled_from((1, 10_000_000)),
        "virtual_tokens": st.sampled_from((0, 100)),
        "tensor_parallel": st.sampled_from((1, 2, 8)),
        "pipeline_parallel": st.sampled_from((1, 4)),
        "context_parallel": st.sampled_from((1, 2)),
        "reduce_bucket": st.sampled_from(("auto", 0, 5_000_000)),
    },
)


def found(run: dict[str, Any], extra: dict[str, Any], **changes: Any) -> Estimate:
    run = {**run, **{key: value for key, value in changes.items() if key in run}}
    extra = {**extra, **{key: value for key, value in changes.items() if key not in run}}
    degrees = [extra.get(f"{kind}_parallel", 1) for kind in ("tensor", "pipeline", "context")]
    shared = degrees[0] * degrees[1] * degrees[2]
    if shared > 1:
        extra = {**extra, "model_parallel": shared}
    ranks = run["world_size"]
    given = {key: value for key, value in run.items() if value is not None}
    if ranks is not None:
        given["data_parallel"] = max(1, ranks // shared)
    return estimate(plan({key: value for key, value in extra.items() if value is not None}, **given), CARD)


CARD = Target(find_gpu("h100-80gb"))


@given(RUNS, EXTRA)
@settings(max_examples=150, deadline=None)
def test_every_combination_is_answered_in_order_or_unknown_with_its_reason(
    run: dict[str, Any], extra: dict[str, Any]
) -> None:
    answer = found(run, extra)
    if answer.allocated is None:
        assert answer.unknown_because
        return
    assert answer.reserved is not None
    assert answer.device is not None
    for each in (answer.allocated, answer.reserved, answer.device):
        assert 0 <= each.low <= each.value <= each.high
    assert answer.allocated.value <= answer.reserved.value <= answer.device.value
    assert answer.phase
    assert all(part.bytes > 0 and part.origin for part in answer.components)
    outside = {"allocator slack", "CUDA context"}
    inside = sum(part.bytes for part in answer.components if part.name not in outside and "paged" not in part.name)
    assert inside == pytest.approx(answer.allocated.value, abs=64)


MORE = (
    {"micro_batch": 16}, {"seq_len": 262_144}, {"grad_checkpointing": False}, {"ema": True},
    {"model": "Qwen/Qwen2.5-72B"},
)  # fmt: skip
LESS = (
    {"micro_batch": 1}, {"seq_len": 1}, {"grad_checkpointing": True}, {"offload_optimizer": True}, {"fused_loss": True},
    {"cpu_offload": True, "sharding": "fsdp"},
)  # fmt: skip
NOISE = 1.002


@given(RUNS, EXTRA, st.sampled_from([(True, each) for each in MORE] + [(False, each) for each in LESS]))
@settings(max_examples=150, deadline=None)
def test_more_work_never_takes_less(
    run: dict[str, Any], extra: dict[str, Any], change: tuple[bool, dict[str, Any]]
) -> None:
    more, changes = change
    before, after = found(run, extra), found(run, extra, **changes)
    if before.allocated is None or after.allocated is None:
        return
    if "model" in changes and ("gemma-2" in run["model"] or "gpt-oss" in run["model"]):
        return  # attention in the open: its scores grow with the square of the length
    if "Mixtral" in run["model"] and "model" in changes and run["adapter"] == "qlora":
        return  # transformers 5 quantises linear layers alone: its experts stay in 16 bits
    small, large = (before.allocated, after.allocated) if more else (after.allocated, before.allocated)
    assert small.value <= large.value * NOISE, (changes, small, large)


@given(RUNS, EXTRA, st.sampled_from((("zero1", "zero2"), ("zero2", "zero3"), ("fsdp", "fsdp"))))
@settings(max_examples=150, deadline=None)
def test_more_ranks_and_higher_stages_never_take_more(
    run: dict[str, Any], extra: dict[str, Any], kinds: tuple[str, str]
) -> None:
    run = {**run, "micro_batch": 1, "seq_len": 512}
    quiet = {**extra, "contiguous_gradients": False, "implementation": "transformers"}
    # At least two data-parallel ranks: FSDP over one has nothing to gather.
    few, many = (found(run, quiet, world_size=ranks, sharding=kinds[0]) for ranks in (128, 1024))
    if few.allocated is not None and many.allocated is not None:
        assert many.allocated.value <= few.allocated.value * NOISE
