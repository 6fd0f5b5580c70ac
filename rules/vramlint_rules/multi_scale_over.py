"""The largest shape of multi-scale training does not fit.

Why: multi-scale training draws its image size anew every few batches. The run goes well until the largest one is drawn,
and dies then, minutes or hours in.

Example: ``imgsz=640 multi_scale=0.5`` trains at up to 960 x 960, 2.25 times the pixels.

Fix safety: safe while the effective batch and the numerics stay; without multi-scale it is another experiment, so
unsafe.

Sources: ultralytics 8.4.190 ``models/yolo/detect/train.py`` (multi-scale); rf-detr ``main.py`` (``multi_scale``); the
estimator, ``docs/memory.md``.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, MemoryVerdict, RuleInfo, Run, Safety, Severity, Stability, Verdict
from vramlint_rules._multi_scale import largest_alone_is_over
from vramlint_rules._words import advice, memory_fact, size

RULE = RuleInfo(
    code="VL405",
    name="multi-scale-over",
    summary="the largest shape of multi-scale training does not fit",
    severity=Severity.WARNING,
    confidence=Confidence.MEDIUM,
    fix=Safety.SAFE,
    sources=("https://github.com/ultralytics/ultralytics/blob/main/ultralytics/models/yolo/detect/train.py",),
    stability=Stability.PREVIEW,
    needs_gpu=True,
)

_LINE = "yolo detect train model=yolo11s.pt data=coco.yaml batch={} imgsz=640 multi_scale={} epochs=30 device=0\n"
VALID = (
    Case("train.sh", _LINE.format(8, 0.5), gpu="a100-40gb"),
    Case("train.sh", _LINE.format(24, 0.0), gpu="rtx3060-12gb"),
)
INVALID = (
    Case("train.sh", _LINE.format(32, 0.5), gpu="rtx3060-12gb", fixed=_LINE.format(16, 0.5)),
    Case("train.sh", _LINE.format(64, 0.5), gpu="rtx4090", fixed=_LINE.format(32, 0.5)),
)


def check(run: Run) -> Iterator[Verdict]:
    """Estimate the run at its largest shape."""
    largest = largest_alone_is_over(run)
    estimate = run.estimate()
    if largest is None or largest.required is None or largest.usable_bytes is None or estimate.required is None:
        return
    repairs = tuple(run.repairs_to_fit())
    if estimate.verdict is not MemoryVerdict.TIGHT:
        return
    yield Verdict(
        memory_fact(run.plan),
        f"multi-scale's largest shape needs {size(largest.required.value)} of {size(largest.usable_bytes)} usable on "
        f"{largest.gpu}: the run fits until that shape is drawn",
        label="fits until the largest shape",
        help=advice(repairs, "Switch multi-scale off, or lower the batch"),
        repairs=repairs,
    )
