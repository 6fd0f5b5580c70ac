"""A batch over all GPUs that does not divide by their number.

Why: where the key means the batch over ALL ranks, each rank gets its share. A remainder stops the run (YOLOv5,
detectron2, lightning-hydra-template assert) or is dropped in silence, so that the run trains with a smaller batch
than the file says.

Example: ``batch=17`` on 2 GPUs is 8.5 images a rank.

Fix safety: unsafe. The effective batch changes.

Sources: yolov5 ``train.py`` and Ultralytics 8.4.190 ``engine/trainer.py`` (``batch_size // world_size``);
``detectron2/data/build.py`` (``get_detection_dataset... must be divisible by the number of gpus``); Megatron-LM
``core/num_microbatches_calculator.py`` (asserts whole micro batches); litgpt ``args.py`` (floors twice).
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
_MEGATRON = "torchrun --nproc_per_node=8 pretrain_gpt.py --micro-batch-size 4 --global-batch-size {} --lr 1e-4 --bf16\n"
_LITGPT = "checkpoint_dir: a/b\ndevices: 3\ntrain:\n  global_batch_size: {}\n  micro_batch_size: 2\n"
VALID = (
    Case("train.sh", _MEGATRON.format(64)),
    Case("full.yaml", _LITGPT.format(12)),
    Case("train.sh", _LINE.format(16, "0,1")),
    Case("train.sh", _LINE.format(17, "0")),
)
_DEEPSPEED = '{{"train_batch_size": {}, "train_micro_batch_size_per_gpu": 4, "zero_optimization": {{"stage": 2}}}}'
"""Two settings: the global batch cannot be mended by writing the micro batch."""
INVALID = (
    Case("train.sh", _MEGATRON.format(48), fixed=_MEGATRON.format(32), unsafe=True),
    Case("train.sh", _MEGATRON.format(65), fixed=_MEGATRON.format(64), unsafe=True),
    Case("full.yaml", _LITGPT.format(8), fixed=_LITGPT.format(6), unsafe=True),
    Case("ds.json", _DEEPSPEED.format(64), gpus=3),
    Case("train.sh", _LINE.format(33, "0,1"), fixed=_LINE.format(32, "0,1"), unsafe=True),
    Case("train.sh", _LINE.format(62, "0,1,2,3"), fixed=_LINE.format(60, "0,1,2,3"), unsafe=True),
)


def check(run: Run) -> Iterator[Verdict]:
    """Share the global batch out over the ranks, and over whole micro batches where accumulation has to reach it."""
    plan = run.plan
    total, ranks = plan.global_batch.value, plan.data_parallel.value
    if not total or not ranks:
        return
    if _is_aimed_at(run):
        yield from _aimed_at(run, total, ranks)
        return
    if total % ranks == 0:
        return
    sizes = _around(total, ranks)
    yield Verdict(
        "global_batch",
        f"{_own_name(run)} {total} over {ranks} GPUs is {total / ranks:.4g} each: the run stops, or "
        f"trains with {total // ranks * ranks}",
        label=f"not a multiple of {ranks} GPUs",
        help=f"Use a multiple of {ranks}: {' or '.join(map(str, sizes))}",
        repairs=tuple(_repairs(run, "micro_batch", {size: size // ranks for size in sizes})) if _is_shared(run) else (),
    )


def _is_shared(run: Run) -> bool:
    """Whether the micro batch is the file's global batch, shared out: then its slot writes the global one."""
    return run.plan.micro_batch.location in (None, run.plan.global_batch.location)


def _own_name(run: Run) -> str:
    name = run.spelling("micro_batch")
    return "the global batch" if name == "micro_batch" or not _is_shared(run) else name


def _is_aimed_at(run: Run) -> bool:
    """Whether the global batch is a setting of its own, beside a micro batch, for accumulation to reach."""
    spelled = run.plan.global_batch.location
    return spelled is not None and run.plan.nominal_batch.location == spelled


def _aimed_at(run: Run, total: int, ranks: int) -> Iterator[Verdict]:
    """Nothing to say where the step sees the whole batch."""
    plan = run.plan
    effective, micro = plan.effective_batch.value, plan.micro_batch.value
    if effective == total or (effective is None and micro is None and total % ranks == 0):
        return
    unit = ranks * (micro or 1)
    consequence = f"the run trains with {effective}" if effective is not None else "the run stops at its start"
    each = "" if total % ranks or micro is None else f" in micro batches of {micro}"
    sizes = _around(total, unit)
    yield Verdict(
        "global_batch",
        f"{_name(run)} {total} does not divide over {ranks} GPUs{each}: {consequence}",
        label=f"not a multiple of {unit}",
        help=f"Use a multiple of {unit}: {' or '.join(map(str, sizes))}",
        repairs=tuple(_repairs(run, "nominal_batch", {size: size for size in sizes})),
    )


def _name(run: Run) -> str:
    """The key, where it is the file's own to change; a value that is referred to has several."""
    return run.spelling("nominal_batch") if run.editable("nominal_batch") else "the global batch"


def _around(total: int, unit: int) -> list[int]:
    """The multiples of ``unit`` next to ``total``."""
    return [size for size in (total // unit * unit, (total // unit + 1) * unit) if size]


def _repairs(run: Run, fact: str, values: dict[int, int]) -> Iterator[Repair]:
    """``values``: the size as the file spells it, and the fact's value that gives it."""
    if not run.editable(fact):
        return
    for size, value in values.items():
        yield Repair(f"set {run.spelling(fact)} to {size}", Safety.UNSAFE, (Change(fact, value),))
