"""The model's width cannot be cut into its attention heads.

Why: a transformer cuts its width into heads of equal size, and grouped-query attention its heads into groups. Models
assert both when they are built, after the job has waited for its machine.

Example: ``--hidden-size 1000 --num-attention-heads 16`` is 62.5 a head.

Fix safety: none. Which of the numbers is meant only the author knows.

Sources: Megatron-LM 2026-08 ``training/arguments.py`` (``assert args.hidden_size % args.num_attention_heads == 0``) and
``core/transformer/transformer_config.py`` (query groups); nanoGPT ``model.py`` (``assert config.n_embd % config.n_head
== 0``).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._cases import megatron

RULE = RuleInfo(
    code="VL203",
    name="heads-not-divisible",
    summary="the model's width cannot be cut into its attention heads",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=None,
    sources=(
        "https://github.com/NVIDIA/Megatron-LM/blob/main/megatron/training/arguments.py",
        "https://github.com/karpathy/nanoGPT/blob/master/model.py",
    ),
)

_NANO = """\
dataset = "owt"
batch_size = 12
gradient_accumulation_steps = 5
block_size = 1024
n_layer = 12
n_head = {}
n_embd = {}
max_iters = 600
"""
VALID = (
    Case("train.sh", megatron(**{"hidden-size": 1024, "num-attention-heads": 16, "kv-channels": 64})),
    Case("config/train_gpt2.py", _NANO.format(12, 768)),
)
INVALID = (
    Case("train.sh", megatron(**{"hidden-size": 1000, "num-attention-heads": 16})),
    Case("config/train_gpt2.py", _NANO.format(12, 800)),
)


def check(run: Run) -> Iterator[Verdict]:
    """Divide the width by the heads, and the heads by the key-value heads, where both are spelled."""
    plan = run.plan
    if not plan.fact("heads").spelled:
        return
    if "mamba" in str(run.setting("attention_config").value or run.setting("attention-config").value):
        return  # layers without heads
    explicit = run.setting("kv_channels").value or run.setting("model.kv_channels").value
    for whole, part in (("hidden", "heads"), ("heads", "kv_heads")):
        total, pieces = plan.fact(whole), plan.fact(part)
        if not (total.spelled and pieces.spelled) or not total.value or not pieces.value:
            continue
        if total.value % pieces.value == 0 or (whole == "hidden" and explicit):
            continue
        yield Verdict(
            whole,
            f"{run.spelling(whole)} {total.value} does not divide by {run.spelling(part)} {pieces.value} "
            f"({total.value / pieces.value:.4g}): the model is not built",
            label=f"not a multiple of {pieces.value}",
            help=f"Use a multiple of {pieces.value}",
        )
