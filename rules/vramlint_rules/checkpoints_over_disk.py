"""The checkpoints that are kept do not fit the disk.

Why: a checkpoint of an Adam run holds the weights and two states for each of them, and by default every one is kept.
When the disk is full, the run stops in the middle of a write, and the newest checkpoint is the broken one.

Example: ``save_steps: 100`` over 10,000 steps of a 7B model without ``save_total_limit`` are 100 checkpoints of 78 GiB.

Fix safety: none. Which checkpoints are worth keeping only the author knows.

Sources: transformers 5.23.0 ``training_args.py`` (``save_total_limit``: None keeps all; ``save_only_model``) and
``trainer.py#_save_checkpoint`` (weights, optimizer, scheduler, random state).
"""

from collections.abc import Iterator

from vramlint.rule import GIB, Case, Confidence, RuleInfo, Run, Severity, Stability, Verdict
from vramlint_rules._cases import trainer
from vramlint_rules._states import states
from vramlint_rules._words import size

RULE = RuleInfo(
    code="VL308",
    name="checkpoints-over-disk",
    summary="the checkpoints that are kept do not fit the disk",
    severity=Severity.WARNING,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=("https://github.com/huggingface/transformers/blob/main/src/transformers/trainer.py",),
    stability=Stability.PREVIEW,
)

_MANY = 2048 * GIB
"""Where nobody said how much is free, this much is worth a word."""


def _file(model: str, **settings: object) -> str:
    return trainer(model_name_or_path=model, max_length=512, bf16="true", **settings)


VALID = (
    Case("sft.yaml", _file("Qwen/Qwen2.5-0.5B", max_steps=1000, save_steps=500), disk_gib=100),
    Case("sft.yaml", _file("Qwen/Qwen2.5-7B", max_steps=9000, save_steps=100, save_total_limit=2), disk_gib=500),
)
INVALID = (
    Case("sft.yaml", _file("Qwen/Qwen2.5-7B", max_steps=2000, save_steps=100), disk_gib=500),
    Case("sft.yaml", _file("Qwen/Qwen2.5-7B", max_steps=9000, save_steps=100)),
)


def check(run: Run) -> Iterator[Verdict]:
    """Multiply the kept checkpoints by their size."""
    kept, free = _kept(run), run.target.host.disk_bytes
    found = None if not kept else states(run)
    if found is None or not kept:
        return
    each = found.weights + (0 if run.plan.fact("save_only_model").value else found.optimizer)
    if kept * each <= (_MANY if free is None else free):
        return
    where = (
        "and nothing limits them"
        if free is None
        else f"on a disk with {size(free)} free: the run stops when it is full"
    )
    yield Verdict(
        "save_steps",
        f"{kept} checkpoints of {size(each)} are {size(kept * each)} {where}",
        label=f"{size(kept * each)} in the end",
        help="Limit the checkpoints that are kept (save_total_limit), or save less often",
        severity=Severity.INFO if free is None else None,
    )


def _kept(run: Run) -> int | None:
    """How many checkpoints there are in the end; None where nobody knows the length of the run."""
    plan = run.plan
    every, steps, limit = (plan.fact(name).value for name in ("save_steps", "max_steps", "save_limit"))
    if plan.fact("saves").value is False:
        return None
    if plan.fact("save_strategy").value not in ("steps", None) or not every or not steps or steps <= 0:
        return None
    count = int(steps // every)
    return min(count, limit) if limit else count
