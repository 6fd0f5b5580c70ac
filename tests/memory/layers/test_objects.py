"""How many objects a batch is taken to have."""

from __future__ import annotations

import pytest

from vramlint.memory.layers import Build, Tape
from vramlint.memory.layers.heads.detection.common import batch_of


@pytest.mark.parametrize(
    ("images", "facts", "counts"),
    [
        (1, {}, (93,)),
        (3, {}, (93, 33, 33)),
        (2, {"ground_truths": 400}, (400, 400)),
    ],
)
def test_one_image_is_the_fullest(images: int, facts: dict[str, int], counts: tuple[int, ...]) -> None:
    tape = Tape()
    assert batch_of(Build(tape, "mmdet", facts), tape.new(images, 3, 64, 64)).counts == counts
