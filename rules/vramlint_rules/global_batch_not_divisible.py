"""A batch over all GPUs that does not divide by their number.

Why: where the key means the batch over ALL ranks, each rank gets its share. A remainder stops the run (YOLOv5,
detectron2, lightning-hydra-template assert) or is dropped in silence, so that the run trains with a smaller batch
than the file says.

Example: ``batch=17`` on 2 GPUs is 8.5 images a rank.

Fix safety: unsafe. The effective batch changes.

Sources: yolov5 ``train.py`` and Ultralytics 8.4.190 ``engine/trainer.py`` (``batch_size // world_size``);
``detectron2/data/build.py`` (``get_detection_dataset... must be divisible by the number of gpus``).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Change, Confidence, Repair, RuleInfo, Run, Safety, Severity, Verdict

RULE = RuleInfo(
    code="VL103",
    name="global-batch-not-divisible",
    summary="the batch over all GPUs does not divide by their number",
    severity=Severity.WARNING,
    confidence=Confidence.HIGH,
    fix=Safety.UNSAFE,
    sources=(
        "https://github.com/facebookresearch/detectron2/blob/main/detectron2/data/build.py",
        "https://github.com/ultralytics/yolov5/blob/master/train.py",
    ),
)

_LINE = "yolo detect train model=yolo12s.yaml data=coco8.yaml imgsz=640 batch={} epochs=3 device={}\n"
VALID = (
    Case("train.sh", _LINE.format(16, "0,1")),
    Case("train.sh", _LINE.format(17, "0")),
)
INVALID = (
    Case("train.sh", _LINE.format(33, "0,1"), fixed=_LINE.format(32, "0,1"), unsafe=True),
    Case("train.sh", _LINE.format(62, "0,1,2,3"), fixed=_LINE.format(60, "0,1,2,3"), unsafe=True),
)


def check(run: Run) -> Iterator[Verdict]:
    """Share the global batch out over the ranks."""
    plan = run.plan
    total, ranks = plan.global_batch.value, plan.data_parallel.value
    if not total or not ranks or total % ranks == 0:
        return
    sizes = [size for size in (total // ranks * ranks, (total // ranks + 1) * ranks) if size]
    yield Verdict(
        "global_batch",
        f"{run.spelling('micro_batch')} {total} over {ranks} GPUs is {total / ranks:.4g} each: the run stops, or "
        f"trains with {total // ranks * ranks}",
        label=f"not a multiple of {ranks} GPUs",
        help=f"Use a multiple of {ranks}: {' or '.join(map(str, sizes))}",
        repairs=tuple(_repairs(run, sizes, ranks)),
    )


def _repairs(run: Run, sizes: list[int], ranks: int) -> Iterator[Repair]:
    if not run.editable("micro_batch"):
        return
    for size in sizes:
        change = Change("micro_batch", size // ranks)
        yield Repair(f"set {run.spelling('micro_batch')} to {size}", Safety.UNSAFE, (change,))
