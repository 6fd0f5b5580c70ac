"""detectron2's configs as the scorer ships them: the dialect reads them, and the files beside the checkout agree."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from vramlint.hardware import Target
from vramlint.memory.layers.planned import model_of

ROOT = Path(__file__).parents[2]
CORPUS = ROOT.parent / "shared" / "corpus" / "detectron2" / "facebookresearch__detectron2"


@pytest.fixture(scope="module")
def configs() -> Any:
    """detectron2's configs by their path."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return importlib.import_module("scoring.wheel_plans").wheel("detectron2")
    finally:
        sys.path.remove(str(ROOT / "tools"))


@pytest.mark.parametrize(
    ("path", "parameters"),
    [  # counted in detectron2's own model, commit 02b5c4e
        ("configs/Detectron1-Comparisons/faster_rcnn_R_50_FPN_noaug_1x.yaml", 41_699_936),
        ("configs/COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x.yaml", 59_133_158),
        ("configs/COCO-PanopticSegmentation/panoptic_fpn_R_50_1x.yaml", 45_973_990),
    ],
)
def test_a_row_is_answered_from_its_file(configs: Any, path: str, parameters: int) -> None:
    plan = configs.plan(path, Target(None, 8, source="--gpus"))
    assert plan.micro_batch.value == 2
    assert model_of(plan).parameters == parameters


@pytest.mark.skipif(not CORPUS.exists(), reason="no corpus beside the checkout")
def test_what_is_shipped_is_the_corpus_word_for_word(configs: Any) -> None:
    paths = [path for path in CORPUS.rglob("*.yaml") if "/configs/" in path.as_posix()]
    assert len(paths) > 80
    for path in paths:
        assert configs.document(path.relative_to(CORPUS).as_posix()).text == path.read_text(), path
