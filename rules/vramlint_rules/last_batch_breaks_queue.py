"""The last batch of an epoch is smaller than the queue allows.

Why: a queue that holds a whole number of batches is written one batch at a time. Without ``drop_last`` the last batch
of an epoch holds what is left of the dataset, and the pointer no longer meets the end of the queue: MoCo's reference
code stops at its assertion, others write past the end.

Example: ``queue_size = 65536`` and ``drop_last = False``.

Fix safety: unsafe. A fraction of a batch is left out of every epoch.

Sources: facebookresearch/moco ``moco/builder.py`` (``assert self.K % batch_size == 0``) and ``main_moco.py``
(``drop_last=True``).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Safety, Severity, Verdict
from vramlint_rules._repairs import write

RULE = RuleInfo(
    code="VL108",
    name="last-batch-breaks-queue",
    summary="the last batch of an epoch is smaller than the queue allows",
    severity=Severity.ERROR,
    confidence=Confidence.MEDIUM,
    fix=Safety.UNSAFE,
    sources=("https://github.com/facebookresearch/moco/blob/main/main_moco.py",),
)

_CONFIG = """\
class Config:
    backbone: str = "resnet50"
    image_size: int = 224
    queue_size: int = {}
    batch_size: int = 64
    drop_last: bool = {}
    epochs: int = 100
    learning_rate: float = 1e-4
"""
VALID = (
    Case("src/config.py", _CONFIG.format(65536, "True")),
    Case("src/config.py", _CONFIG.format(65536, "True").replace("    drop_last: bool = True\n", "")),
)
INVALID = (
    Case("src/config.py", _CONFIG.format(65536, "False"), fixed=_CONFIG.format(65536, "True"), unsafe=True),
    Case("src/config.py", _CONFIG.format(16384, "False"), fixed=_CONFIG.format(16384, "True"), unsafe=True),
)


def check(run: Run) -> Iterator[Verdict]:
    """Look for a queue whose loader is told to keep the last batch."""
    queue, keeps = run.plan.queue_size.value, run.plan.fact("drop_last")
    if not queue or keeps.value is not False or not keeps.spelled:
        return
    name = run.spelling("drop_last")
    yield Verdict(
        "drop_last",
        f"{name} is off: the last batch of an epoch is short, and the queue of {queue} loses its alignment",
        label="keeps a short batch",
        help=f"Switch on {name}",
        repairs=write(run, "drop_last", to=True, safety=Safety.UNSAFE),
    )
