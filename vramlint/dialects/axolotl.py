"""axolotl: one YAML a run.

The micro batch is per rank; ranks that share a model (tensor, context parallel) do not multiply it::

    effective batch = micro_batch_size x gradient_accumulation_steps x ranks / (tensor x context parallel)

Example (``qlora.yml``):

```yaml
base_model: NousResearch/Llama-3.2-1B
datasets:
  - path: teknium/GPT4-LLM-Cleaned
    type: alpaca
load_in_4bit: true
adapter: qlora
lora_r: 32
sequence_len: 2048
sample_packing: true
micro_batch_size: 2
gradient_accumulation_steps: 4
optimizer: adamw_bnb_8bit
bf16: auto
gradient_checkpointing: true
```

```plan gpus=2
micro_batch: 2 file 10
accumulation: 4 file 11
effective_batch: 16 derived
seq_len: 2048 file 8
precision: pure-bf16 file 13
grad_checkpointing: true file 14
adapter: qlora file 6
adapter_rank: 32 file 7
optimizer: adamw_bnb_8bit file 12
model: NousResearch/Llama-3.2-1B file 1
packing: true file 9
```

Sources: axolotl 0.19.0, ``utils/schemas/`` (keys, defaults), ``utils/config/__init__.py#normalize_config`` (weights are
loaded in bf16 when ``bf16`` is on; ``batch_size``), ``core/trainers/base.py`` (packing: one row of
``micro_batch_size x sequence_len`` tokens).
"""

from __future__ import annotations

from typing import Any, ClassVar

from vramlint.dialects.agreement import agreed
from vramlint.dialects.draft import Draft
from vramlint.dialects.language import (
    deepspeed_sharding,
    half,
    language_facts,
    offer_keys,
    optimizer_shapes,
    preference,
    product,
    spelled_true,
    torch_prefetch,
)
from vramlint.dialects.launch import world
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.dialects.overrides import launch_sources
from vramlint.dialects.reading import Count, Flag, Natural, Schema, Settings, Text, keys, read_settings
from vramlint.dialects.reinforcement import Sampling, sampling_facts
from vramlint.plan import Fact, Precision, default, derived, unknown
from vramlint.sources.model import Document

NAME = "axolotl"
TITLE = "axolotl"

_SOURCE = "axolotl 0.19.0"


class Config(Schema):
    """The keys that decide batch and memory."""

    source: ClassVar[str] = _SOURCE

    micro_batch: Count | None = keys("micro_batch_size", default=1)
    accumulation: Count | None = keys("gradient_accumulation_steps")
    seq_len: Count | None = keys("sequence_len", default=512)
    optimizer: Text | None = keys("optimizer", default="adamw_torch_fused")
    adapter_rank: Count | None = keys("lora_r")
    model: Text | None = keys("base_model")
    workers_per_rank: Natural | None = keys("dataloader_num_workers")
    prefetch_factor: Natural | None = keys("dataloader_prefetch_factor")
    pin_memory: Flag | None = keys("dataloader_pin_memory")
    learning_rate: float | None = keys("learning_rate")
    epochs: float | None = keys("num_epochs")
    max_steps: int | None = keys("max_steps")
    eval_batch: Count | None = keys("eval_batch_size")

    optim_args: Any = keys("optim_args")
    optim_targets: Any = keys("optim_target_modules")
    batch_size: Count | None = keys("batch_size")
    grad_checkpointing: Any = keys(
        "gradient_checkpointing",
        "activation_checkpointing",
        "fsdp_config.activation_checkpointing",
        "fsdp_config.fsdp_activation_checkpointing",
        default=False,
    )
    fused_loss: Flag | None = keys("liger_fused_linear_cross_entropy", "cut_cross_entropy", "chunked_cross_entropy")
    activation_offload: Any = keys("activation_offloading")
    plugins: Any = keys("plugins")
    bf16: Any = keys("bf16")
    fp16: Any = keys("fp16")
    bfloat16: Any = keys("bfloat16")
    adapter: Text | None = keys("adapter")
    trainer: Text | None = keys("rl")
    reward: Flag | None = keys("reward_model")
    process_reward: Flag | None = keys("process_reward_model")
    beta: float | None = keys("trl.beta", "rl_beta")
    completion: Count | None = keys("trl.max_completion_length")
    generations: Count | None = keys("trl.num_generations")
    generation_batch: Count | None = keys("trl.generation_batch_size")
    use_vllm: Flag | None = keys("trl.use_vllm")
    vllm_mode: Text | None = keys("trl.vllm_mode")
    vllm_share: float | None = keys("vllm.gpu_memory_utilization")
    vllm_sleeps: Flag | None = keys("trl.vllm_enable_sleep_mode")
    precomputed: Flag | None = keys("precompute_ref_log_probs")
    packing: Flag | None = keys("sample_packing")
    adapter_targets: Any = keys("lora_target_modules")
    target_linear: Flag | None = keys("lora_target_linear")
    adapter_dropout: float | None = keys("lora_dropout")
    quantised_experts: Flag | None = keys("quantize_moe_experts")
    tensor_parallel: Count | None = keys("tensor_parallel_size")
    context_parallel: Count | None = keys("context_parallel_size", "sequence_parallel_degree")
    deepspeed: Any = keys("deepspeed")
    fsdp: Any = keys("fsdp")
    fsdp_config: Any = keys("fsdp_config")


