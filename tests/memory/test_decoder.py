"""Closed forms of decoders against traces of whole training steps and against published parameter counts."""

from __future__ import annotations

import pytest

from tests.memory.support import LANGUAGE, plan
from vramlint.hardware import MIB, Target
from vramlint.memory import estimate
from vramlint.memory.catalogue import find_decoder
from vramlint.memory.context import cublas_workspace_bytes
from vramlint.memory.decoder import Adapter, Decoder, DecoderConfig
from vramlint.memory.implementations import LITGPT
from vramlint.memory.knowledge import Workload
from vramlint.plan import DecoderShape, Precision

# Peak MiB of the second traced step, AdamW with foreach (torch 2.13, transformers 5.23); the traces hold no workspace.
TRACES = [
    ("meta-llama/Llama-3.2-1B", 2, 2048, Precision.PURE_BF16, False, 19940.5),
    ("meta-llama/Llama-3.2-1B", 2, 2048, Precision.PURE_BF16, True, 13404.0),
    ("meta-llama/Llama-3.2-1B", 2, 2048, Precision.BF16, False, 30665.3),
    ("meta-llama/Llama-3.2-1B", 2, 2048, Precision.BF16, True, 23571.3),
    ("TinyLlama-1.1B-Chat-v1.0", 4, 2048, Precision.PURE_BF16, False, 24406.5),
    ("TinyLlama-1.1B-Chat-v1.0", 4, 2048, Precision.PURE_BF16, True, 10490.9),
    ("TinyLlama-1.1B-Chat-v1.0", 4, 2048, Precision.BF16, False, 36226.5),
    ("Qwen/Qwen2.5-0.5B", 4, 1024, Precision.PURE_BF16, False, 15359.3),
    ("Qwen/Qwen2.5-0.5B", 4, 1024, Precision.BF16, False, 19975.5),
    ("Qwen/Qwen2.5-0.5B", 4, 1024, Precision.BF16, True, 13407.0),
    ("meta-llama/Llama-2-7b-hf", 4, 4096, Precision.PURE_BF16, True, 64262.7),
    ("meta-llama/Llama-3.1-8B", 8, 4096, Precision.PURE_BF16, True, 103263.9),
    ("meta-llama/Llama-3.1-8B", 4, 2048, Precision.PURE_BF16, False, 108440.7),
]


@pytest.mark.parametrize(("model", "batch", "seq_len", "precision", "checkpointing", "traced_mib"), TRACES)
def test_the_formula_equals_the_trace(
    model: str, batch: int, seq_len: int, precision: Precision, checkpointing: bool, traced_mib: float
) -> None:
    facts = {**LANGUAGE, "model": model, "micro_batch": batch, "seq_len": seq_len, "precision": precision}
    found = estimate(plan(**{**facts, "grad_checkpointing": checkpointing}), Target())
    assert found.allocated is not None
    value = (found.allocated.value - cublas_workspace_bytes(None)) / MIB
    assert value == pytest.approx(traced_mib, rel=1e-3)


def test_fused_adamw_needs_no_copy_of_the_parameters() -> None:
    """Trace: Llama-3.1-8B bf16 with checkpointing, B1 S2048: 76,583 MiB with foreach, 61,282 with fused AdamW."""
    facts = {**LANGUAGE, "model": "meta-llama/Llama-3.1-8B", "micro_batch": 1, "grad_checkpointing": True}
    foreach, fused = (
        estimate(plan(**{**facts, "optimizer": name}), Target()).allocated for name in ("adamw", "adamw_torch_fused")
    )
    assert foreach is not None
    assert fused is not None
    assert foreach.value / MIB == pytest.approx(76583 + 16, rel=1e-3)
    assert fused.value / MIB == pytest.approx(61282 + 16, rel=1e-3)


