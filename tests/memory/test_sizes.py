"""The size that the network sees."""

from __future__ import annotations

from typing import Any

import pytest

from tests.memory.support import VISION, plan
from vramlint.memory.sizes import trained_size
from vramlint.plan import ImageSize


@pytest.mark.parametrize(
    ("extra", "size", "expected"),
    [
        ({}, ImageSize(650, 650), ImageSize(650, 650)),
        ({"side_multiple": 32}, ImageSize(650, 640), ImageSize(672, 640)),
        ({"batch_shape": ImageSize(1344, 800)}, ImageSize(800, 600), ImageSize(1344, 800)),
        ({"side_multiple": 32}, None, None),
    ],
)
def test_what_is_spelled_and_what_trains(
    extra: dict[str, Any], size: ImageSize | None, expected: ImageSize | None
) -> None:
    facts = {**VISION, "image_size": size} if size else {name: VISION[name] for name in VISION if name != "image_size"}
    assert trained_size(plan(extra, **facts)) == expected
