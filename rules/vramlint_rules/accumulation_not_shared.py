"""An accumulation over all ranks that does not divide by their number.

Why: where the key counts the accumulation steps of ALL ranks together, each rank does its share, and the training
script asserts at its start that there is no remainder.

Example: nanoGPT's ``gradient_accumulation_steps = 40`` on 3 GPUs.

A warning where no launch line says the number of ranks: it is then that of the machine's GPUs, of which a run may use
fewer.

Fix safety: unsafe. The effective batch changes with the accumulation.

Sources: nanoGPT ``train.py`` (``assert gradient_accumulation_steps % ddp_world_size == 0``).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Change, Confidence, Repair, RuleInfo, Run, Safety, Severity, Verdict

RULE = RuleInfo(
    code="VL104",
    name="accumulation-not-shared",
    summary="the accumulation over all ranks does not divide by their number",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=Safety.UNSAFE,
    sources=("https://github.com/karpathy/nanoGPT/blob/master/train.py",),
)

_CONFIG = """\
dataset = "openwebtext"
batch_size = 12
block_size = 1024
gradient_accumulation_steps = {}
max_iters = 600000
dtype = "bfloat16"
"""
VALID = (
    Case("train_gpt2.py", _CONFIG.format(40), gpus=8),
    Case("train_gpt2.py", _CONFIG.format(40)),
)
INVALID = (
    Case("train_gpt2.py", _CONFIG.format(40), gpus=3, fixed=_CONFIG.format(39), unsafe=True),
    Case("train_gpt2.py", _CONFIG.format(5), gpus=8, fixed=_CONFIG.format(8), unsafe=True),
)


def check(run: Run) -> Iterator[Verdict]:
    """Share the accumulation out over the ranks."""
    steps, ranks = run.plan.fact("global_accumulation").value, run.plan.data_parallel.value
    launched = run.plan.world_size.spelled
    if not steps or not ranks or steps % ranks == 0:
        return
    nearest = [count for count in (steps // ranks * ranks, (steps // ranks + 1) * ranks) if count]
    name = run.spelling("global_accumulation")
    repairs = [
        Repair(f"set {name} to {count}", Safety.UNSAFE, (Change("global_accumulation", count),))
        for count in nearest
        if run.editable("global_accumulation")
    ]
    yield Verdict(
        "global_accumulation",
        f"{name} {steps} over {ranks} ranks is {steps / ranks:.4g} steps each: the run stops at its start",
        label=f"not a multiple of {ranks} ranks",
        help=f"Use a multiple of {ranks}: {' or '.join(map(str, nearest))}",
        repairs=tuple(repairs),
        severity=None if launched else Severity.WARNING,
        confidence=None if launched else Confidence.MEDIUM,
    )
