"""NeMo: language models with a global batch, speech models with a batch per rank, published configs.

Expectations come from Megatron's arithmetic (``num_microbatches_calculator.py``) and Lightning's (``batch x ranks x
accumulate_grad_batches``), worked out by hand.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dialects.support import Surroundings, document, reading, told, values
from vramlint.dialects import registry
from vramlint.hardware import Target
from vramlint.memory import estimate
from vramlint.plan import Precision

CORPUS = Path(__file__).parents[2] / ".." / "shared" / "corpus" / "nemo" / "NVIDIA__NeMo" / "examples"
needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside the checkout")

GPT = """\
name: megatron_gpt
trainer: {devices: -1, num_nodes: 1, precision: bf16}
exp_manager: {name: x}
model:
  micro_batch_size: 4
  global_batch_size: 32
  tensor_model_parallel_size: 1
  encoder_seq_length: 512
  num_layers: 12
  hidden_size: 768
  num_attention_heads: 12
  tokenizer: {type: GPT2BPETokenizer}
  optim: {name: fused_adam, lr: 2e-4}
"""

ASR = """\
name: conformer
model:
  train_ds: {batch_size: 16, num_workers: 8, pin_memory: true}
  validation_ds: {batch_size: 2}
  optim: {name: adamw, lr: 2.0}
