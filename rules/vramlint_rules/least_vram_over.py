"""The run does not fit the card, however small its batch and short its samples.

Why: weights, gradients and optimizer states take what they take before the first token is counted. Where a config
leaves the batch or the sequence length open there is no estimate of the peak, but what one sample of one token takes
is known, and its lower bound is compared with what the driver leaves to one process.

Example: a 7B model in bf16 on an 8 GB card with ``max_seq_len: null``.

Fix safety: nothing to write: what helps (adapters, smaller optimizer states, sharding, a smaller model) changes the
experiment or the launch.

Sources: the estimator, ``docs/memory.md``; optimizer states: Rajbhandari et al., arXiv 1910.02054.
"""

from collections.abc import Iterator

from vramlint.rule import GIB, Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._repairs import offloaded_bytes
from vramlint_rules._words import memory_fact, size

RULE = RuleInfo(
    code="VL415",
    name="least-vram-over",
    summary="the run does not fit the card at any batch and length",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=None,
    sources=("https://arxiv.org/abs/1910.02054", "docs/memory.md"),
    needs_gpu=True,
)

_CONFIG = """\
# tune run full_finetune_single_device --config 7B_full_single_device.yaml
tokenizer:
  _component_: torchtune.models.qwen2.qwen2_tokenizer
  path: Qwen2-7B-Instruct/vocab.json
  max_seq_len: null
dataset:
  _component_: torchtune.datasets.alpaca_cleaned_dataset
model:
  _component_: torchtune.models.qwen2.qwen2_7b
checkpointer:
  _component_: torchtune.training.FullModelHFCheckpointer
batch_size: 2
epochs: 1
optimizer:
  _component_: {}
optimizer_in_bwd: true
gradient_accumulation_steps: 1
enable_activation_checkpointing: true
device: cuda
dtype: bf16
"""
VALID = (
    Case("train.yaml", _CONFIG.format("bitsandbytes.optim.PagedAdamW"), gpu="rtx3090", gpus=1),
    Case("train.yaml", _CONFIG.format("torch.optim.AdamW"), gpu="a100-80gb", gpus=1),
)
INVALID = (
    Case("train.yaml", _CONFIG.format("bitsandbytes.optim.PagedAdamW"), gpu="rtx3070", gpus=1),
    Case("train.yaml", _CONFIG.format("torch.optim.AdamW"), gpu="rtx3090", gpus=1),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare what one sample of one token takes with the usable memory of the card."""
    estimate = run.estimate()
    least, usable = estimate.least_bytes, estimate.usable_bytes
    if least is None or usable is None or _may_be_sharded(run):
        return
    if least - offloaded_bytes(run.plan, estimate) <= usable:
        return
    yield Verdict(
        memory_fact(run.plan),
        f"needs at least {size(least)} of {usable / GIB:.1f} usable on {estimate.gpu} before the first token is "
        f"counted ({estimate.unknown_because}): out of memory",
        label="does not fit",
        help="Use a card with more memory, smaller optimizer states, adapters (LoRA), sharding or a smaller model",
    )


def _may_be_sharded(run: Run) -> bool:
    """A launch that is not at hand may share the states out, unless there is one rank."""
    return run.plan.sharding.value is None and run.plan.world_size.value != 1
