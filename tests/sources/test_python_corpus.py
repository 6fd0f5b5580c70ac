"""Published Python configs, judged by Python's own parser: a sample of what ``tools/roundtrip_python.py`` does."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest

from tools.roundtrip_python import configs, insert_all, replace_all
from vramlint import sources

WHEELS = sorted((Path(__file__).parents[2] / ".cache" / "wheels").glob("mm*.whl"))


@pytest.mark.corpus
@pytest.mark.skipif(not WHEELS, reason="tools/fetch_wheels.sh has not been run")
def test_every_value_and_every_mapping_of_a_sample(capsys: pytest.CaptureFixture[str]) -> None:
    counts: collections.Counter[str] = collections.Counter()
    failed: list[str] = []
    for name, data in list(configs([str(path) for path in WHEELS]))[7::160]:
        document = sources.read(name, data)
        replace_all(name, document, counts, failed)
        insert_all(name, document, counts, failed)
    with capsys.disabled():
        print("\npython: " + ", ".join(f"{number:,} {what}" for what, number in sorted(counts.items())), end=" ")
    assert counts["replace proven"] > 100
    assert counts["insert proven"] > 100
    assert not failed, "\n".join(failed[:20])
