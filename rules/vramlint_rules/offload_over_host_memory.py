"""What is offloaded does not fit the host's memory.

Why: ZeRO-Offload keeps fp32 weights, two Adam states and the gradients in host memory: 16 bytes a parameter, on every
node its share. When that does not fit, the kernel kills the run while the engine is built.

Example: a 7B model on one node with ``offload_optimizer: cpu`` needs about 105 GiB of host memory.

Fix safety: none. More nodes, more memory or less offload only the author can choose.

Sources: DeepSpeed 0.18 ``runtime/zero/stage_1_and_2.py`` (``estimate_zero2_model_states_mem_needs``: 16 bytes a
parameter with CPU offload, before its factor 1.5 for buffers); Ren et al., ZeRO-Offload, arXiv 2101.06840.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Stability, Verdict
from vramlint_rules._cases import trainer
from vramlint_rules._states import states
from vramlint_rules._words import size

RULE = RuleInfo(
    code="VL307",
    name="offload-over-host-memory",
    summary="what is offloaded does not fit the host's memory",
    severity=Severity.WARNING,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=(
        "https://deepspeed.readthedocs.io/en/latest/memory.html",
        "https://arxiv.org/abs/2101.06840",
    ),
    stability=Stability.PREVIEW,
)

_BYTES_EACH = 16


def _file(model: str) -> str:
    zero = "{zero_optimization: {stage: 2, offload_optimizer: {device: cpu}}}"
    return trainer(model_name_or_path=model, max_length=512, bf16="true", deepspeed=zero)


VALID = (
    Case("sft.yaml", _file("Qwen/Qwen2.5-0.5B"), gpu="a100-80gb", gpus=1, ram_gib=64),
    Case("sft.yaml", _file("Qwen/Qwen2.5-7B"), gpu="a100-80gb", gpus=1),
)
INVALID = (
    Case("sft.yaml", _file("Qwen/Qwen2.5-7B"), gpu="a100-80gb", gpus=1, ram_gib=64),
    Case("sft.yaml", _file("Qwen/Qwen2.5-7B"), gpu="a100-80gb", gpus=4, ram_gib=96),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare 16 bytes a parameter with the memory of the nodes together."""
    plan, ram = run.plan, run.target.host.ram_bytes
    if ram is None or plan.fact("offload_optimizer").value is not True or plan.adapter.value in ("lora", "qlora"):
        return
    found = states(run)
    if found is None or plan.precision.value is None:
        return
    nodes = plan.nodes.value or run.target.nodes or 1
    each = 2 if plan.precision.value.value.startswith("pure") or plan.fact("low_precision_weights").value else 4
    needed = found.weights // each * _BYTES_EACH // nodes
    if needed <= ram:
        return
    yield Verdict(
        "offload_optimizer",
        f"offloaded states take {size(needed)} of {size(ram)} host memory: the kernel kills the run at its start",
        label=f"{size(needed)} of {size(ram)}",
        help="Offload less, or use more nodes or a machine with more memory",
    )