_DIRECT = tuple(name for name in list(Config.model_fields)[:13] if name != "model")
_INSERTABLE = {
    "accumulation": "gradient_accumulation_steps",
    "workers_per_rank": "dataloader_num_workers",
    "prefetch_factor": "dataloader_prefetch_factor",
    "pin_memory": "dataloader_pin_memory",
}


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one YAML."""
    sources = launch_sources(document, context)
    settings = read_settings(Config, sources)
    draft = Draft(claim, document)
    draft.fill(settings, (*_DIRECT, "model"))
    _batch(draft, settings)
    _precision(draft, settings, context)
    _checkpointing(draft, settings)
    _adapter(draft, settings)
    if not deepspeed_sharding(draft, settings.places.get("deepspeed"), context) and (
        settings.values.fsdp or settings.values.fsdp_config
    ):
        draft.put("sharding", derived("fsdp", "fsdp is configured"))
    draft.put("packing", settings.fact("packing"))
    optimizer_shapes(draft, settings.fact("optim_args"), settings.fact("optim_targets"))
    language_facts(draft, "transformers")
    _preferences(draft, settings)
    _kernels(draft, settings)
    torch_prefetch(draft)
    offer_keys(draft, document, _INSERTABLE, after="micro_batch_size")
    shared = product(settings.values.tensor_parallel, settings.values.context_parallel)
    reading = draft.close(world(document, None, context), model_parallel=shared)
    return agreed(reading, claim, settings, sources, context)


_GROUPS = ("grpo", "gdpo")
_VLLM_SHARE = 0.9
"""``vllm.gpu_memory_utilization`` by default (``utils/schemas/vllm.py``)."""


def _preferences(draft: Draft, settings: Settings[Config]) -> None:
    """TRL's trainers (``core/builders/rl.py``): SimPO is its CPO; GRPO takes the arguments of the ``trl`` section."""
    values = settings.values
    trainer = values.trainer or ("reward" if values.reward else "prm" if values.process_reward else None)
    if trainer is None:
        return
    if trainer not in _GROUPS:
        overruled = derived(value=False, note="precompute_ref_log_probs") if values.precomputed else None
        preference(draft, trainer, overruled)
        return
    preference(draft, "grpo")
    draft.put("batch_unit", derived("completions", "GRPO counts completions"))
    if values.generations:
        draft.put("responses_per_prompt", settings.fact("generations"))
    # vLLM's share is handed on in this mode alone (``core/trainers/grpo/__init__.py``).
    share = (values.vllm_share or _VLLM_SHARE) if values.vllm_mode == "colocate" else None
    given = Sampling(
        None, values.completion, values.beta, None, values.generation_batch, values.use_vllm, values.vllm_mode,
        share, values.vllm_sleeps,
    )  # fmt: skip
    sampling_facts(draft, "grpo", given)


