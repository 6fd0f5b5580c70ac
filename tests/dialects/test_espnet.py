"""ESPnet2: one batch shared out over the ranks; bins."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, values
from vramlint.plan import Precision

YAML = "batch_type: {}\nbatch_size: {}\nbatch_bins: 4000000\naccum_grad: {}\nencoder_conf: {{output_size: 256}}\n{}"


@pytest.mark.parametrize(
    ("gpus", "batch", "steps", "micro", "effective"),
    # espnet2_distributed.html: the batch size is that of all GPUs together, whatever their number.
    [
        (1, 64, 1, 64, 64),
        (2, 64, 1, 32, 64),
        (3, 64, 1, None, None),
        (8, 64, 1, 8, 64),
        (3, 60, 2, 20, 120),
        (8, 64, 4, 8, 256),
    ],
)
def test_samples(gpus: int, batch: int, steps: int, micro: int | None, effective: int | None) -> None:
    found = reading("x.yaml", YAML.format("folded", batch, steps, ""), Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "effective_batch") == (micro, effective)


@pytest.mark.parametrize("gpus", [1, 2, 3, 8])
@pytest.mark.parametrize("kind", ["numel", "length"])
def test_bins(kind: str, gpus: int) -> None:
    found = reading("x.yaml", YAML.format(kind, 20, 2, ""), Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "effective_batch", "batch_unit", "batch_tokens") == (
        4000000 // gpus if 4000000 % gpus == 0 else None,
        8000000 if 4000000 % gpus == 0 else None,
        "bins",
        4000000,
    )


@pytest.mark.parametrize(
    ("lines", "ranks"),
    [("ngpu: 4\n", 4), ("ngpu: 1\n", 8), ("dist_world_size: 2\n", 2), ("dist_world_size: null\n", 8)],
)
def test_worlds_that_the_file_spells(lines: str, ranks: int) -> None:
    found = reading("x.yaml", YAML.format("folded", 64, 1, lines), Surroundings(gpus=8))
    assert found.plan.world_size.value == ranks


def test_a_new_micro_batch_is_spelled_for_all_ranks() -> None:
    found = reading("x.yaml", YAML.format("folded", 64, 1, "use_amp: true\n"), Surroundings(gpus=2))
    assert found.slots["micro_batch"].spell(16) == 32
    assert found.plan.precision.value is Precision.FP16
