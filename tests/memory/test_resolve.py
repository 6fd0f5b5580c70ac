"""From a plan's model to what is known of it."""

from __future__ import annotations

import pytest

from tests.memory.support import LANGUAGE, plan
from vramlint.hardware import Target, find_gpu
from vramlint.memory import Workload, estimate
from vramlint.memory.decoder import Decoder
from vramlint.memory.momentum import MomentumPair, OneSegment, Requeued
from vramlint.memory.names import quantised_by
from vramlint.memory.profile_catalogue import find_profile
from vramlint.memory.resolve import resolve
from vramlint.plan import DecoderShape, ImageSize, Precision

SHAPE = DecoderShape(64, 2, 4, 2, 16, 128, 1000, tied=False)


def test_a_shape_in_the_config_wins_over_a_name() -> None:
    found = resolve(plan(model="meta-llama/Llama-3.1-8B", model_shape=SHAPE)).knowledge
    assert isinstance(found, Decoder)
    assert found.config.shape == SHAPE


def test_a_named_decoder() -> None:
    found = resolve(plan(model="Qwen/Qwen2.5-0.5B-Instruct"))
    assert isinstance(found.knowledge, Decoder)
    assert found.knowledge.parameters == 494_032_768


def test_an_unknown_model_says_so() -> None:
    found = resolve(plan(model="our-private-net"))
    assert found.knowledge is None
    assert "our-private-net" in found.because


def test_a_codebase_that_unties_embeddings_has_more_parameters() -> None:
    tied = resolve(plan(model="google/gemma-2b")).knowledge
    untied = resolve(plan({"implementation": "litgpt"}, model="google/gemma-2b")).knowledge
    assert tied is not None
    assert untied is not None
    assert untied.parameters - tied.parameters == 256_000 * 2048


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (("q_proj", "v_proj"), ("q_proj", "v_proj")),
        ("q_proj,k_proj", ("q_proj", "k_proj")),
        (["query", "value", "projection"], ("q_proj", "v_proj", "o_proj")),
        ("all-linear", ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")),
        (["mlp"], ("gate_proj", "up_proj", "down_proj")),
        (["layers.0.self_attn.q_proj"], ("q_proj",)),
    ],
)
def test_lora_targets(targets: object, expected: tuple[str, ...]) -> None:
    found = resolve(plan({"adapter_targets": targets}, **LANGUAGE, adapter="lora", adapter_rank=8)).knowledge
    assert isinstance(found, Decoder)
    assert found.adapter is not None
    assert tuple(linear.name for linear in found.adapter.chosen(found.config)) == expected


def test_lora_on_all_linear_layers_of_a_hybrid() -> None:
    """Qwen3.5: the projections of attention, of the gated delta nets, and the MLP's."""
    facts = {**LANGUAGE, "model": "Qwen/Qwen3.5-4B", "adapter": "lora", "adapter_rank": 8}
    found = resolve(plan({"adapter_targets": "all-linear"}, **facts)).knowledge
    assert isinstance(found, Decoder)
    assert found.adapter is not None
    named = {linear.name for _, block in found.config.kinds for linear in found.adapter.chosen(block)}
    assert named >= {"q_proj", "o_proj", "in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b", "out_proj", "down_proj"}
    assert [number for number, _ in found.config.kinds] == [8, 24]


def test_what_becomes_of_experts_under_qlora() -> None:
    """They stay in 16 bits unless axolotl's ``quantize_moe_experts`` is on: Qwen3-30B-A3B has 29 billion in experts."""
    facts = {**LANGUAGE, "model": "Qwen/Qwen3-30B-A3B", "adapter": "qlora", "adapter_rank": 8}
    facts["grad_checkpointing"] = True  # else every block keeps its experts unpacked
    whole, quantised = (
        estimate(plan({"quantised_experts": value}, **facts), Target()).allocated for value in (False, True)
    )
    assert whole is not None
    assert quantised is not None
    assert whole.value - quantised.value > 1.35 * 29e9


def test_a_fused_loss_holds_no_full_logits() -> None:
    full, fused = (estimate(plan({"fused_loss": value}, **LANGUAGE), Target()).allocated for value in (False, True))
    assert full is not None
    assert fused is not None
    logits = 12 * 2 * 2048 * 128_256
    assert 0.5 * logits < full.value - fused.value < logits


def test_a_model_split_over_ranks_is_unknown_not_wrong() -> None:
    found = estimate(plan({"model_parallel": 4}, **LANGUAGE), Target())
    assert found.allocated is None
    assert "split over 4 ranks" in found.unknown_because


def shipped(*names: str) -> None:
    absent = [name for name in names if find_profile(name) is None]
    if absent:
        pytest.skip(f"no profile of {', '.join(absent)} yet")


