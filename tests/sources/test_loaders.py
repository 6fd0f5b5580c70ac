"""Whole real files, each value as the real loaders read it: what vramlint says of a loader is what the loader does."""

from __future__ import annotations

import collections
import os
from pathlib import Path

import pytest

from tests.sources.loaders import REAL, count, differences, ours, without_tags
from tools.roundtrip import files_under
from vramlint import sources
from vramlint.errors import SourceError
from vramlint.sources.scalars import Loader

CORPUS = Path(__file__).parents[2] / ".." / "shared" / "corpus"
EVERY = int(os.environ.get("VRAMLINT_LOADERS_EVERY", "0"))
"""1 reads every file with every loader; 0 leaves it to ``SHARE``."""

SHARE = {Loader.OMEGACONF: 3, Loader.RUAMEL12: 4, Loader.HYPERPYYAML: 4, Loader.YACS: 3}
"""Slow loaders read one file in so many; the others read all."""

SUFFIXES = {Loader.TOML: (".toml",), Loader.HJSON: (".json",)}

pytestmark = [pytest.mark.corpus, pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus beside the checkout")]


@pytest.mark.parametrize("loader", REAL)
def test_every_value_of_real_files_reads_as_the_loader_reads_it(
    loader: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(
        {Loader.RUAMEL12: "ruamel.yaml", Loader.TOML: "tomllib", Loader.PYYAML: "yaml"}.get(loader, loader)
    )
    files = [path for path in files_under([str(CORPUS)]) if path.suffix in SUFFIXES.get(loader, (".yaml", ".yml"))]
    tally: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    for path in files[:: EVERY or SHARE.get(loader, 1)]:
        _compare(path, loader, tally, wrong)
    with capsys.disabled():
        print(f"\n{loader}: " + ", ".join(f"{number:,} {what}" for what, number in sorted(tally.items())), end=" ")
    assert tally["values equal"]
    assert not wrong, "\n".join(wrong[:20])


def _compare(path: Path, loader: Loader, tally: collections.Counter[str], wrong: list[str]) -> None:
    try:
        data = path.read_bytes()
        if loader is Loader.HYPERPYYAML:
            data = without_tags(data.decode("utf-8", "replace")).encode()
        document = sources.read(str(path), data)
    except SourceError:
        tally["files not readable"] += 1
        return
    try:
        theirs = REAL[loader](document.text)
    except Exception as error:  # noqa: BLE001 - each loader has errors of its own, and each means that it refuses
        tally[f"files that the loader refuses ({type(error).__name__})"] += 1
        return
    mine = [ours(document, root, loader) for root in (document.root, *document.more_roots)]
    if isinstance(theirs, list):  # an empty document is an empty mapping to vramlint, whatever the loader
        theirs = [{} if root is None else root for root in theirs]
    found = differences(mine, theirs)
    tally["files"] += 1
    tally["values equal"] += count(mine) - len(found)
    wrong.extend(f"{path.name}{each.where}: {each.ours!r}, {loader} {each.theirs!r}" for each in found)