trainer: {devices: -1, accumulate_grad_batches: 2, precision: 32}
exp_manager: {name: x}
"""


@pytest.mark.parametrize(
    ("tensor", "gpus", "expected"),
    [
        (1, 1, (8, 1, 32)), (1, 2, (4, 2, 32)), (1, 3, (None, 3, None)), (1, 8, (1, 8, 32)),
        (2, 2, (8, 1, 32)), (2, 3, (None, None, 32)), (2, 8, (2, 4, 32)), (8, 8, (8, 1, 32)),
        (1, None, (None, None, 32)),
    ],
)  # fmt: skip
def test_language_models(tensor: int, gpus: int | None, expected: tuple[int | None, ...]) -> None:
    text = GPT.replace("parallel_size: 1", f"parallel_size: {tensor}")
    found = reading("gpt.yaml", text, Surroundings(gpus=gpus))
    assert values(found, "accumulation", "data_parallel", "effective_batch") == expected
    assert values(found, "micro_batch", "global_batch", "batch_unit") == (4, 32, "samples")


@pytest.mark.parametrize(("gpus", "effective"), [(1, 32), (2, 64), (3, 96), (8, 256), (None, None)])
def test_speech_models(gpus: int | None, effective: int | None) -> None:
    found = reading("asr.yaml", ASR, Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "accumulation", "effective_batch") == (16, 2, effective)
    assert values(found, "workers_per_rank", "prefetch_factor", "pin_memory", "precision") == (
        8,
        2,
        True,
        Precision.FP32,
    )
    assert found.slots["micro_batch"].key == "batch_size"


@pytest.mark.parametrize(
    ("devices", "ranks"), [("4", 4), ('"4"', 4), ("[0, 1, 2]", 3), ("'0,1'", 2), ("-1", 8), ("auto", 8)]
)
def test_devices(devices: str, ranks: int) -> None:
    found = reading("asr.yaml", ASR.replace("devices: -1", f"devices: {devices}"), Surroundings(gpus=8))
    assert found.plan.world_size.value == ranks


@pytest.mark.parametrize(
    "loader",
    [
        "batch_size: '???'", "batch_size: null, batch_duration: 100", "batch_size: 8, bucketing_batch_size: [8, 4]",
        "batch_size: 8, batch_duration: 600",
    ],
)  # fmt: skip
def test_batches_that_nobody_knows(loader: str) -> None:
    found = reading("asr.yaml", ASR.replace("batch_size: 16", loader), Surroundings(gpus=8))
    assert values(found, "micro_batch", "effective_batch") == (None, None)


@pytest.mark.parametrize(
    "loader", ["dataloader_params: {batch_size: 16}", "batch_sampler: {batch_size: 16}", "batch_size: '${n}'"]
)
def test_homes_of_the_batch(loader: str) -> None:
    found = reading("tts.yaml", "n: 16\n" + ASR.replace("batch_size: 16", loader), Surroundings(gpus=2))
    assert values(found, "micro_batch", "effective_batch") == (16, 64)


def test_references_are_not_written_to() -> None:
    data = "  data: {train_ds: {micro_batch_size: '${model.micro_batch_size}', global_batch_size: 64}}\n"
    found = reading("sft.yaml", GPT.replace("  optim", f"{data}  optim"), Surroundings(gpus=8))
    assert told(found.plan.micro_batch) == (4, "file", 5)
    assert "micro_batch" not in found.slots
    assert values(found, "accumulation", "effective_batch") == (2, 64)


def test_the_words_of_the_launch_line_win() -> None:
    line = (
        "python pretrain.py --config-name gpt trainer.devices=2 model.micro_batch_size=8 ++model.global_batch_size=64"
    )
    found = reading("gpt.yaml", GPT, Surroundings(gpus=8, launched_by=line))
    assert values(found, "micro_batch", "world_size", "accumulation", "effective_batch") == (8, 2, 4, 64)


@pytest.mark.parametrize(
    ("line", "precision"),
    [
        ("precision: bf16", Precision.BF16), ("precision: 16", Precision.FP16), ("precision: 32", Precision.FP32),
        ("precision: bf16-true", Precision.PURE_BF16), ("precision: 64", None), ("benchmark: false", Precision.FP32),
    ],
)  # fmt: skip
def test_precision(line: str, precision: Precision | None) -> None:
    assert reading("gpt.yaml", GPT.replace("precision: bf16", line)).plan.precision.value is precision


@pytest.mark.parametrize(
    ("line", "on", "scope"),
    [
        ("activations_checkpoint_granularity: full", True, None),
        ("activations_checkpoint_granularity: selective", False, "selective"),
        ("activations_checkpoint_granularity: null", False, None),
    ],
)
def test_checkpointing(line: str, on: bool, scope: str | None) -> None:
    found = reading("gpt.yaml", GPT.replace("  optim", f"  {line}\n  optim"))
    assert values(found, "grad_checkpointing", "checkpointing_scope") == (on, scope)


@pytest.mark.parametrize(
    ("optimizer", "sharding"),
    [("distributed_fused_adam", "zero2"), ("mcore_distributed_optim", "zero1"), ("fused_adam", "ddp")],
)
def test_sharding(optimizer: str, sharding: str) -> None:
    found = reading("gpt.yaml", GPT.replace("fused_adam", optimizer), Surroundings(gpus=8))
    assert found.plan.sharding.value == sharding


def test_the_shape_of_a_gpt() -> None:
    shape = reading("gpt.yaml", GPT).plan.model_shape.value
    assert shape is not None
    assert (shape.vocabulary, shape.ffn, shape.norm, shape.biases, shape.tied) == (50304, 3072, "layer", True, True)
    assert not reading("gpt.yaml", GPT.replace("name: megatron_gpt", "name: megatron_griffin")).plan.model_shape.known


@pytest.mark.parametrize(
    "text",
    [
        "inference: {greedy: true}\ntrainer: {devices: 1}\ngpt_model_file: x\n",
        f"{GPT}inference: {{greedy: true}}\n",
        "trainer: {devices: 1}\nexp_manager: {}\nmodel: {}\n",
    ],
)
def test_what_trains_nothing_is_left_alone(text: str) -> None:
    read = document("x.yaml", text)
    assert registry.claims(read) == ()
    assert [verdict.dialect for verdict in registry.why(read)] == ["nemo_other"]


@needs_corpus
@pytest.mark.corpus
@pytest.mark.parametrize(
    ("file", "gpus", "expected"),
    [
        ("nlp/language_modeling/conf/megatron_gpt_config.yaml", 8, (4, 2, 1, 8, Precision.BF16)),
        ("nlp/language_modeling/conf/megatron_gpt_config_hyena.yaml", 8, (16, 16, 1, 256, Precision.BF16)),
        ("nlp/language_modeling/conf/megatron_t0_config.yaml", 8, (16, 8, 1, 128, Precision.FP16)),
        ("nlp/language_modeling/tuning/conf/megatron_gpt_finetuning_config.yaml", 1, (4, 32, 1, 128, Precision.FP16)),
        ("asr/conf/conformer/conformer_ctc_bpe.yaml", 1, (16, 1, 1, 16, Precision.FP32)),
        ("asr/conf/conformer/conformer_ctc_bpe.yaml", 2, (16, 1, 2, 32, Precision.FP32)),
        ("asr/conf/conformer/conformer_ctc_bpe.yaml", 3, (16, 1, 3, 48, Precision.FP32)),
        ("asr/conf/conformer/conformer_ctc_bpe.yaml", 8, (16, 1, 8, 128, Precision.FP32)),
        ("speechlm2/conf/salm.yaml", 8, (4, 1, 8, 32, Precision.PURE_BF16)),
        ("nlp/language_modeling/conf/bert_pretraining_from_text_config.yaml", 8, (16, 1, 1, 16, Precision.FP16)),
        ("speechlm/conf/salm/salm_llama3-8b_fc_fc_peft.yaml", 8, (2, None, 8, None, Precision.BF16)),
        ("speechlm/conf/salm/salm_llama3-8b_fc_fc_peft.yaml", 1, (2, 1, 1, 2, Precision.BF16)),
    ],
)
def test_published_configs(file: str, gpus: int, expected: tuple[object, ...]) -> None:
    found = reading(file, (CORPUS / file).read_text(), Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "accumulation", "data_parallel", "effective_batch", "precision") == expected


@needs_corpus
@pytest.mark.corpus
def test_every_training_file_is_recognised() -> None:
    verdicts = {
        path.name: [verdict.dialect for verdict in registry.why(document(path.name, path.read_text()))]
        for path in CORPUS.rglob("*.yaml")
    }
    left = {name for name, dialects in verdicts.items() if dialects != ["nemo"]}
    telling = ("inference", "generate", "export", "prune", "validate", "qatask")
    assert [name for name in left if not any(word in name for word in telling)] == []
    assert all(verdicts[name] == ["nemo_other"] for name in left)


@pytest.mark.parametrize(
    ("lines", "facts"),
    [
        ("", {"attention_kernel": "unfused", "local_layers": True, "hidden_dropout": 0.1, "learned_positions": 2048}),
        ("  transformer_engine: true\n", {"attention_kernel": None, "local_layers": False}),
        ("  use_flash_attention: true\n", {"attention_kernel": "flash"}),
        ("  virtual_pipeline_model_parallel_size: 4\n", {"pipeline_chunks": 4}),
        ("  position_embedding_type: rope\n", {"learned_positions": None}),
        (
            "  activations_checkpoint_granularity: full\n  activations_checkpoint_method: block\n"
            "  activations_checkpoint_num_layers: 2\n",
            {"recompute": ("full", "block", 2, ("core_attn",)), "grad_checkpointing": True},
        ),
        ("  fp8: true\n", {"fp8_products": True, "fp8_parameters": False}),
    ],
)
def test_what_the_blocks_of_a_gpt_keep(lines: str, facts: dict[str, object]) -> None:
    text = f"{GPT}  max_position_embeddings: 2048\n  pipeline_model_parallel_size: 2\n  megatron_amp_O2: true\n{lines}"
    plan = reading("gpt.yaml", text, Surroundings(gpus=8)).plan
    assert {name: plan.fact(name).value for name in facts} == facts
    found = estimate(plan, Target())
    assert found.allocated is not None, found.unknown_because