def test_a_family_name_spans_its_sizes() -> None:
    shipped("hrnet_w18", "hrnet_w32", "hrnet_w48")
    found = resolve(plan(model="hrnet", task="landmarks"))
    assert found.knowledge is not None
    sizes = [found.knowledge.parameters, *(each.parameters for each in found.alternatives)]
    assert min(sizes) < found.knowledge.parameters < max(sizes)
    assert any("hrnet_w18 to hrnet_w48" in text for text in found.assumptions)


WORK = Workload(32, Precision.FP16, checkpointing=False, height=224, width=224)


def test_momentum_contrast_is_two_encoders_and_a_queue() -> None:
    shipped("resnet50")
    backbone = find_profile("resnet50")
    assert backbone is not None
    pair = MomentumPair(backbone, views=2, dimension=256, queue_size=65536)
    assert pair.parameters > 2 * backbone.parameters
    assert pair.trainable < 0.6 * pair.parameters
    assert pair.buffer_bytes - 2 * backbone.buffer_bytes == 4 * 256 * 65536
    assert {moment.phase for moment in pair.moments(WORK)} >= {"momentum encoder"}


def test_the_composition_agrees_with_the_trace() -> None:
    """MoCo v3 composed of the traced ResNet-50 against MoCo v3 traced whole, without checkpointing."""
    shipped("resnet50", "moco_v3_resnet50")
    backbone, whole = find_profile("resnet50"), find_profile("moco_v3_resnet50")
    assert backbone is not None
    assert whole is not None
    pair = MomentumPair(backbone, views=2, dimension=256, queue_size=65536)
    composed, traced = (max(m.activation_bytes for m in each.moments(WORK)) for each in (pair, whole))
    assert composed == pytest.approx(traced, rel=0.1)


def test_a_longer_queue_is_a_larger_buffer() -> None:
    shipped("moco_v3_resnet50", "moco_v2_resnet50")
    facts = {"model": "resnet50", "task": "self-supervised"}
    short, long = (resolve(plan(**facts, queue_size=size)).knowledge for size in (65536, 131072))
    assert isinstance(short, Requeued)
    assert long is not None
    assert long.buffer_bytes - short.buffer_bytes == 4 * 256 * 65536


def test_one_segment_needs_more_than_one_per_block() -> None:
    shipped("moco_v3_resnet50", "moco_v2_resnet50")
    found = resolve(plan(model="resnet50", task="self-supervised", queue_size=65536, grad_checkpointing=True))
    (segment,) = [each for each in found.alternatives if isinstance(each, OneSegment)]
    assert found.knowledge is not None
    checkpointed = WORK._replace(checkpointing=True)
    blocks, whole = (max(m.activation_bytes for m in each.moments(checkpointed)) for each in (found.knowledge, segment))
    assert whole > blocks
    assert segment.moments(WORK) == ()


def test_mocos_verdicts_follow_the_field_report() -> None:
    """Two 8 GB cards, fp16, checkpointing: 64, 80 and 96 fit, 96 fills the card best, 128 is no clear fit."""
    shipped("moco_v3_resnet50", "moco_v2_resnet50")
    facts = {"model": "resnet50", "task": "self-supervised", "image_size": ImageSize(224, 224), "accumulation": 4}
    facts |= {"precision": Precision.FP16, "grad_checkpointing": True, "world_size": 2, "data_parallel": 2}
    found = {
        batch: estimate(plan(**facts, micro_batch=batch, queue_size=queue), Target(find_gpu("rtx3070")))
        for batch, queue in ((64, 65536), (80, 64000), (96, 76800), (128, 65536))
    }
    assert [found[batch].verdict for batch in (64, 80, 96)] == ["fits"] * 3
    assert found[128].verdict in ("tight", "over")
    values = [found[batch].device for batch in (64, 80, 96, 128)]
    assert values == sorted(values, key=lambda interval: interval.value if interval else 0)


def test_landmarks_on_hrnet_follow_the_field_report() -> None:
    """Two 12 GB cards, 1024 x 1024, fp16, EMA, DDP: batch 2 fits with room, batch 3 is a risk."""
    shipped("hrnet_w18", "hrnet_w32", "hrnet_w48")
    facts = {"model": "hrnet", "task": "landmarks", "image_size": ImageSize(1024, 1024), "accumulation": 4}
    facts |= {"precision": Precision.FP16, "ema": True, "sharding": "ddp", "world_size": 2, "data_parallel": 2}
    target = Target(find_gpu("rtx3060-12gb"))
    two, three = (estimate(plan(**facts, micro_batch=batch), target) for batch in (2, 3))
    assert two.verdict == "fits"
    assert three.verdict == "tight"


