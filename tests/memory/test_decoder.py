"""Closed forms of decoders against traces of whole training steps and against published parameter counts."""

from __future__ import annotations

import pytest

from tests.memory.support import LANGUAGE, plan
from vramlint.hardware import GIB, MIB, Target
from vramlint.memory import estimate
from vramlint.memory.adapter import Adapter
from vramlint.memory.architecture import DecoderConfig
from vramlint.memory.catalogue import find_decoder
from vramlint.memory.context import cublas_workspace_bytes
from vramlint.memory.decoder import Decoder
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


def small(heads: int, kv_heads: int, head_dim: int, ffn: int, tied: bool, qkv_bias: bool = False) -> DecoderShape:
    return DecoderShape(1024, 3, heads, kv_heads, head_dim, ffn, 16000, tied, qkv_bias)


ARCHITECTURES = {
    "llama": DecoderConfig(small(16, 4, 64, 2816, tied=False)),
    "qwen2": DecoderConfig(small(16, 2, 64, 2816, tied=True, qkv_bias=True)),
    "qwen3": DecoderConfig(small(16, 8, 128, 3072, tied=True), qk_norm=True),
    "phi3": DecoderConfig(small(16, 16, 64, 2816, tied=False), fused_qkv=True, fused_gate=True),
    "gemma": DecoderConfig(small(8, 1, 256, 4096, tied=True), norm="gemma"),
    "gemma2": DecoderConfig(small(8, 4, 256, 4096, tied=True), norm="gemma", norms_per_layer=4, soft_capped=True),
    "phi": DecoderConfig(
        small(16, 16, 64, 4096, tied=False),
        gated=False,
        norm="layer",
        biases=True,
        shared_norm=True,
        head_bias=True,
        parallel=True,
        python_gelu=True,
    ),
    "gpt_neox": DecoderConfig(
        small(16, 16, 64, 4096, tied=False), gated=False, norm="layer", biases=True, parallel=True, fused_qkv=True
    ),
}

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

# Peak MiB of the second traced step (torch 2.13, transformers 5.23, peft 0.21) of three-layer models, B4 S1024, AdamW
# with foreach; columns: bf16, bf16 autocast, bf16 with checkpointing.
SMALL_TRACES = {
    "llama": (1680.2, 2285.2, 1187.3),
    "qwen2": (1576.0, 2081.3, 1089.1),
    "qwen3": (1988.3, 2601.9, 1170.4),
    "phi3": (1815.2, 2384.2, 1214.3),
    "gemma": (1914.3, 2508.4, 1205.9),
    "gemma2": (3110.1, 3740.2, None),
    "phi": (1818.8, 2718.0, 1194.0),
    "gpt_neox": (1602.8, 2141.9, 1193.9),
}
SMALL_LORA_TRACES = [
    # targets, dropout, autocast over fp32 weights, checkpointing, traced MiB
    (("q_proj", "v_proj"), False, False, False, 1331.5),
    (("q_proj", "v_proj"), True, False, False, 1347.5),
    (ALL, False, False, False, 1667.4),
    (ALL, True, False, False, 1760.4),
    (("q_proj", "v_proj"), False, True, False, 1503.0),
    (("q_proj", "v_proj"), True, True, False, 1519.0),
    (("q_proj", "v_proj"), False, True, True, 1101.7),
]


def peak_mib(decoder: Decoder, precision: Precision, checkpointing: bool) -> float:
    """The worst moment with weights, AdamW states and gradients, in MiB."""
    size = 4 if precision is Precision.BF16 else 2
    trained = 4 if decoder.adapter else size
    frozen = decoder.parameters - decoder.trainable
    states = size * frozen + 3 * trained * decoder.trainable
    work = Workload(4, precision, checkpointing, seq_len=1024)
    return max(states + m.activation_bytes + trained * m.gradient_elements for m in decoder.moments(work)) / MIB


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_other_architectures_equal_their_traces(kind: str) -> None:
    decoder = Decoder(kind, ARCHITECTURES[kind], "test")
    modes = ((Precision.PURE_BF16, False), (Precision.BF16, False), (Precision.PURE_BF16, True))
    for (precision, checkpointing), traced in zip(modes, SMALL_TRACES[kind], strict=True):
        if traced is not None:
            assert peak_mib(decoder, precision, checkpointing) == pytest.approx(traced, rel=2e-3), (kind, precision)


@pytest.mark.parametrize(("targets", "dropout", "autocast", "checkpointing", "traced_mib"), SMALL_LORA_TRACES)
def test_lora_variants_equal_their_traces(
    targets: tuple[str, ...], dropout: bool, autocast: bool, checkpointing: bool, traced_mib: float
) -> None:
    decoder = Decoder("llama", ARCHITECTURES["llama"], "test", Adapter(16, targets, 4, dropout))
    precision = Precision.BF16 if autocast else Precision.PURE_BF16
    assert peak_mib(decoder, precision, checkpointing) == pytest.approx(traced_mib, rel=2e-3)


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


# torchtune's README ladder (Llama 3.2 3B, batch 2, 4,096 packed tokens, A100, peak active GiB): steps added one by one.
LADDER: list[tuple[dict[str, object], dict[str, object], float]] = [
    ({"chunked_loss": False}, {}, 60.0),
    ({"chunked_loss": False, "compile": True}, {}, 51.0),
    ({"compile": True}, {}, 42.9),
    ({"compile": True}, {"grad_checkpointing": True}, 24.9),
    ({"compile": True, "optimizer_in_backward": True}, {"grad_checkpointing": True}, 23.1),
    (
        {"compile": True, "optimizer_in_backward": True, "activation_offload": True},
        {"grad_checkpointing": True},
        21.8,
    ),
]


@pytest.mark.parametrize(("extra", "facts", "measured_gib"), LADDER)
def test_torchtunes_ladder(extra: dict[str, object], facts: dict[str, object], measured_gib: float) -> None:
    run = {**LANGUAGE, "model": "meta-llama/Llama-3.2-3B", "seq_len": 4096, "optimizer": "AdamW_fused", **facts}
    found = estimate(plan({"implementation": "torchtune", "packing": True, **extra}, **run), Target())
    assert found.allocated is not None
    assert found.allocated.value / GIB == pytest.approx(measured_gib, rel=0.01)
