"""torchtitan: local and global batches, degrees that share a model, three eras, published configs.

Expectations come from v0.2.0 ``train.py`` lines 187-213 and ``parallel_dims.py``, worked out by hand.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values
from vramlint.plan import Precision

CORPUS = Path(__file__).parents[2] / ".." / "shared" / "corpus" / "torchtitan" / "pytorch__torchtitan" / "torchtitan"
needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside the checkout")

TITAN = """\
[model]
name = "llama3"
flavor = "8B"

[training]
local_batch_size = 4
seq_len = 4096
"""


def _with(lines: str) -> str:
    """Keys of ``[training]``, then other tables."""
    return f"{TITAN}{lines}"


@pytest.mark.parametrize(
    ("lines", "gpus", "accumulation", "data_parallel", "effective"),
    [
        ("", 1, 1, 1, 4), ("", 2, 1, 2, 8), ("", 3, 1, 3, 12), ("", 8, 1, 8, 32),
        ("global_batch_size = 64", 1, 16, 1, 64), ("global_batch_size = 64", 2, 8, 2, 64),
        ("global_batch_size = 64", 3, None, 3, None), ("global_batch_size = 64", 8, 2, 8, 64),
        ("global_batch_size = -1", 8, 1, 8, 32),
        ("[parallelism]\ntensor_parallel_degree = 2", 8, 1, 4, 16),
        ("[parallelism]\ntensor_parallel_degree = 2\npipeline_parallel_degree = 2", 8, 1, 2, 8),
        ("[parallelism]\ntensor_parallel_degree = 2\ncontext_parallel_degree = 4", 8, 1, 1, 4),
        ("[parallelism]\ntensor_parallel_degree = 2", 3, None, None, None),
        ("[parallelism]\nexpert_parallel_degree = 4", 8, 1, 8, 32),
        ("[parallelism]\ndata_parallel_replicate_degree = 2\ndata_parallel_shard_degree = 4", None, 1, 8, 32),
    ],
)  # fmt: skip
def test_batches(
    lines: str, gpus: int | None, accumulation: int | None, data_parallel: int | None, effective: int | None
) -> None:
    found = reading("t.toml", _with(lines), Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "accumulation", "data_parallel", "effective_batch", "batch_unit") == (
        4, accumulation, data_parallel, effective, "samples",
    )  # fmt: skip


def test_a_global_batch_stands_without_ranks() -> None:
    found = reading("t.toml", _with("global_batch_size = 64"))
    assert values(found, "accumulation", "effective_batch", "data_parallel") == (None, 64, None)
    assert found.slots["nominal_batch"].key == "global_batch_size"


@pytest.mark.parametrize(("gpus", "effective"), [(1, 3), (2, 6), (3, 9), (8, 24)])
def test_the_first_era_spells_batch_size(gpus: int, effective: int) -> None:
    found = reading("t.toml", TITAN.replace("local_batch_size = 4", "batch_size = 3"), Surroundings(gpus=gpus))
    assert (found.plan.dialect, found.plan.effective_batch.value) == ("torchtitan", effective)


def test_the_default_batch_of_a_toml() -> None:
    assert told(reading("t.toml", TITAN.replace("local_batch_size = 4\n", "")).plan.micro_batch) == (8, "default", None)


PYTHON = """\
from torchtitan.config import ParallelismConfig, TrainingConfig


def llama3_8b() -> Trainer.Config:
    return Trainer.Config(
        training=TrainingConfig({training}),
        parallelism=ParallelismConfig(tensor_parallel_degree=2),
        activation_checkpoint=ActivationCheckpointConfig(mode="none"),
    )
