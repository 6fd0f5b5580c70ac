"""The whole corpus beside the checkout: no crash, and silence about what is no training config."""

from __future__ import annotations

from pathlib import Path

import pytest

from vramlint.engine import CheckOptions, check

CORPUS = Path(__file__).parents[1].parent / "shared" / "corpus"
pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside the checkout"),
]


def test_the_corpus_ends_without_a_failure() -> None:
    result = check([str(CORPUS)], CheckOptions(gpu=("h100-80gb",), gpus=8))
    assert result.failures == ()
    assert result.files_seen > 1000
    assert len(result.runs) > 500


def test_what_is_no_training_config_yields_nothing() -> None:
    result = check([str(CORPUS / "negative")], CheckOptions(gpu=("gtx1650ti-4gb",), gpus=1, pedantic=True))
    assert result.files_seen > 90
    assert result.runs == ()
    assert result.findings == ()
