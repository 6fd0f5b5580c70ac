"""Rounded accumulation steps give another effective batch than the nominal one.

Why: a framework with a nominal batch takes ``max(round(nominal / batch), 1)`` accumulation steps. A batch that does
not divide the nominal one is rounded to a different effective batch in silence, and the weight decay is scaled by the
ratio. A batch above the nominal one switches accumulation off and becomes the effective batch itself.

Example: ``batch=24 nbs=64`` gives round(2.67) = 3 steps, effective 72; ``batch=48`` gives 1 step, effective 48.

Fix safety: unsafe. The effective batch changes to the nominal one.

Sources: Ultralytics 8.4.190, ``ultralytics/engine/trainer.py`` (``_build_train_pipeline``: ``accumulate``,
``weight_decay``); ultralytics/ultralytics#16301.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Change, Confidence, Origin, Repair, RuleInfo, Run, Safety, Severity, Verdict

RULE = RuleInfo(
    code="VL102",
    name="accumulation-misses-nominal",
    summary="rounded accumulation steps miss the nominal batch",
    severity=Severity.WARNING,
    confidence=Confidence.HIGH,
    fix=Safety.UNSAFE,
    sources=("https://github.com/ultralytics/ultralytics/issues/16301",),
)

_LINE = "yolo detect train model=yolo12s.yaml data=coco8.yaml imgsz=640 batch={} nbs=64 epochs=3 device=0\n"
VALID = (
    Case("train.sh", _LINE.format(16)),
    Case("train.sh", _LINE.format(64)),
)
INVALID = (
    Case("train.sh", _LINE.format(24), fixed=_LINE.format(32), unsafe=True),
    Case("train.sh", _LINE.format(48), fixed=_LINE.format(64), unsafe=True),
    Case("train.sh", _LINE.format(128)),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the derived effective batch with the nominal one."""
    plan = run.plan
    nominal, effective, steps = plan.nominal_batch.value, plan.effective_batch.value, plan.accumulation.value
    if not nominal or not effective or not steps or plan.accumulation.origin is not Origin.DERIVED:
        return
    if effective == nominal or plan.nominal_batch.location == plan.global_batch.location is not None:
        return  # a global batch that accumulation floors towards is VL103's
    batch, name = effective // steps, run.spelling("nominal_batch")
    scaled = f"weight decay is scaled by {effective / nominal:.3g}"
    if batch > nominal:
        message = f"batch {batch} is over {name} {nominal}: no accumulation, effective batch {effective}; {scaled}"
        yield Verdict("micro_batch", message, label=f"effective batch {effective}", severity=Severity.INFO)
        return
    hits = _hits(run, nominal, batch)
    yield Verdict(
        "micro_batch",
        f"round({nominal} / {batch}) = {steps} accumulation steps give effective batch {effective}, not {name} "
        f"{nominal}; {scaled}",
        label=f"{batch} x {steps} = {effective}, not {nominal}",
        help=f"Use a batch that divides {nominal}: {' or '.join(map(str, hits))}" if hits else "",
        repairs=tuple(_repairs(run, hits)),
        severity=None if plan.nominal_batch.spelled else Severity.INFO,
    )


def _hits(run: Run, nominal: int, batch: int) -> list[int]:
    """The batches next to ``batch`` that divide ``nominal`` and share out over the ranks: the nearest first."""
    ranks = run.plan.data_parallel.value or 1
    exact = [size for size in range(ranks, nominal + 1, ranks) if nominal % size == 0]
    near = [max((size for size in exact if size < batch), default=0), min((s for s in exact if s > batch), default=0)]
    return sorted((size for size in near if size), key=lambda size: (abs(size - batch), -size))


def _repairs(run: Run, hits: list[int]) -> Iterator[Repair]:
    if not run.editable("micro_batch"):
        return
    ranks = run.plan.data_parallel.value or 1
    for size in hits:
        change = Change("micro_batch", size // ranks)
        yield Repair(f"set {run.spelling('micro_batch')} to {size}", Safety.UNSAFE, (change,))
