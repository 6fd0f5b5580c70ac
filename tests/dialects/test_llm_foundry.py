"""llm-foundry: a global batch over the ranks, micro batches, references, published configs.

Expectations come from ``utils/config_utils.py#calculate_batch_size_info`` (llm-foundry 2025-07), worked out by hand.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dialects.support import Surroundings, document, reading, readings, told, values
from vramlint.dialects import registry
from vramlint.plan import Precision

CORPUS = Path(__file__).parents[2] / ".." / "shared" / "corpus" / "llm-foundry" / "mosaicml__llm-foundry"
needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside the checkout")

MPT = """\
max_seq_len: 2048
model: {name: mpt_causal_lm, d_model: 768, n_heads: 12, n_layers: 12, expansion_ratio: 4, vocab_size: 50368}
train_loader: {name: text, num_workers: 8}
optimizer: {name: decoupled_adamw, lr: 6.0e-4}
max_duration: 4800ba
global_train_batch_size: 24
device_train_microbatch_size: 4
precision: amp_bf16
"""


@pytest.mark.parametrize(
    ("micro", "gpus", "expected"),
    [
        ("4", 1, (4, 6, 1, 24)), ("4", 2, (4, 3, 2, 24)), ("4", 3, (4, 2, 3, 24)), ("4", 8, (3, 1, 8, 24)),
        ("5", 1, (5, 5, 1, 24)), ("5", 2, (5, 3, 2, 24)), ("5", 3, (5, 2, 3, 24)), ("5", 8, (3, 1, 8, 24)),
        ("4", 5, (4, None, 5, None)), ("4", 16, (4, None, 16, None)),
        ("auto", 1, (None, None, 1, 24)), ("auto", 2, (None, None, 2, 24)), ("auto", 8, (None, None, 8, 24)),
        ("auto", 5, (None, None, 5, None)), ("4", None, (4, None, None, 24)), ("0.5", 8, (None, None, 8, 24)),
    ],
)  # fmt: skip
def test_batches(micro: str, gpus: int | None, expected: tuple[int | None, ...]) -> None:
    text = MPT.replace("microbatch_size: 4", f"microbatch_size: {micro}")
    found = reading("mpt.yaml", text, Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "accumulation", "data_parallel", "effective_batch") == expected
    assert values(found, "global_batch", "batch_unit") == (24, "samples")


def test_the_default_micro_batch_is_auto() -> None:
    found = reading("mpt.yaml", MPT.replace("device_train_microbatch_size: 4\n", ""), Surroundings(gpus=2))
    assert values(found, "micro_batch", "effective_batch") == (None, 24)


def test_references_are_facts_of_the_place_that_spells_them() -> None:
    text = "variables: {length: 512}\n" + MPT.replace("max_seq_len: 2048", "max_seq_len: ${variables.length}")
    found = reading("mpt.yaml", text)
    assert told(found.plan.seq_len) == (512, "file", 1)
    assert "seq_len" not in found.slots


def test_the_words_of_the_launch_line_win() -> None:
    line = "composer -n 3 train/train.py mpt.yaml global_train_batch_size=12 train_loader.num_workers=2"
    found = reading("mpt.yaml", MPT, Surroundings(launched_by=line))
    assert told(found.plan.global_batch) == (12, "launch", 1)
    assert told(found.plan.world_size) == (3, "launch", 1)
    assert values(found, "accumulation", "effective_batch", "workers_per_rank") == (1, 12, 2)


def test_composer_takes_every_gpu_of_the_target() -> None:
    found = reading("mpt.yaml", MPT, Surroundings(gpus=2, launched_by="composer train/train.py mpt.yaml"))
    assert found.plan.world_size.value == 2


def test_a_job_file_keeps_the_run_under_parameters() -> None:
    inner = "".join(f"  {line}\n" for line in MPT.splitlines())
    found = reading(
        "job.yaml", f"image: x\ncommand: y\ncompute: {{gpus: 8}}\nparameters:\n{inner}", Surroundings(gpus=8)
    )
    assert values(found, "micro_batch", "effective_batch") == (3, 24)


@pytest.mark.parametrize(
    ("lines", "gpus", "sharding", "checkpointing"),
    [
        ("", 8, "ddp", False), ("", 1, "none", False),
        ("fsdp_config: {activation_checkpointing: true}", 8, "fsdp", True),
        ("fsdp_config: {sharding_strategy: SHARD_GRAD_OP}", 8, "zero2", False),
        ("fsdp_config: {sharding_strategy: NO_SHARD}", 8, "ddp", False),
    ],
)  # fmt: skip
def test_sharding(lines: str, gpus: int, sharding: str, checkpointing: bool) -> None:
    found = reading("mpt.yaml", f"{MPT}{lines}\n", Surroundings(gpus=gpus))
    assert values(found, "sharding", "grad_checkpointing") == (sharding, checkpointing)


@pytest.mark.parametrize(
    ("word", "precision"),
    [("amp_bf16", Precision.BF16), ("amp_fp16", Precision.FP16), ("fp32", Precision.FP32), ("amp_fp8", Precision.FP8)],
)
def test_precision(word: str, precision: Precision) -> None:
    found = reading("mpt.yaml", MPT.replace("amp_bf16", word))
    assert found.plan.precision.value is precision
    assert found.slots["precision"].spell(Precision.FP32) == "fp32"


def test_the_shape_of_mpt() -> None:
    shape = reading("mpt.yaml", MPT).plan.model_shape.value
    assert shape is not None
    assert (shape.hidden, shape.layers, shape.ffn, shape.vocabulary) == (768, 12, 3072, 50368)
    assert (shape.tied, shape.gated, shape.norm, shape.biases) == (True, False, "layer", True)
    moe = MPT.replace("vocab_size: 50368", "vocab_size: 50368, ffn_config: {ffn_type: mb_dmoe}")
    assert not reading("mpt.yaml", moe).plan.model_shape.known


def test_adapters_of_hugging_face_models() -> None:
    model = "model: {name: hf_causal_lm, pretrained_model_name_or_path: a/b, peft_config: {r: 64, peft_type: LORA}}\n"
    found = reading("x.yaml", model + MPT.replace("model:", "unused:"))
    assert values(found, "model", "adapter", "adapter_rank") == ("a/b", "lora", 64)


@pytest.mark.parametrize(
    "text",
    [
        "max_seq_len: 1024\ndevice_eval_batch_size: 4\nmodels: []\nicl_tasks: x.yaml\n",
        "image: x\ncommand: python eval.py\ngpu_num: 8\nparameters: {device_eval_batch_size: 4}\n",
        "image: x\ncommand: composer train.py\ncompute: {gpus: 8}\nparameters: {}\n",
    ],
)
def test_what_trains_nothing_is_left_alone(text: str) -> None:
    assert readings("x.yaml", text) == []
    assert [str(verdict.dialect) for verdict in registry.why(document("x.yaml", text))] == ["llm_foundry_other"]


@needs_corpus
@pytest.mark.corpus
@pytest.mark.parametrize(
    ("file", "gpus", "expected"),
    [
        ("pretrain/mpt-125m.yaml", 8, (16, 2, 256, Precision.BF16)),
        ("pretrain/mpt-7b.yaml", 8, (8, 16, 1024, Precision.BF16)),
        ("pretrain/mpt-7b.yaml", 3, (8, None, None, Precision.BF16)),
        ("pretrain/mpt-13b.yaml", 8, (8, 16, 1024, Precision.BF16)),
        ("pretrain/mpt-760m.yaml", 2, (4, 32, 256, Precision.BF16)),
        ("pretrain/mpt-small-cpu.yaml", 1, (16, 16, 256, Precision.FP32)),
        ("pretrain/gpt2-small.yaml", 8, (4, 8, 256, Precision.BF16)),
        ("finetune/dbrx-lora-ft.yaml", 8, (1, 2, 16, Precision.BF16)),
        ("finetune/dbrx-lora-ft.yaml", 3, (1, None, None, Precision.BF16)),
        ("finetune/mpt-7b_dolly_sft.yaml", 8, (6, 1, 48, Precision.BF16)),
    ],
)
def test_published_configs(file: str, gpus: int, expected: tuple[object, ...]) -> None:
    path = f"scripts/train/yamls/{file}"
    found = reading(path, (CORPUS / path).read_text(), Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "accumulation", "effective_batch", "precision") == expected
