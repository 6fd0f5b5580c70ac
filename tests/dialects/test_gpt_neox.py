"""gpt-neox: the DeepSpeed triple over data-parallel ranks, hyphens, several files, published configs.

Expectations come from ``calculate_batch_parameters`` and ``calculate_derived`` (gpt-neox 2026-05), worked out by hand.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dialects.support import Surroundings, document, reading, readings, told, values
from vramlint.dialects import registry
from vramlint.hardware import Target
from vramlint.memory import estimate
from vramlint.plan import Precision

CORPUS = Path(__file__).parents[2] / ".." / "shared" / "corpus" / "gpt-neox" / "EleutherAI__gpt-neox" / "configs"
needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside the checkout")

NEOX = """\
pipe_parallel_size: 1
model_parallel_size: 1
num_layers: 12
hidden_size: 768
num_attention_heads: 12
seq_length: 2048
train_micro_batch_size_per_gpu: 4
train_iters: 1000
"""


def _batch(lines: str) -> str:
    return NEOX.replace("train_micro_batch_size_per_gpu: 4", lines)


@pytest.mark.parametrize(
    ("lines", "gpus", "expected"),
    [
        ("train_micro_batch_size_per_gpu: 4", 1, (4, 1, 4)), ("train_micro_batch_size_per_gpu: 4", 2, (4, 1, 8)),
        ("train_micro_batch_size_per_gpu: 4", 3, (4, 1, 12)), ("train_micro_batch_size_per_gpu: 4", 8, (4, 1, 32)),
        ("train_micro_batch_size_per_gpu: 4\ngradient_accumulation_steps: 3", 2, (4, 3, 24)),
        ("train_batch_size: 48", 1, (48, 1, 48)), ("train_batch_size: 48", 3, (16, 1, 48)),
        ("train_batch_size: 48", 8, (6, 1, 48)),
        ("train_batch_size: 48\ngradient_accumulation_steps: 3", 8, (2, 3, 48)),
        ("train_batch_size: 48\ntrain_micro_batch_size_per_gpu: 4", 1, (4, 12, 48)),
        ("train_batch_size: 48\ntrain_micro_batch_size_per_gpu: 4", 2, (4, 6, 48)),
        ("train_batch_size: 48\ntrain_micro_batch_size_per_gpu: 4", 8, (4, 1, 32)),
        ("train_batch_size: 8\ntrain_micro_batch_size_per_gpu: 4", 8, (4, None, None)),
        ("train_batch_size: 48", None, (None, 1, None)),
        ("train_batch_size: auto", 8, (None, None, None)),
    ],
)  # fmt: skip
def test_the_triple(lines: str, gpus: int | None, expected: tuple[int | None, ...]) -> None:
    found = reading("x.yml", _batch(lines), Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "accumulation", "effective_batch") == expected


@pytest.mark.parametrize(
    ("pipe", "model", "gpus", "data_parallel"),
    [(0, 1, 8, 8), (1, 2, 8, 4), (2, 2, 8, 2), (4, 2, 8, 1), (0, 8, 8, 1), (1, 2, 3, None), (3, 1, 3, 1), (2, 1, 2, 1)],
)
def test_ranks_that_share_a_model(pipe: int, model: int, gpus: int, data_parallel: int | None) -> None:
    text = NEOX.replace("pipe_parallel_size: 1", f"pipe_parallel_size: {pipe}")
    text = text.replace("model_parallel_size: 1", f"model_parallel_size: {model}")
    found = reading("x.yml", text, Surroundings(gpus=gpus))
    assert found.plan.data_parallel.value == data_parallel
    assert found.plan.effective_batch.value == (4 * data_parallel if data_parallel else None)


def test_a_file_without_the_model_does_not_know_who_shares_it() -> None:
    found = reading("train.yml", "train_micro_batch_size_per_gpu: 4\ntrain_iters: 9\ndata_impl: mmap\nseq_length: 8\n")
    assert values(found, "micro_batch", "data_parallel", "effective_batch") == (4, None, None)


def test_hyphens_and_the_ranks_of_the_file() -> None:
    text = NEOX.replace("_", "-") + "num-gpus: 4\nnum-nodes: 2\n"
    found = reading("x.yml", text)
    assert values(found, "micro_batch", "seq_len", "world_size", "effective_batch") == (4, 2048, 8, 32)
    assert told(found.plan.world_size) == (8, "file", 9)


def test_the_files_of_one_launch_are_one_run() -> None:
    part = {
        "configs/train.yml": "train_micro_batch_size_per_gpu: 2\nvocab_file: d/gpt2-vocab.json\nfp16: {enabled: true}\n"
    }
    model = NEOX.replace("train_micro_batch_size_per_gpu: 4\n", "")
    line = "python ./deepy.py train.py -d configs model.yml train.yml"
    found = reading("configs/model.yml", model, Surroundings(part, gpus=8, launched_by=line))
    assert values(found, "micro_batch", "effective_batch", "precision") == (2, 16, Precision.FP16)
    assert [each.path for each in found.documents] == ["configs/model.yml", "configs/train.yml"]
    shape = found.plan.model_shape.value
    assert shape is not None
    assert (shape.vocabulary, shape.ffn, shape.gated, shape.biases, shape.tied) == (50304, 3072, False, True, True)


def test_half_a_run_has_no_batch() -> None:
    found = reading("13B.yml", NEOX.replace("train_micro_batch_size_per_gpu: 4\n", ""), Surroundings(gpus=8))
    assert values(found, "micro_batch", "effective_batch") == (None, None)


@pytest.mark.parametrize(
    ("lines", "entries"),
    [
        ("", 50304),
        ("tokenizer_type: HFTokenizer", 50304),
        ("model_parallel_size: 2\ntokenizer_type: HFTokenizer", 50432),
        ("tokenizer_type: SPMTokenizer", None),
        ("vocab_file: d/own.json", None),
    ],
)
def test_the_vocabulary_of_a_tokenizer_whose_file_is_not_named(lines: str, entries: int | None) -> None:
    text = NEOX.replace("model_parallel_size: 1\n", "") if "model_parallel" in lines else NEOX
    found = reading("x.yml", f"{text}{lines}\n").plan
    shape = found.model_shape.value
    assert (shape.vocabulary if shape else None) == entries
    assert (found.fact("assumed").value is not None) == (entries is not None)


@pytest.mark.parametrize(
    ("lines", "ffn"),
    [
        ("activation: swiglu\nintermediate_size: 41472\nmlp_multiple_of: 256\n", 13824),
        ("activation: swiglu\nintermediate_size: 14336\nmlp_multiple_of: 14336\n", 14336),
        ("intermediate_size: 2048\n", 2048),
        ("", 3072),
    ],
)
def test_gated_layers_take_two_thirds(lines: str, ffn: int) -> None:
    shape = reading("x.yml", f"{NEOX}padded_vocab_size: 50304\n{lines}").plan.model_shape.value
    assert shape is not None
    assert shape.ffn == ffn


@pytest.mark.parametrize("lines", ['attention_config: [[["mamba"], 12]]', "moe_num_experts: 8"])
def test_blocks_that_no_formula_covers(lines: str) -> None:
    assert not reading("x.yml", f"{NEOX}padded_vocab_size: 50304\n{lines}\n").plan.model_shape.known


@pytest.mark.parametrize(
    ("lines", "precision"),
    [
        ("", Precision.FP32), ("fp16: {enabled: true}", Precision.FP16), ("bf16: {enabled: true}", Precision.BF16),
        ("precision: bfloat16", Precision.BF16), ("precision: fp16", Precision.FP16), ("precision: int8", None),
    ],
)  # fmt: skip
def test_precision(lines: str, precision: Precision | None) -> None:
    assert reading("x.yml", f"{NEOX}{lines}\n").plan.precision.value is precision


@pytest.mark.parametrize(
    "text",
    [
        "data_path: data/enwik8\nvocab_file: v.json\nsave: checkpoints\nload: checkpoints\n",
        "text_gen_type: unconditional\nmaximum_tokens: 102\ntemperature: 1.0\n",
        "num_layers: 2\nhidden_size: 8\n",
    ],
)
def test_fragments(text: str) -> None:
    assert readings("x.yml", text) == []


def test_json_of_the_same_keys_is_no_deepspeed_file() -> None:
    text = '{"num-layers": 2, "train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": [0, 1]}, '
    text += '"seq-length": 8, "pipe-parallel-size": 1, "num-attention-heads": 2}'
    found = reading("tune.json", text, Surroundings(gpus=2))
    assert (found.plan.dialect, *values(found, "effective_batch", "sharding")) == ("gpt_neox", 2, None)


def test_the_prefilter_lets_half_a_run_through() -> None:
    assert registry.prefilter("7B.yml", b'{"pipe-parallel-size": 1, "num-layers": 2}')


@needs_corpus
@pytest.mark.corpus
@pytest.mark.parametrize(
    ("file", "gpus", "expected"),
    [
        ("6-7B.yml", 1, (4, 1, 1, 4, Precision.FP16)), ("6-7B.yml", 8, (4, 1, 8, 32, Precision.FP16)),
        ("1-3B.yml", 3, (4, 1, 3, 12, Precision.FP16)), ("760M.yml", 2, (4, 1, 2, 8, Precision.FP16)),
        ("llemma/34B.yml", 8, (2, 16, 1, 32, Precision.BF16)),
        ("llemma/34B.yml", 3, (2, 16, None, None, Precision.BF16)),
        ("llama/train_config.yml", 8, (4, 1, None, None, Precision.FP16)),
        ("bf16_125M.yml", 8, (4, 1, 8, 32, Precision.BF16)), ("mamba/mamba-130M.yml", 2, (4, 1, 2, 8, Precision.FP16)),
        ("llama2/13B.yml", 8, (None, None, 4, None, None)),
    ],
)  # fmt: skip
def test_published_configs(file: str, gpus: int, expected: tuple[object, ...]) -> None:
    found = reading(file, (CORPUS / file).read_text(), Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "accumulation", "data_parallel", "effective_batch", "precision") == expected


@needs_corpus
@pytest.mark.corpus
def test_every_run_of_the_corpus_is_recognised() -> None:
    alone = {"slurm_local.yml", "eleutherai_cluster.yml", "local_setup_comet.yml", "local_setup_wandb.yml"}
    for path in CORPUS.rglob("*.yml"):
        claimed = [claim.dialect for claim in registry.claims(document(path.name, path.read_text()))]
        assert claimed == ([] if path.name in alone | {"pythia-paths.yml"} else ["gpt_neox"]), path


def test_a_pipeline_of_tensor_parallel_stages_is_worked_out() -> None:
    text = NEOX.replace(
        "pipe_parallel_size: 1\nmodel_parallel_size: 1", "pipe_parallel_size: 2\nmodel_parallel_size: 2"
    )
    more = "fp16: {enabled: true}\nzero_optimization: {stage: 1}\ncheckpoint_activations: true\n"
    whole, divided = (
        estimate(reading("x.yml", f"{each}{more}", Surroundings(gpus=8)).plan, Target()) for each in (NEOX, text)
    )
    assert whole.allocated is not None
    assert divided.allocated is not None
    assert divided.allocated.value < whole.allocated.value
    assert any("stage 1 of 2 needs most" in text or "stage 2 of 2 needs most" in text for text in divided.assumptions)


def test_a_file_of_the_model_alone_has_no_defaults_of_training() -> None:
    """``deepy.py train.py 7B.yml training.yml``: what the first leaves out, the second may say."""
    text = '{"pipe_parallel_size": 1, "num_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,'
    text += ' "seq_length": 4096, "pos_emb": "rotary"}\n'
    plan = reading("7B.yml", text).plan
    assert plan.model_shape.known
    assert [name for name, fact in plan.facts() if fact.origin == "default"] == []
    whole = reading("7B.yml", text.replace("}", ', "train_micro_batch_size_per_gpu": 4}')).plan
    assert whole.sharding.origin == "default"
