"""Megatron-LM: a global batch over data-parallel ranks, on command lines and in functional tests.

Expectations come from ``training/arguments.py`` lines 415-735 and ``core/num_microbatches_calculator.py`` line 360
(Megatron-LM 2026-08-22), worked out by hand.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dialects.support import Surroundings, document, reading, readings, values
from vramlint.dialects import registry
from vramlint.plan import Precision

CORPUS = Path(__file__).parents[2] / ".." / "shared" / "corpus" / "megatron" / "NVIDIA__Megatron-LM"
CASES = CORPUS / "tests" / "functional_tests" / "test_cases"
needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside the checkout")

LINE = "torchrun --nproc_per_node={} pretrain_gpt.py --micro-batch-size 4 --tensor-model-parallel-size {} {}\n"


@pytest.mark.parametrize(
    ("ranks", "tensor", "more", "expected"),
    [
        (1, 1, "--global-batch-size 64", (16, 1, 64)), (2, 1, "--global-batch-size 64", (8, 2, 64)),
        (3, 1, "--global-batch-size 64", (None, 3, None)), (8, 1, "--global-batch-size 64", (2, 8, 64)),
        (1, 1, "", (1, 1, 4)), (2, 1, "", (1, 2, 8)), (3, 1, "", (1, 3, 12)), (8, 1, "", (1, 8, 32)),
        (8, 2, "--global-batch-size 64", (4, 4, 64)), (3, 2, "--global-batch-size 64", (None, None, 64)),
        (8, 2, "--pipeline-model-parallel-size 2 --global-batch-size 64", (8, 2, 64)),
        (8, 2, "--context-parallel-size 2 --global-batch-size 64", (8, 2, 64)),
        (8, 1, "--expert-model-parallel-size 8 --global-batch-size 64", (2, 8, 64)),
        (3, 1, "--global-batch-size 64 --decrease-batch-size-if-needed", (5, 3, 60)),
        (8, 1, "--global-batch-size 64 --rampup-batch-size 16 16 300", (2, 8, 64)),
        (8, 1, "--step-batch-size-schedule '0:384 200B:768'", (None, 8, None)),
        (8, 2, "--tensor-parallel-num-weight-shards 4 --global-batch-size 64", (8, 2, 64)),
    ],
)  # fmt: skip
def test_batches(ranks: int, tensor: int, more: str, expected: tuple[int | None, ...]) -> None:
    found = reading("train.sh", LINE.format(ranks, tensor, more))
    assert values(found, "accumulation", "data_parallel", "effective_batch") == expected
    assert values(found, "micro_batch", "world_size", "batch_unit") == (4, ranks, "samples")


def test_arrays_and_variables_of_a_script() -> None:
    text = (
        "GPUS=8\nARGS=(\n  --micro-batch-size 2\n  --global-batch-size 32\n  --bf16\n)\n"
        'MODEL="--num-layers 2 --hidden-size 64 --num-attention-heads 4 --vocab-size 100"\n'
        "torchrun --nproc_per_node $GPUS --nnodes 2 pretrain_gpt.py ${ARGS[@]} $MODEL --tensor-model-parallel-size 2\n"
    )
    found = reading("train.sh", text)
    assert values(found, "accumulation", "world_size", "data_parallel", "effective_batch") == (2, 16, 8, 32)
    assert found.slots["nominal_batch"].spell(64) == 64
    shape = found.plan.model_shape.value
    assert shape is not None
    assert (shape.vocabulary, shape.ffn, shape.kv_heads, shape.gated, shape.biases) == (256, 256, 4, False, True)


def test_a_variable_that_nobody_sets_may_hold_any_flag() -> None:
    line = "torchrun --nproc_per_node=8 pretrain_gpt.py --micro-batch-size 4 --tensor-model-parallel-size 2 {} --lr 1\n"
    open_ended = reading("train.sh", line.format("--bf16 $EXTRA"))
    assert values(open_ended, "micro_batch", "precision", "accumulation") == (4, Precision.BF16, None)
    assert values(open_ended, "data_parallel", "grad_checkpointing", "workers_per_rank") == (None, None, None)
    callers_own = reading("train.sh", line.format("--bf16 $@"))
    assert values(callers_own, "data_parallel", "grad_checkpointing", "workers_per_rank") == (4, False, 2)


@pytest.mark.parametrize(
    ("flags", "precision"),
    [
        ("", Precision.FP32), ("--bf16", Precision.BF16), ("--fp16", Precision.FP16),
        ("--bf16 --fp8-format hybrid", Precision.FP8),
    ],
)  # fmt: skip
def test_precision(flags: str, precision: Precision) -> None:
    assert reading("train.sh", LINE.format(8, 1, flags)).plan.precision.value is precision


@pytest.mark.parametrize(
    ("flags", "on", "scope"),
    [
        ("", False, None), ("--recompute-granularity full --recompute-method uniform", True, None),
        ("--recompute-granularity selective", False, "selective"), ("--recompute-activations", False, "selective"),
    ],
)  # fmt: skip
def test_recomputation(flags: str, on: bool, scope: str | None) -> None:
    assert values(reading("train.sh", LINE.format(8, 1, flags)), "grad_checkpointing", "checkpointing_scope") == (
        on,
        scope,
    )


@pytest.mark.parametrize(
    ("flags", "sharding"),
    [
        ("", "ddp"), ("--use-distributed-optimizer", "zero1"), ("--use-torch-fsdp2", "fsdp"),
        ("--use-megatron-fsdp --data-parallel-sharding-strategy optim_grads_params", "fsdp"),
        ("--use-megatron-fsdp --data-parallel-sharding-strategy optim_grads", "zero2"),
    ],
)  # fmt: skip
def test_sharding(flags: str, sharding: str) -> None:
    assert reading("train.sh", LINE.format(8, 1, flags)).plan.sharding.value == sharding


GPT = "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --vocab-size 128"


@pytest.mark.parametrize(
    ("flags", "known"),
    [
        (GPT, True), (f"{GPT} --num-experts 8", True), (f"{GPT} --multi-latent-attention", True),
        (f"{GPT} --mtp-num-layers 1", True), (f"{GPT} --is-hybrid-model", False),
        (f"{GPT} --decoder-first-pipeline-num-layers 1", False),
        ("--num-layers 2 --hidden-size 64 --num-attention-heads 4", False),
        ("--num-layers 2 --hidden-size 64 --num-attention-heads 4 --vocab-file d/gpt2-vocab.json", True),
    ],
)  # fmt: skip
def test_shapes(flags: str, known: bool) -> None:
    assert reading("train.sh", LINE.format(8, 1, flags)).plan.model_shape.known is known


def test_what_the_estimator_reads() -> None:
    flags = (
        f"{GPT} --num-experts 8 --moe-layer-freq '([0]*1+[1]*1)' --moe-ffn-hidden-size 32 --hidden-dropout 0.0 "
        "--transformer-impl local --recompute-granularity selective --recompute-modules moe_act layernorm "
        "--cross-entropy-loss-fusion --num-layers-per-virtual-pipeline-stage 1 --position-embedding-type rope"
    )
    found = reading("train.sh", LINE.format(8, 2, flags))
    names = (
        "tensor_parallel",
        "expert_mixture",
        "hidden_dropout",
        "attention_dropout",
        "attention_kernel",
        "recompute",
    )
    assert values(found, *names) == (
        2,
        (8, 2, 32, 0, False, 1),
        0.0,
        0.1,
        "unfused",
        ("selective", "uniform", 1, ("moe_act", "layernorm")),
    )
    assert values(found, "megatron_loss", "pipeline_chunks", "learned_positions") == ("native", 2, 0)


def test_llama_in_flags() -> None:
    flags = f"{GPT} --swiglu --normalization RMSNorm --disable-bias-linear --untie-embeddings-and-output-weights"
    flags += " --group-query-attention --num-query-groups 2 --ffn-hidden-size 172 --kv-channels 32"
    shape = reading("train.sh", LINE.format(8, 1, flags)).plan.model_shape.value
    assert shape is not None
    assert (shape.kv_heads, shape.head_dim, shape.ffn, shape.norm) == (2, 32, 172, "rms")
    assert (shape.gated, shape.biases, shape.tied) == (True, False, False)


def test_an_encoder_is_no_decoder() -> None:
    line = LINE.replace("pretrain_gpt.py", "pretrain_bert.py").format(8, 1, GPT)
    assert not reading("train.sh", line).plan.model_shape.known


def test_the_wrapper_of_swift_has_other_defaults() -> None:
    line = "megatron sft --micro_batch_size 1 --global_batch_size 16 --tensor_model_parallel_size 4 --model a/b\n"
    found = reading("sft.sh", f"NPROC_PER_NODE=8 {line}")
    assert (found.plan.dialect, found.plan.model.known) == ("swift_megatron", False)
    assert values(found, "accumulation", "data_parallel", "effective_batch") == (8, 2, 16)
    assert values(found, "precision", "grad_checkpointing", "sharding") == (None, None, None)


@pytest.mark.parametrize(
    "line",
    [
        "python tools/run_text_generation_server.py --micro-batch-size 1 --tensor-model-parallel-size 8\n",
        "python tools/checkpoint/convert.py --tensor-model-parallel-size 8 --pipeline-model-parallel-size 2\n",
        "python pretrain_gpt.py --tensor-model-parallel-size 8\n",
    ],
)
def test_programs_that_are_left_alone(line: str) -> None:
    assert [found for found in readings("x.sh", line) if found.plan.dialect == "megatron"] == []


CASE = """\
TEST_TYPE: regular
MODEL_ARGS:
  --micro-batch-size: 4
  --global-batch-size: 32
  --tensor-model-parallel-size: 2
  --bf16: true
  --seq-length: 1024
