"""A dataset that is cached in host memory and does not fit it.

Why: ``cache=ram`` decodes every image at the training size and keeps it. Ultralytics measures first and falls back to
no cache, YOLOv5 likewise; the run is then as slow as without, after minutes of measuring, and on machines that share
their memory the estimate is too kind.

Example: COCO at 640 is 118,287 images x 0.9 MiB = 102 GiB or more.

Fix safety: none. ``cache=disk`` needs room on the disk.

Sources: ultralytics 8.4.190 ``data/base.py#check_cache_ram``; the datasets' own counts of training images.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Stability, Verdict
from vramlint_rules._words import size

RULE = RuleInfo(
    code="VL309",
    name="cache-over-host-memory",
    summary="a dataset that is cached in host memory and does not fit it",
    severity=Severity.WARNING,
    confidence=Confidence.MEDIUM,
    fix=None,
    sources=(
        "https://github.com/ultralytics/ultralytics/blob/main/ultralytics/data/base.py",
        "https://cocodataset.org/#download",
    ),
    stability=Stability.PREVIEW,
)

_TRAINING_IMAGES = {"coco": 118_287, "coco-pose": 56_599, "objects365": 1_742_292, "voc": 16_551, "lvis": 100_170}
"""By the stem of the dataset's YAML; the counts are those of the dataset's own pages."""
_ASPECT = 0.75
"""Photographs are 4:3 or wider: the long side is brought to the training size."""
_LINE = "yolo detect train model=yolo11s.pt data={} batch=16 imgsz=640 epochs=30 device=0 cache={}\n"
VALID = (
    Case("train.sh", _LINE.format("coco128.yaml", "ram"), ram_gib=32),
    Case("train.sh", _LINE.format("coco.yaml", "disk"), ram_gib=32),
)
INVALID = (
    Case("train.sh", _LINE.format("coco.yaml", "ram"), ram_gib=64),
    Case("train.sh", _LINE.format("coco.yaml", "True"), ram_gib=32),
)


def check(run: Run) -> Iterator[Verdict]:
    """Multiply the images of a known dataset by their bytes."""
    plan, ram = run.plan, run.target.host.ram_bytes
    stem = str(plan.fact("dataset").value or "").rsplit("/", 1)[-1].removesuffix(".yaml").lower()
    images, shape = _TRAINING_IMAGES.get(stem), plan.image_size.value
    if ram is None or images is None or shape is None:
        return
    if str(plan.fact("cache").value).lower() not in ("ram", "true"):
        return
    needed = int(images * 3 * max(shape) ** 2 * _ASPECT)
    if needed > ram:
        yield Verdict(
            "cache",
            f"{images:,} images at {max(shape)} take {size(needed)} of {size(ram)} host memory: they are not cached",
            label=f"{size(needed)} of {size(ram)}",
            help="Use cache=disk, or no cache",
        )