def test_vessel_segmentation_follows_the_field_report() -> None:
    """One 16 GB card, 1024 x 1024: batch 4 in fp32 runs out of memory, batch 1 in fp16 fits."""
    shipped("unet")
    facts = {"model": "unet", "task": "segment", "image_size": ImageSize(1024, 1024), "optimizer": "adamw"}
    facts |= {"world_size": 1, "data_parallel": 1}
    target = Target(find_gpu("t4"))
    before = estimate(plan(**facts, micro_batch=4, accumulation=1, precision=Precision.FP32), target)
    after = estimate(plan(**facts, micro_batch=1, accumulation=4, precision=Precision.FP16), target)
    assert before.verdict == "over"
    assert after.verdict == "fits"


def test_unsloth_spans_its_loss_in_chunks_and_over_whole_logits() -> None:
    run = {**LANGUAGE, "adapter": "qlora", "grad_checkpointing": True, "micro_batch": 8}
    extra = {"activation_offload": True, "packing": True, "adapter_targets": "all-linear"}
    own = estimate(plan({**extra, "implementation": "unsloth"}, **run), Target()).allocated
    plain = estimate(plan({**extra, "implementation": "transformers"}, **run), Target()).allocated
    assert own is not None
    assert plain is not None
    logits = 2 * 8 * LANGUAGE["seq_len"] * 128_256
    assert own.value < plain.value
    assert own.high - own.value > logits / 4
    oft = estimate(plan({**extra, "implementation": "unsloth"}, **{**run, "adapter": "oft"}), Target())
    assert "unsloth" in oft.unknown_because


def test_dpo_runs_pairs_beside_a_reference_model() -> None:
    run = {**LANGUAGE, "micro_batch": 2}
    alone = estimate(plan({"packing": True}, **run), Target())
    pairs = estimate(plan({"packing": True, "preference": "dpo"}, **run), Target())
    doubled = estimate(plan({"packing": True}, **{**run, "micro_batch": 4}), Target())
    assert alone.allocated is not None
    assert pairs.allocated is not None
    assert doubled.allocated is not None
    states = {part.name: part.bytes for part in pairs.components}
    assert states["frozen parameters"] == states["parameters"]  # the reference, in the weights' own type
    assert alone.allocated.value + states["frozen parameters"] < pairs.allocated.value
    assert pairs.allocated.low < doubled.allocated.value + states["frozen parameters"]
    assert pairs.allocated.high > doubled.allocated.high

    adapted = {**run, "adapter": "lora"}
    behind = estimate(plan({"packing": True, "preference": "dpo"}, **adapted), Target())
    assert "frozen parameters" not in {part.name for part in behind.components}


def test_a_loss_in_tiles_spans_up_to_whole_logits() -> None:
    """TRL 1.15 computes the loss in tiles; a run may still have an older one."""
    for facts in ({"packing": True}, {"packing": True, "preference": "dpo"}):
        whole = estimate(plan(facts, **LANGUAGE), Target()).allocated
        tiled = estimate(plan({**facts, "tiled_loss": True}, **LANGUAGE), Target()).allocated
        assert whole is not None
        assert tiled is not None
        assert tiled.value < whole.value
        assert tiled.high >= 0.95 * whole.high


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("unsloth/Llama-3.2-1B-bnb-4bit", "nf4"),
        ("TechxGenus/Meta-Llama-3-8B-Instruct-GPTQ", "gptq"),
        ("hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4", "awq"),
        ("meta-llama/Llama-3.2-1B", ""),
        ("Qwen/Qwen2.5-7B-Instruct", ""),
        ("models/llama-3-8b-bf16", ""),
    ],
)
def test_how_a_checkpoint_is_stored(name: str, told: str) -> None:
    assert quantised_by(name) == told


def test_adapters_on_a_quantised_checkpoint() -> None:
    lora = {**LANGUAGE, "adapter": "lora", "adapter_rank": 16}
    plain = estimate(plan({}, **lora), Target())
    four_bits = estimate(plan({}, **{**lora, "model": "unsloth/Llama-3.2-1B-bnb-4bit"}), Target())
    double = {"double_quantization": True}
    qlora = estimate(plan(double, **{**lora, "adapter": "qlora"}), Target())
    assert plain.allocated is not None
    assert four_bits.allocated == qlora.allocated != plain.allocated
    gptq = estimate(plan({}, **{**lora, "model": "TechxGenus/Llama-3.2-1B-GPTQ"}), Target())
    assert gptq.unknown_because == "TechxGenus/Llama-3.2-1B-GPTQ is stored as gptq, whose layers are not worked out"