"""


@pytest.mark.parametrize(
    ("gpus", "expected"), [(1, (None, None, 32)), (2, (8, 1, 32)), (3, (None, None, 32)), (8, (2, 4, 32))]
)
def test_functional_tests(gpus: int, expected: tuple[int | None, ...]) -> None:
    found = reading("model_config.yaml", CASE, Surroundings(gpus=gpus))
    assert values(found, "accumulation", "data_parallel", "effective_batch") == expected
    assert found.slots["micro_batch"].key == "--micro-batch-size"


def test_inference_cases_are_left_alone() -> None:
    read = document("model_config.yaml", f"MODE: inference\n{CASE}")
    assert registry.claims(read) == ()
    assert [verdict.dialect for verdict in registry.why(read)] == ["megatron_other"]


@needs_corpus
@pytest.mark.corpus
@pytest.mark.parametrize(
    ("case", "gpus", "expected"),
    [
        ("gpt/gpt3_15b_8t_release_sm", 8, (4, None, 1, None)),
        ("mixtral/deepseekv3_proxy_flex_tp1pp4emp16etp1cp1_release", 64, (1, 64, 8, 512)),
        ("mixtral/deepseekv3_proxy_flex_tp1pp4emp16etp1cp1_release", 8, (1, 512, 1, 512)),
        ("gpt/gpt3_mcore_te_tp2_pp2_cp2_nondeterministic_1node", 8, (4, 4, 2, 32)),
        ("gpt/gpt3_mcore_te_tp2_pp2_cp2_nondeterministic_1node", 3, (4, None, None, 32)),
        ("gpt/gpt3_mcore_te_tp1_pp4_vp1_uneven_pipeline", 8, (4, 4, 2, 32)),
        ("gpt/gpt3_mcore_te_tp2_pp2_cp2_nondeterministic_1node", 2, (4, None, None, 32)),
        ("gpt-nemo/bert-nemo_340m_mr_mbs2_gbs32_mcore_te_tp2_pp2_1N8G", None, (2, 8, 2, 32)),
        ("gpt-nemo/llama3-nemo_8b_mr_mbs4_gbs64_mcore_te_tp1_pp1_cp2_dgx_a100_1N8G", None, (4, 4, 4, 64)),
        ("gpt/gpt3_mcore_reruns_resume_check_grads", 1, (2, 1, 1, 2)),
    ],
)
def test_published_cases(case: str, gpus: int | None, expected: tuple[int | None, ...]) -> None:
    found = reading("model_config.yaml", (CASES / case / "model_config.yaml").read_text(), Surroundings(gpus=gpus))
    assert values(found, "micro_batch", "accumulation", "data_parallel", "effective_batch") == expected


@needs_corpus
@pytest.mark.corpus
def test_every_training_case_is_recognised() -> None:
    for path in CASES.rglob("*.yaml"):
        text = path.read_text()
        claimed = [claim.dialect for claim in registry.claims(document(path.name, text))]
        assert claimed == ([] if "\nMODE: inference\n" in text else ["megatron"]), path


@pytest.mark.parametrize(
    ("flags", "stages"),
    [
        ("--pipeline-model-parallel-size 4 --account-for-embedding-in-pipeline-split", None),  # 9 blocks over 4
        (
            "--pipeline-model-parallel-size 5 --account-for-embedding-in-pipeline-split "
            "--account-for-loss-in-pipeline-split",
            (1, 2, 2, 2, 1),
        ),
        ("--pipeline-model-parallel-size 4 --decoder-first-pipeline-num-layers 1 "
         "--decoder-last-pipeline-num-layers 3", (1, 2, 2, 3)),
        ("--pipeline-model-parallel-size 2 --decoder-last-pipeline-num-layers 3", (5, 3)),
        ("--pipeline-model-parallel-size 2 --pipeline-model-parallel-layout 'Et*3|(tt|)*2tmL'", (3, 2, 2, 1)),
        ("--pipeline-model-parallel-size 3 --pipeline-model-parallel-layout 'Et*3|(tt|)*2tmL'", None),
    ],
)  # fmt: skip
def test_stages_of_uneven_sizes(flags: str, stages: tuple[int, ...] | None) -> None:
    shape = "--num-layers 8 --hidden-size 64 --num-attention-heads 4 --vocab-size 128"
    found = reading("train.sh", LINE.format(20, 1, f"{shape} {flags}")).plan
    assert found.fact("stage_layers").value == stages
    assert found.model_shape.known is (stages is not None)


def test_a_hybrid_model_counts_its_letters() -> None:
    flags = "--hidden-size 1024 --num-attention-heads 16 --vocab-size 128 --hybrid-layer-pattern 'M-M*|M-ME/*E'"
    found = reading("train.sh", LINE.format(8, 1, f"{flags} --pipeline-model-parallel-size 2")).plan
    assert found.model_shape.value is not None
    assert found.model_shape.value.layers == 8
    assert found.fact("hybrid_layers").value == ("M-M*", "M-ME")
    assert found.fact("mamba").value == (2048, 8, 128, 32)


@pytest.mark.parametrize(
    ("flags", "vocabulary"),
    [
        ("--tokenizer-type GPTSentencePieceTokenizer --tokenizer-model d/nemotron_2_256k.model", 256_000),
        ("--tokenizer-type HuggingFaceTokenizer --tokenizer-model meta-llama/Llama-3.1-8B", 128_256),
        ("--tokenizer-type Llama2Tokenizer --tokenizer-model d/tokenizer.model", 32_000),
        ("--tokenizer-type GPT2BPETokenizer --vocab-file $VOCAB", 50_304),
    ],
)
def test_the_vocabulary_of_a_known_tokenizer(flags: str, vocabulary: int) -> None:
    shape = "--num-layers 8 --hidden-size 64 --num-attention-heads 4"
    found = reading("train.sh", LINE.format(8, 1, f"{shape} {flags}")).plan.model_shape.value
    assert found is not None
    assert found.vocabulary == vocabulary


def test_fp8_is_of_products_beside_16_bit_weights() -> None:
    found = reading("train.sh", LINE.format(8, 1, f"{GPT} --bf16 --fp8-format hybrid --fp8-param-gather")).plan
    assert found.precision.value is Precision.FP8
    assert (found.fact("fp8_products").value, found.fact("fp8_parameters").value) == (True, True)
    assert not reading("train.sh", LINE.format(8, 1, f"{GPT} --fp8-format hybrid")).plan.precision.known
