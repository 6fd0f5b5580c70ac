"""nanoGPT: an accumulation over all ranks, defaults of the repository's script, overrides of the line.

Expectations come from ``train.py`` lines 94-95 and 107 (``tokens_per_iter``), worked out by hand.
"""

from __future__ import annotations

import pytest

from tests.dialects.support import AMPERE, TURING, Surroundings, reading, readings, told, values
from vramlint.dialects import registry
from vramlint.plan import Precision

GPT2 = """\
wandb_run_name='gpt2-124M'
batch_size = 12
block_size = 1024
gradient_accumulation_steps = 5 * 8
max_iters = 600000
"""


@pytest.mark.parametrize(
    ("steps", "gpus", "expected"),
    [
        ("5 * 8", 1, (40, 1, 480)), ("5 * 8", 2, (20, 2, 480)), ("5 * 8", 3, (None, 3, None)),
        ("5 * 8", 8, (5, 8, 480)), ("5 * 8", None, (None, None, 480)),
        ("1", 1, (1, 1, 12)), ("1", 2, (None, 2, None)), ("1", 3, (None, 3, None)), ("1", 8, (None, 8, None)),
        ("6", 1, (6, 1, 72)), ("6", 2, (3, 2, 72)), ("6", 3, (2, 3, 72)), ("6", 8, (None, 8, None)),
        ("32", 8, (4, 8, 384)), ("steps()", 8, (None, 8, None)),
    ],
)  # fmt: skip
def test_the_ranks_cancel_out(steps: str, gpus: int | None, expected: tuple[int | None, ...]) -> None:
    found = reading("train_gpt2.py", GPT2.replace("5 * 8", steps), Surroundings(gpus=gpus))
    assert values(found, "accumulation", "data_parallel", "effective_batch") == expected
    assert values(found, "micro_batch", "batch_unit") == (12, "samples")


def test_a_new_share_is_spelled_for_all_ranks() -> None:
    found = reading("train_gpt2.py", GPT2, Surroundings(gpus=8))
    assert found.slots["accumulation"].key == "gradient_accumulation_steps"
    assert found.slots["accumulation"].spell(10) == 80


def test_the_launch_line_wins_and_starts_the_ranks() -> None:
    line = "torchrun --standalone --nproc_per_node=4 train.py config/train_gpt2.py --batch_size=6 --dtype=float16"
    found = reading("config/train_gpt2.py", GPT2, Surroundings(launched_by=line))
    assert values(found, "micro_batch", "accumulation", "effective_batch", "precision") == (6, 10, 240, Precision.FP16)


def test_without_a_launcher_there_is_one_rank() -> None:
    line = "python train.py config/train_gpt2.py"
    found = reading("config/train_gpt2.py", GPT2, Surroundings(gpus=8, launched_by=line))
    assert values(found, "world_size", "accumulation", "effective_batch") == (1, 40, 480)


def test_the_script_of_the_repository_has_the_defaults() -> None:
    script = "block_size = 256\nn_layer = 4\ndtype = 'bfloat16' if ok() else 'float16'\nblock_size = None\n"
    text = GPT2.replace("block_size = 1024\n", "")
    found = reading("config/x.py", text, Surroundings({"train.py": script}))
    assert told(found.plan.seq_len) == (256, "default", 1)
    shape = found.plan.model_shape.value
    assert shape is not None
    assert shape.layers == 4
    assert reading("config/x.py", text).plan.seq_len.value == 1024


@pytest.mark.parametrize(
    ("lines", "gpu", "precision"),
    [
        ("", AMPERE, Precision.BF16), ("", TURING, Precision.FP16), ("dtype = 'float32'", None, Precision.FP32),
        ("dtype = 'float16'", None, Precision.FP16), ("dtype = 'int8'", None, None),
    ],
)  # fmt: skip
def test_precision(lines: str, gpu: object, precision: Precision | None) -> None:
    found = reading("x.py", f"{GPT2}{lines}\n", Surroundings(gpu=gpu))  # type: ignore[arg-type]
    assert found.plan.precision.value is precision


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", (12, 768, 50304, False)),
        ("n_layer = 6\nn_embd = 384\nn_head = 6\nbias = True", (6, 384, 50304, True)),
        ("init_from = 'gpt2-xl'", (48, 1600, 50257, True)),
        ("dataset = 'shakespeare_char'", None),
        ("init_from = 'resume'", None),
        ("n_head = 5", None),
    ],
)
def test_shapes(lines: str, expected: tuple[object, ...] | None) -> None:
    shape = reading("x.py", f"{GPT2}{lines}\n").plan.model_shape.value
    assert (shape and (shape.layers, shape.hidden, shape.vocabulary, shape.biases)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "batch_size = 8\neval_iters = 500\neval_only = True\ninit_from = 'gpt2'\n",
        f"{GPT2}eval_only = True\n",
        "batch_size = 8\ngradient_accumulation_steps = 4\n",
    ],
)
def test_what_trains_nothing_is_left_alone(text: str) -> None:
    assert [found for found in readings("x.py", text) if found.plan.dialect == "nanogpt"] == []


def test_the_prefilter_lets_it_through() -> None:
    assert registry.prefilter("train_gpt2.py", GPT2.encode())


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        ("--learning_rate=1", ["learning_rate"]),
        ("--learning_rate=1e-3 --dropout=0.0 --batch_size=8 --compile=False --device=cpu --out_dir=x", []),
        ("--compile=false", ["compile"]),
        ("--compile=0", ["compile"]),
        ("--batch_size=8.0", ["batch_size"]),
        ("--max_iters=1e4", ["max_iters"]),
        ("--batch_size=$B", []),
        ("--beta2=1", []),
    ],
)
def test_words_of_another_type_are_refused(words: str, refused: list[str]) -> None:
    """nanoGPT ``configurator.py`` line 41: ``assert type(attempt) == type(globals()[key])``; beta2 is the config's."""
    text = "batch_size = 16\nblock_size = 256\ngradient_accumulation_steps = 4\nmax_iters = 5000\nbeta2 = 1\n"
    launch = f"torchrun --nproc_per_node 2 train.py config.py {words}"
    found = reading("config.py", text, Surroundings(launched_by=launch)).findings
    assert [finding.message.split("=")[0] for finding in found] == refused
    assert all(finding.code == "VL001" for finding in found)
