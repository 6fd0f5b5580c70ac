"""The score of the largest batch against a ladder of batches that trained or did not."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
TRUTH = TOOLS.parents[1] / "shared" / "truth" / "fit_bounds_dev.csv"
HEAD = "source_path,model,img_size,layout,fits_batch,fails_batch\n"


@pytest.fixture(scope="module")
def bounds() -> ModuleType:
    """The module; its folder is on the path while it is imported."""
    sys.path.insert(0, str(TOOLS))
    try:
        return importlib.import_module("scoring.fit_bounds")
    finally:
        sys.path.remove(str(TOOLS))


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        ("resnet50,224,nchw,384,640", "inside"),
        ("resnet50,224,nchw,64,128", "over"),
        ("resnet50,224,nchw,768,", "under"),
        ("resnet50,224,nchw,192,", "inside"),
        ("no_such_model,224,nchw,192,256", "not answered"),
    ],
)
def test_a_prediction_counts_between_the_bounds(bounds: ModuleType, tmp_path: Path, row: str, verdict: str) -> None:
    table = tmp_path / "bounds.csv"
    table.write_text(f"{HEAD}x,{row}\n")
    assert bounds.is_bounds(table)
    assert [bound.verdict for bound in bounds.read_bounds(table)] == [verdict]


@pytest.mark.skipif(not TRUTH.exists(), reason="no published measurements beside the checkout")
def test_published_ladders(bounds: ModuleType) -> None:
    """The bar is 85 % of the rows whose model is known."""
    verdicts = [bound.verdict for bound in bounds.read_bounds(TRUTH) if bound.predicted is not None]
    assert len(verdicts) >= 300
    assert verdicts.count("inside") / len(verdicts) >= 0.85
