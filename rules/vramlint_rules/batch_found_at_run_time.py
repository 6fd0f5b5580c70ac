"""The batch is searched for when the run starts.

Why: a search for the largest batch that fits makes the effective batch depend on the card, on what else runs on it and
on the first samples. Two runs of one config are then two experiments: the learning rate was meant for one of them.

Example: ``auto_find_batch_size: true`` halves the batch after an out-of-memory error; the accumulation stays.

Fix safety: none. ``vramlint estimate --sweep`` says which batch fits before the run starts.

Sources: accelerate 1.15 ``utils/memory.py#find_executable_batch_size``; ultralytics 8.4.190 ``utils/autobatch.py``.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._cases import trainer

RULE = RuleInfo(
    code="VL112",
    name="batch-found-at-run-time",
    summary="the batch is searched for when the run starts",
    severity=Severity.INFO,
    confidence=Confidence.HIGH,
    fix=None,
    sources=(
        "https://github.com/huggingface/accelerate/blob/main/src/accelerate/utils/memory.py",
        "https://github.com/ultralytics/ultralytics/blob/main/ultralytics/utils/autobatch.py",
    ),
)

_YOLO = "yolo detect train model=yolo11s.pt data=coco.yaml imgsz=640 batch={} epochs=30 device=0\n"
VALID = (
    Case("sft.yaml", trainer(auto_find_batch_size="false")),
    Case("train.sh", _YOLO.format(16)),
)
INVALID = (
    Case("sft.yaml", trainer(auto_find_batch_size="true")),
    Case("train.sh", _YOLO.format(-1)),
)


def check(run: Run) -> Iterator[Verdict]:
    """Look for the search."""
    if run.plan.fact("batch_search").value:
        yield Verdict(
            "batch_search",
            "the batch is searched for at start-up: effective batch and learning rate differ from card to card",
            label="depends on the card",
            help="Write down the batch that fits (vramlint estimate says which)",
        )
