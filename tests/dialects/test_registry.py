"""The recogniser: every subject claimed once, by the most specific dialect; look-alikes left alone; explained."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.dialects.support import document
from tools import recognition
from vramlint import sources
from vramlint.dialects import registry
from vramlint.errors import SourceError, UsageError
from vramlint.sources.model import Document

CORPUS = Path(__file__).parents[2] / ".." / "shared" / "corpus"


@pytest.mark.parametrize("module", ["registry", "table", "signature", "spellings", "model"])
def test_recognising_imports_no_pydantic_and_no_dialect(module: str) -> None:
    code = (
        f"import sys, vramlint.dialects.{module}\n"
        "print([name for name in sys.modules if name.startswith('pydantic') or name.endswith('hf_trainer')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_row_with_a_module_can_be_read() -> None:
    for row in registry.rows():
        if row.module:
            module = registry.dialect(row.name)
            assert row.name == module.NAME
            assert row.title == module.TITLE
    assert len({row.name for row in registry.rows()}) == len(registry.rows())


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no dialect is called 'caffe'"):
        registry.dialect("caffe")


def test_a_claim_names_its_evidence() -> None:
    read = document("x.yaml", "output_dir: x\nper_device_train_batch_size: 4\n")
    (claim,) = registry.claims(read)
    assert (claim.dialect, claim.subject) == ("hf_trainer", read)
    assert "per_device_train_batch_size" in claim.evidence


def test_why_names_frameworks_that_are_left_alone() -> None:
    read = document("x.yaml", "apiVersion: batch/v1\nkind: Job\nmetadata: {name: train, batch_size: 4}\n")
    (verdict,) = registry.why(read)
    assert not verdict.served
    assert str(verdict) == "Kubernetes and CI manifests (recognised, not read): apiVersion, kind"
    assert registry.claims(read) == ()


@pytest.mark.parametrize(
    ("path", "data", "candidate"),
    [
        ("a.yaml", b"batch_size: 4\n", True),
        ("a.yaml", b"BATCH_SIZE: 4\n", True),
        ("a.yaml", b"name: x\non: push\n", False),
        ("a.json", b'{"train_micro_batch_size_per_gpu": 1}', True),
        ("a.py", b"class Config:\n    batch_size: int = 4\n", True),
        ("a.py", b"class Config(Base):\n    queue_size = 4\n", True),
        ("a.py", b"args = TrainingArguments('out')\n", True),
        ("a.py", b"import os\nprint('batch')\n", False),
        ("run.sh", b"python train.py --batch-size 4\n", True),
        ("run.sh", b"echo hello\n", False),
        ("run", b"#!/usr/bin/env bash\ntorchrun train.py --batch 4\n", True),
        ("run", b"torchrun train.py --batch 4\n", False),
        ("a.md", b"batch_size: 4\n", False),
    ],
)
def test_prefilter(path: str, data: bytes, candidate: bool) -> None:
    assert registry.prefilter(path, data) is candidate


def _corpus_files(folder: str) -> list[Path]:
    return [path for path in sorted((CORPUS / folder).rglob("*")) if path.is_file()]


@functools.cache
def _read(path: Path) -> Document | None:
    try:
        return sources.read(str(path.relative_to(CORPUS)), path.read_bytes())
    except SourceError:
        return None


needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside the checkout")


@needs_corpus
@pytest.mark.corpus
def test_nothing_in_negative_is_claimed() -> None:
    files = _corpus_files("negative")
    assert len(files) > 90
    claimed = [(path, registry.claims(read)) for path in files if (read := _read(path)) and registry.claims(read)]
    assert claimed == []


@needs_corpus
@pytest.mark.corpus
def test_the_prefilter_dismisses_nothing_that_is_claimed() -> None:
    dismissed = []
    for path in _corpus_files("."):
        if path.name == "README.md" or path.suffix == ".jsonl" or registry.prefilter(path.name, path.read_bytes()):
            continue
        read = _read(path)
        if read is not None and registry.claims(read):
            dismissed.append(path)
    assert dismissed == []


GENERIC_ALLOWED = {"lightning-cli": 2}
"""Files that a generic dialect may claim: two of terratorch are a program's own YAML, not the Lightning CLI's."""


@needs_corpus
@pytest.mark.corpus
def test_generic_dialects_keep_out_of_the_frameworks_files() -> None:
    generic = {row.name for row in registry.rows() if row.generic}
    counts: Counter[str] = Counter()
    for path in _corpus_files("."):
        if sources.syntax_of(path.name) is None:
            continue
        read = _read(path)
        if read is not None and any(claim.dialect in generic for claim in registry.claims(read)):
            counts[path.relative_to(CORPUS).parts[0]] += 1
    assert dict(counts) == GENERIC_ALLOWED


@needs_corpus
@pytest.mark.corpus
def test_no_subject_is_claimed_twice() -> None:
    for path in _corpus_files("."):
        read = _read(path) if sources.syntax_of(path.name) else None
        if read is not None:
            subjects = [id(verdict.subject) for verdict in registry.why(read)]
            assert len(subjects) == len(set(subjects)), path


@needs_corpus
@pytest.mark.corpus
def test_training_configs_get_their_folders_dialect(capsys: pytest.CaptureFixture[str]) -> None:
    """Issue 4, point 1: 98 % of each folder and wheel by the written rule of the tool, none of negative, none twice."""
    wheels = sorted((Path(__file__).parents[2] / ".cache" / "wheels").glob("*.whl"))
    named = [path for path in wheels if path.name.startswith(("mmdet", "mmseg", "torchtune", "ultralytics"))]
    table = recognition.seen_by_folder([CORPUS, *named])
    with capsys.disabled():
        training = [each for found in table.values() for each in found if not each.apart]
        print(f"\nrecognised: {sum(each.right for each in training):,} of {len(training):,} configs", end=" ")
    assert all(recognition.report(folder, found) for folder, found in table.items())