def test_lora_equals_the_trace() -> None:
    """Trace: Llama-3.1-8B, LoRA rank 16 on all linear layers (PEFT, fp32 adapters), checkpointing, B1 S2048."""
    facts = {**LANGUAGE, "model": "meta-llama/Llama-3.1-8B", "micro_batch": 1, "grad_checkpointing": True}
    found = estimate(plan({"adapter_targets": "all-linear"}, **facts, adapter="lora", adapter_rank=16), Target())
    assert found.allocated is not None
    assert (found.allocated.value - cublas_workspace_bytes(None)) / MIB == pytest.approx(19348, rel=1e-3)


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        # As the model cards and `sum(p.numel())` of the checkpoints state them.
        ("meta-llama/Llama-3.2-1B", 1_235_814_400),
        ("meta-llama/Llama-3.1-8B", 8_030_261_248),
        ("meta-llama/Llama-2-7b-hf", 6_738_415_616),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", 1_100_048_384),
        ("Qwen/Qwen2.5-0.5B", 494_032_768),
        ("mistralai/Mistral-7B-v0.1", 7_241_732_096),
        ("google/gemma-2b", 2_506_172_416),
        ("microsoft/Phi-3-mini-4k-instruct", 3_821_079_552),
        ("microsoft/phi-2", 2_779_683_840),
        ("Qwen/Qwen3-0.6B", 596_049_920),
        ("HuggingFaceTB/SmolLM2-135M", 134_515_008),
    ],
)
def test_parameter_counts_are_exact(model: str, parameters: int) -> None:
    found = find_decoder(model)
    assert found is not None
    assert found.config.parameters == parameters


SHAPE = DecoderShape(64, 2, 4, 2, 16, 128, 1000, tied=False)
WORK = Workload(2, Precision.PURE_BF16, checkpointing=False, seq_len=32)


# Bytes per token that one block keeps, listed by saved_tensors_hooks on litgpt 0.5.13's own Block (bf16, dropout 0.05).
LITGPT_BLOCKS = [
    ("Llama-2-7b-hf", 32, ("q_proj", "v_proj"), 177_256),
    ("TinyLlama-1.1B-Chat-v1.0", 32, tuple(linear.name for linear in DecoderConfig(SHAPE).linears), 108_760),
    ("phi-1_5", 8, ("q_proj", "v_proj"), 59_656),
]


@pytest.mark.parametrize(("model", "rank", "targets", "listed"), LITGPT_BLOCKS)
def test_what_a_litgpt_block_keeps(model: str, rank: int, targets: tuple[str, ...], listed: int) -> None:
    found = find_decoder(model)
    assert found is not None
    decoder = Decoder(model, found.config, "test", Adapter(rank, targets, 2, dropout=True), implementation=LITGPT)
    assert decoder.layer_bytes_per_token(WORK) == pytest.approx(listed, rel=0.005)


def test_a_decoder_without_sequence_length_is_not_covered() -> None:
    assert Decoder("tiny", DecoderConfig(SHAPE), "test").moments(WORK._replace(seq_len=0)) == ()


def test_adapter_parameters() -> None:
    adapter = Adapter(8, ("q_proj", "v_proj"), 4)
    assert adapter.parameters(DecoderConfig(SHAPE)) == 2 * 8 * ((64 + 64) + (64 + 32))


def test_dropout_and_more_targets_keep_more() -> None:
    config = DecoderConfig(SHAPE)
    few = Decoder("tiny", config, "test", Adapter(8, ("q_proj",), 4))
    more = few._replace(adapter=Adapter(8, ("q_proj", "down_proj"), 4))
    dropped = few._replace(adapter=Adapter(8, ("q_proj",), 4, dropout=True))
    sizes = [each.layer_bytes_per_token(WORK) for each in (few, dropped, more)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3


def test_checkpointing_keeps_one_tensor_a_block() -> None:
    decoder = Decoder("tiny", DecoderConfig(SHAPE), "test")
    saved = decoder.moments(WORK._replace(checkpointing=True))[0].activation_bytes
    assert saved < decoder.moments(WORK)[0].activation_bytes


def test_kept_gradients_are_alive_at_every_moment() -> None:
    decoder = Decoder("tiny", DecoderConfig(SHAPE), "test")
    moments = decoder.moments(WORK._replace(gradients_kept=True))
    assert {moment.gradient_elements for moment in moments} == {decoder.trainable}
