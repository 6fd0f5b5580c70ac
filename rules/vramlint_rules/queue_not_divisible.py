"""A queue of keys that does not hold a whole number of batches.

Why: a momentum-contrast queue is written one batch at a time at a pointer that wraps at its end. When the queue is no
multiple of the batch, the last write runs past the end: the run stops at that step (MoCo asserts it) or keys are
written with the wrong length.

Example: ``queue_size = 65536`` with ``batch_size = 96`` is 682.67 batches. 76,800 keys are 800 batches; a batch of 64
divides 65,536.

Fix safety: safe where the effective batch stays: the queue becomes a whole number of effective batches (never fewer
keys, a round number of batches where that costs little), or the batch a divisor of the queue with accumulation to
match.

Sources: He et al., Momentum Contrast, arXiv 1911.05722; facebookresearch/moco ``moco/builder.py``
(``_dequeue_and_enqueue``: ``assert self.K % batch_size == 0 # for simplicity``).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Safety, Severity, Verdict

RULE = RuleInfo(
    code="VL201",
    name="queue-not-divisible",
    summary="the queue is not a whole number of batches",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=Safety.SAFE,
    sources=(
        "https://github.com/facebookresearch/moco/blob/main/moco/builder.py",
        "https://arxiv.org/abs/1911.05722",
    ),
)

_CONFIG = """\
class Config:
    backbone: str = "resnet50"
    image_size: int = 224
    queue_size: int = {queue}
    batch_size: int = {batch}
    gradient_accumulation_steps: int = 4
    use_amp: bool = True
    epochs: int = 100
    learning_rate: float = 1e-4
"""
VALID = (
    Case("src/config.py", _CONFIG.format(queue="65536", batch=64), gpus=2),
    Case("src/config.py", _CONFIG.format(queue="76_800", batch=96), gpus=2),
)
INVALID = (
    Case(
        "src/config.py",
        _CONFIG.format(queue="65536", batch=96),
        gpus=2,
        fixed=_CONFIG.format(queue="76800", batch=96),
    ),
    Case(
        "src/config.py",
        _CONFIG.format(queue="65_536", batch=80),
        gpus=2,
        fixed=_CONFIG.format(queue="65_920", batch=80),
    ),
)


def check(run: Run) -> Iterator[Verdict]:
    """Divide the queue by the micro batch."""
    queue, batch = run.plan.queue_size.value, run.plan.micro_batch.value
    if not queue or not batch or queue % batch == 0:
        return
    queue_name, batch_name = run.spelling("queue_size"), run.spelling("micro_batch")
    batches = f"{queue / batch:.2f} batches"
    repairs = tuple(run.repairs_to_divide())
    yield Verdict(
        "queue_size",
        f"{queue_name} {queue} is not a multiple of {batch_name} {batch} ({batches}): "
        "the queue pointer runs past the end",
        label=batches,
        help=f"Make {queue_name} a multiple of {batch_name}, or {batch_name} a divisor of {queue_name}",
        repairs=repairs,
    )