"""


@pytest.mark.parametrize(
    ("training", "gpus", "expected"),
    [
        ("local_batch_size=2, seq_len=8192", 1, (2, None, None, "samples")),
        ("local_batch_size=2, seq_len=8192", 2, (2, 1, 2, "samples")),
        ("local_batch_size=2, seq_len=8192", 3, (2, None, None, "samples")),
        ("local_batch_size=2, seq_len=8192", 8, (2, 4, 8, "samples")),
        ("local_batch_size=2, global_batch_size=32", 8, (2, 4, 32, "samples")),
        ("num_tokens_per_microbatch_per_dp_rank=8192, max_context_length=4096", 8, (8192, 4, 32768, "tokens")),
        ("num_tokens_per_microbatch_per_dp_rank=8192, num_tokens_per_train_step=65536", 8, (8192, 4, 65536, "tokens")),
        ("num_tokens_per_train_step=65536", 4, (16384, 2, 65536, "tokens")),
        ("max_context_length=4096", 8, (None, 4, None, "samples")),
    ],
)
def test_python_eras(training: str, gpus: int, expected: tuple[object, ...]) -> None:
    found = reading("config_registry.py", PYTHON.format(training=training), Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "data_parallel", "effective_batch", "batch_unit") == expected
    assert (found.plan.title, found.plan.grad_checkpointing.value) == ("llama3_8b", False)


def test_tokens_never_multiply_a_sequence_length() -> None:
    training = "num_tokens_per_microbatch_per_dp_rank=8192, max_context_length=4096"
    found = reading("config_registry.py", PYTHON.format(training=training), Surroundings(gpus=8))
    assert values(found, "seq_len", "context_length") == (None, 4096)


@pytest.mark.parametrize(
    ("lines", "precision"),
    [
        ("", Precision.BF16),
        ('dtype = "bfloat16"', Precision.PURE_BF16),
        ('mixed_precision_param = "float32"', Precision.FP32),
        ('dtype = "float8"', None),
    ],
)
def test_precision(lines: str, precision: Precision | None) -> None:
    assert reading("t.toml", _with(lines)).plan.precision.value is precision


@pytest.mark.parametrize(("mode", "on"), [("none", False), ("selective", True), ("full", True)])
def test_checkpointing(mode: str, on: bool) -> None:
    found = reading("t.toml", _with(f'[activation_checkpoint]\nmode = "{mode}"\n'))
    assert found.plan.grad_checkpointing.value is on
    assert found.slots["grad_checkpointing"].spell(True) == "full"


@pytest.mark.parametrize(
    ("lines", "gpus", "sharding"),
    [
        ("", 1, "none"), ("", 8, "fsdp"),
        ("[parallelism]\ndata_parallel_replicate_degree = 8\ndata_parallel_shard_degree = 1", 8, "ddp"),
        ("[parallelism]\ncontext_parallel_degree = 8", 8, "fsdp"),
    ],
)  # fmt: skip
def test_sharding(lines: str, gpus: int, sharding: str) -> None:
    assert reading("t.toml", _with(lines), Surroundings(gpus=gpus)).plan.sharding.value == sharding


def test_the_launch_line_overrides_the_file() -> None:
    line = "torchrun --nproc_per_node=8 -m torchtitan.train --job.config_file t.toml --training.local_batch_size 1"
    found = reading("t.toml", TITAN, Surroundings(launched_by=line))
    assert told(found.plan.micro_batch) == (1, "launch", 1)
    assert found.plan.effective_batch.value == 8


@pytest.mark.parametrize(
    "text",
    [
        "[tool.x]\ntraining = 1\n",
        "from mine import TrainingConfig\n\nC = TrainingConfig(local_batch_size=4, seq_len=128)\n",
    ],
)
def test_look_alikes(text: str) -> None:
    path = "x.toml" if text.startswith("[") else "x.py"
    assert [found.plan.dialect for found in readings(path, text)] == []


@needs_corpus
@pytest.mark.corpus
@pytest.mark.parametrize(
    ("file", "gpus", "micro", "data_parallel", "effective"),
    [
        ("models/llama3/train_configs/llama3_8b.toml", 8, 1, 8, 8),
        ("models/llama3/train_configs/llama3_8b.toml", 64, 1, 64, 64),
        ("models/llama3/train_configs/llama3_70b.toml", 256, 8, 32, 256),
        ("models/llama3/train_configs/llama3_70b.toml", 3, 8, None, None),
        ("models/llama3/train_configs/debug_model.toml", 2, 8, 2, 16),
        ("models/llama4/train_configs/llama4_17bx16e.toml", 8, 8, 1, 8),
        ("models/qwen3/train_configs/qwen3_0.6b.toml", 1, 4, 1, 4),
        ("models/deepseek_v3/train_configs/deepseek_v3_16b.toml", 8, 4, 8, 32),
        ("experiments/flux/train_configs/flux_dev_model.toml", 3, 32, 3, 96),
    ],
)
def test_published_configs(file: str, gpus: int, micro: int, data_parallel: int | None, effective: int | None) -> None:
    found = reading(file, (CORPUS / file).read_text(), Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "data_parallel", "effective_batch") == (micro, data_parallel, effective)
    unsharded = data_parallel == 1 and gpus > 1  # tensor parallelism alone
    assert found.plan.precision.value is (Precision.FP32 if unsharded else Precision.BF16)