def _batch(draft: Draft, settings: Settings[Config]) -> None:
    """``batch_size`` is micro batch x accumulation and gives whichever of the two is missing."""
    values = settings.values
    if settings.spelled("accumulation"):
        return
    if values.batch_size is None:
        draft.put("accumulation", default(1, f"default of {_SOURCE}"))
        return
    micro = values.micro_batch or 1
    if values.batch_size % micro:
        draft.put("accumulation", unknown(f"batch_size {values.batch_size} is no multiple of micro_batch_size {micro}"))
        return
    draft.put("accumulation", derived(values.batch_size // micro, f"batch_size {values.batch_size} / {micro}"))


def _precision(draft: Draft, settings: Settings[Config], context: Context) -> None:
    """``bf16: auto`` is bf16 where the card has it, else fp16. Weights are loaded in the same type."""
    for name, kind in (("bf16", Precision.PURE_BF16), ("bfloat16", Precision.PURE_BF16), ("fp16", Precision.FP16)):
        if not spelled_true(settings, name):
            continue
        fact = settings.fact(name)
        on_card = half(context) if str(fact.value).lower() == "auto" else Precision.BF16
        meant = Precision.FP16 if on_card is Precision.FP16 else kind
        draft.put("precision", Fact(meant, fact.origin, fact.location, f"weights and compute, {_SOURCE}"))
        return
    unread = next((settings.fact(name) for name in ("bf16", "fp16") if name in settings.doubts), None)
    draft.put("precision", unread or default(Precision.FP32, f"default of {_SOURCE}"))


def _checkpointing(draft: Draft, settings: Settings[Config]) -> None:
    """True, or ``offload`` and ``offload_disk``, which also move the kept activations away."""
    fact = settings.fact("grad_checkpointing")
    if not fact.known:
        draft.put("grad_checkpointing", fact)
        return
    on = spelled_true(settings, "grad_checkpointing")
    draft.put("grad_checkpointing", Fact(on, fact.origin, fact.location, fact.note))
    if "grad_checkpointing" in settings.places:
        draft.offer("grad_checkpointing", settings.places["grad_checkpointing"])
    else:
        offer_keys(draft, draft.document, {"grad_checkpointing": "gradient_checkpointing"}, after="bf16")


def _kernels(draft: Draft, settings: Settings[Config]) -> None:
    """Losses that never hold all logits, and activations that wait in host memory: the estimator has to know."""
    plugins = settings.values.plugins
    cut = isinstance(plugins, list) and any("CutCrossEntropy" in str(plugin) for plugin in plugins)
    if settings.values.fused_loss or cut:
        draft.put("fused_loss", derived(value=True, note="a fused cross entropy holds no full logits"))
    words = (settings.values.grad_checkpointing, settings.values.activation_offload)
    if "offload" in str(words[0]) or spelled_true(settings, "activation_offload"):
        draft.put("activation_offload", derived(value=True, note="checkpoints wait in host memory"))


def _adapter(draft: Draft, settings: Settings[Config]) -> None:
    fact = settings.fact("adapter")
    if fact.value not in ("lora", "qlora"):
        draft.put("adapter", fact if fact.value else derived("none", "no adapter: all weights are trained"))
        return
    draft.put("adapter", fact)
    if fact.value == "qlora":
        draft.put("double_quantization", default(value=True, note=f"loaders/model.py of {_SOURCE}"))
    if settings.values.target_linear:
        draft.put("adapter_targets", Fact("all-linear", settings.fact("target_linear").origin))
    elif settings.values.adapter_targets:
        draft.put("adapter_targets", settings.fact("adapter_targets"))
    draft.put("adapter_dropout", settings.fact("adapter_dropout"))
    draft.put("quantised_experts", settings.fact("quantised_experts"))
