"""Real configs: a sample of all edits on every file (all of them: ``python tools/roundtrip.py ../shared/corpus``)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools.roundtrip import check_file, empty_counts, files_under

CORPUS = Path(__file__).parents[2] / ".." / "shared" / "corpus"
PER_FILE = int(os.environ.get("VRAMLINT_ROUNDTRIP_PER_FILE", "2"))
"""Edits of each operation a file, spread evenly over it; 0 makes every edit."""

pytestmark = [pytest.mark.corpus, pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus beside the checkout")]


@pytest.mark.parametrize("operation", ["replace", "insert", "delete"])
@pytest.mark.parametrize("suffix", ["yaml", "json", "toml"])
def test_every_edit_that_is_made_is_proven(operation: str, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    counts = empty_counts()
    for number, path in enumerate(files_under([str(CORPUS)])):
        if path.suffix.replace("yml", "yaml") == f".{suffix}":
            second = suffix != "yaml" or number % 12 == 0  # ruamel.yaml takes 40 times as long as libyaml
            check_file(str(path), path.read_bytes(), operation, counts, PER_FILE, second=second)
    with capsys.disabled():
        made, refused = sum(counts.made.values()), sum(counts.refused.values())
        print(f"\n{suffix} {operation}: {made:,} proven, {refused:,} refused, {len(counts.failed)} failed", end=" ")
    assert counts.made
    assert not counts.failed, "\n".join(counts.failed[:20])
