"""Every safe fix over the corpus beside the checkout: proven, final, and nothing else gets worse.

A sample by default; ``VRAMLINT_FIXES_EVERY=1`` takes every file.
"""

from __future__ import annotations

import os
from functools import lru_cache

import pytest

from tools.judge_corpus import CORPUS, TARGETS, JudgedTarget
from tools.prove_fixes import MOST_PASSES, Outcome, files_of, one_by_one, options
from vramlint.engine import fix

EVERY = int(os.environ.get("VRAMLINT_FIXES_EVERY", "8"))
pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside the checkout"),
]


@lru_cache(maxsize=4)
def outcomes(target: JudgedTarget) -> tuple[Outcome, ...]:
    return tuple(one_by_one(files_of(CORPUS, EVERY), target))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.gpu)
def test_every_safe_fix_repairs_its_finding_and_harms_nothing(target: JudgedTarget) -> None:
    assert [each for each in outcomes(target) if each.is_wrong] == []


def test_the_sample_holds_fixes_at_all() -> None:
    assert sum(len(outcomes(target)) for target in TARGETS) > 0


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.gpu)
def test_all_fixes_together_come_to_an_end(target: JudgedTarget) -> None:
    outcome = fix(files_of(CORPUS, EVERY), options(target))
    assert outcome.refused == ()
    assert outcome.converged
    assert outcome.passes <= MOST_PASSES
