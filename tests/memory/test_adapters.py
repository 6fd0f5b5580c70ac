"""PEFT methods against fake-tensor traces and against the published peaks of PEFT's own comparison."""

from __future__ import annotations

import pytest

from tests.memory.support import LANGUAGE, plan
from vramlint.hardware import GIB, Target
from vramlint.memory import estimate
from vramlint.memory.adapter import Adapter
from vramlint.memory.adapter_ledger import quantised_inputs
from vramlint.memory.adapters import METHODS
from vramlint.memory.architecture import DecoderConfig, Experts
from vramlint.memory.arithmetic import arithmetic
from vramlint.memory.decoder import Decoder
from vramlint.memory.knowledge import Workload
from vramlint.plan import DecoderShape, Precision

CONFIG = DecoderConfig(DecoderShape(2560, 2, 20, 5, 64, 8192, 512, tied=True))
WORK = Workload(1, Precision.PURE_BF16, checkpointing=False, seq_len=512)
QV = ("q_proj", "v_proj")

# Bytes per token that one block keeps, traced (torch 2.13, transformers 5.24, peft 0.21.2), rank 8.
TRACED = {
    "dora": (QV, 106_264),
    "hira": (QV, 96_600),
    "fourierft": (QV, 96_600),
    "c3a": (QV, 96_600),
    "delora": (QV, 96_728),
    "gralora": (QV, 96_728),
    "waveft": (QV, 96_600),
    "miss": (QV, 76_184),
    "road": (QV, 88_920),
    "oft": (QV, 96_600),
    "adalora": (QV, 103_096),
    "ia3": (("k_proj", "v_proj", "down_proj"), 110_168),
    "ln_tuning": ((), 86_360),
    "tinylora": (QV, 76_136),
}

# Bytes once per block, from the same traces: 4 or 8 a weight of the two layers.
BUILT = {"hira": 16_384_024, "fourierft": 16_384_024, "waveft": 32_768_672, "miss-bat": 32_768_024}


@pytest.mark.parametrize("name", TRACED)
def test_what_a_method_keeps(name: str) -> None:
    targets, traced = TRACED[name]
    decoder = Decoder("llama", CONFIG, "test", Adapter(8, targets, 4, method=METHODS[name]))
    assert decoder.layer_bytes_per_token(WORK) == pytest.approx(traced, rel=0.0005)


SMALL = DecoderConfig(DecoderShape(256, 2, 4, 2, 64, 512, 512, tied=True))
# Bytes per token and once per block of a smaller model, traced at 128 and 256 tokens.
SMALLER = {"glora": (7_192, 196_632), "peanut": (8_728, 802_840), "lokr": (8_728, 393_240)}


@pytest.mark.parametrize("name", SMALLER)
def test_methods_traced_on_a_smaller_model(name: str) -> None:
    tokens, once = SMALLER[name]
    adapter = Adapter(8, QV, 4, method=METHODS[name])
    assert Decoder("llama", SMALL, "test", adapter).layer_bytes_per_token(WORK) == pytest.approx(tokens, rel=0.01)
    assert adapter.block_bytes(SMALL) == pytest.approx(once, rel=0.03)


WIDER = DecoderConfig(DecoderShape(512, 2, 8, 2, 64, 1024, 512, tied=True))
# The saved tensors of a real step (torch 2.13, peft 0.21.2), rank 8 on q_proj and v_proj at 128 and 256 tokens: bytes
# per token and once per block, of the smaller model and of one twice as wide (vblora: vectors of 64).
RECORDED = {
    "vera": ((8_280, 0), (15_464, 0)),
    "pvera": ((8_472, 0), (15_656, 0)),
    "randlora": ((8_216, 327_680), (15_400, 1_114_112)),
    "shira": ((7_192, 339_968), (13_864, 921_600)),
    "vblora": ((8_792, 88_704), (17_000, 164_736)),
    "boft": ((7_960, 815_360), (15_144, 3_202_816)),
    "unilora": ((8_792, 28_672), (17_000, 53_248)),
    "hira": ((8_728, 393_216), (16_936, 1_310_720)),
}


@pytest.mark.parametrize("name", RECORDED)
def test_methods_recorded_in_a_real_step(name: str) -> None:
    adapter = Adapter(8, QV, 4, method=METHODS[name])
    for config, (tokens, once) in zip((SMALL, WIDER), RECORDED[name], strict=True):
        assert Decoder("llama", config, "test", adapter).layer_bytes_per_token(WORK) == pytest.approx(tokens, rel=0.001)
        assert adapter.block_bytes(config) == pytest.approx(once, rel=0.04)


@pytest.mark.parametrize("name", BUILT)
def test_changes_of_weights_that_are_built_whole(name: str) -> None:
    assert Adapter(8, QV, 4, method=METHODS[name]).block_bytes(CONFIG) == pytest.approx(BUILT[name], rel=0.001)


# huggingface/peft method_comparison/MetaMathQA (2026-07, L40S): p99 of reserved GiB of Llama 3.2 3B, batch 4.
PUBLISHED = [
    ("dora", {"adapter_targets": QV}, 32, 20.656),
    ("loha", {"adapter_targets": QV}, 32, 20.344),
    ("vera", {"adapter_targets": QV}, 256, 18.268),
    ("boft", {"adapter_targets": QV, "trained_parameters": 802_816}, None, 20.922),
    ("ia3", {"adapter_targets": ("down_proj", "v_proj", "k_proj")}, None, 19.494),
    ("prompt_tuning", {"virtual_tokens": 200}, None, 21.172),
    ("prefix_tuning", {"virtual_tokens": 200}, None, 17.867),
    ("ln_tuning", {}, None, 17.83),
]


@pytest.mark.parametrize(("method", "extra", "rank", "measured_gib"), PUBLISHED)
def test_published_peaks(method: str, extra: dict[str, object], rank: int | None, measured_gib: float) -> None:
    run = {**LANGUAGE, "model": "meta-llama/Llama-3.2-3B", "micro_batch": 4, "seq_len": 768, "adapter": method}
    found = estimate(plan({"packing": False, **extra}, **run, adapter_rank=rank), Target())
    assert found.reserved is not None
    assert found.reserved.value / GIB == pytest.approx(measured_gib, rel=0.06)


def test_an_unknown_method_is_unknown() -> None:
    for name in ("poly", "bone"):  # peft 0.21 no longer has Bone, and none of its steps was traced
        found = estimate(plan(**{**LANGUAGE, "adapter": name}), Target())
        assert found.allocated is None
        assert name in found.unknown_because


@pytest.mark.parametrize(("hidden", "tokens", "once", "trained"), [(64, 1944, 19880, 290), (128, 3864, 79128, 910)])
def test_frod_as_recorded_in_a_real_step(hidden: int, tokens: int, once: int, trained: int) -> None:
    """A Llama of 4 heads, 2 for keys and values, on the CPU: what one layer more saves, at 32 and 64 tokens."""
    config = DecoderConfig(DecoderShape(hidden, 3, 4, 2, hidden // 4, 2 * hidden, 500, tied=True))
    adapter = Adapter(8, QV, 4, method=METHODS["frod"], trained=3 * trained)
    assert Decoder("llama", config, "test", adapter).layer_bytes_per_token(WORK) == pytest.approx(tokens, rel=0.01)
    assert adapter.block_bytes(config) == once


def test_osf_needs_its_number_of_trained_parameters() -> None:
    found = estimate(plan(**{**LANGUAGE, "adapter": "osf"}), Target())
    assert "OSF's trained rank is not known" in found.unknown_because


@pytest.mark.parametrize(
    ("name", "extra", "parameters"),
    [("vera", {}, 129_024), ("prompt_tuning", {"virtual_tokens": 200}, 614_400), ("ln_tuning", {}, 175_104)],
)
def test_trained_parameters(name: str, extra: dict[str, int], parameters: int) -> None:
    """As the comparison prints them for Llama 3.2 3B; VeRA of rank 256 on q_proj and v_proj."""
    llama = DecoderConfig(DecoderShape(3072, 28, 24, 8, 128, 8192, 128256, tied=True))
    assert Adapter(256, QV, 4, method=METHODS[name], **extra).parameters(llama) == parameters


UNTIED = DecoderConfig(DecoderShape(1024, 3, 16, 4, 64, 2816, 16000, tied=False))
# Peaks in MiB of the second AdamW step behind LoRA of rank 8 on q_proj and v_proj with peft's modules_to_save, traced
# (torch 2.13, transformers 5.24, peft 0.21.2) at 4 x 1,024 and 1 x 256 tokens.
COPIED = {
    (): (1329.8, 203.1),
    ("embed_tokens",): (1439.6, 297.8),
    ("lm_head",): (1431.6, 297.3),
    ("embed_tokens", "lm_head"): (1541.3, 441.0),
}


@pytest.mark.parametrize("copied", COPIED)
def test_modules_trained_whole_beside_adapters(copied: tuple[str, ...]) -> None:
    adapter = Adapter(8, QV, 4, fused=True, copied=copied)
    decoder = Decoder("llama", UNTIED, "test", adapter)
    copies = adapter.copied_parameters(UNTIED)
    low_rank, frozen = decoder.trainable - copies, 2 * (decoder.parameters - decoder.trainable)
    each = (4 * low_rank + 2 * copies) / decoder.trainable  # peft keeps LoRA in fp32, copies in the base's type
    for (batch, length), traced in zip(((4, 1024), (1, 256)), COPIED[copied], strict=True):
        moments = decoder.moments(Workload(batch, Precision.PURE_BF16, checkpointing=False, seq_len=length))
        states = frozen + 3 * (4 * low_rank + 2 * copies)
        worst = max(states + moment.activation_bytes + each * moment.gradient_elements for moment in moments)
        found = max(worst, frozen + 5 * (4 * low_rank + 2 * copies))
        assert found / 2**20 == pytest.approx(traced, rel=0.001)


def test_modules_to_save_are_read_by_the_names_of_models() -> None:
    run = {**LANGUAGE, "model": "meta-llama/Llama-3.1-8B", "adapter": "lora"}
    extra = {"adapter_targets": QV, "packing": True}
    alone = estimate(plan(extra, **run), Target())
    both = estimate(plan({**extra, "modules_to_save": ("embed_tokens", "lm_head")}, **run), Target())
    copies = next(part.bytes for part in both.components if part.name == "modules trained whole")
    assert copies == 2 * 2 * 128_256 * 4096
    assert both.allocated is not None
    assert alone.allocated is not None
    assert both.allocated.value > alone.allocated.value + 3 * copies


def test_of_experts_no_quantised_layer_keeps_an_input() -> None:
    dense = DecoderConfig(DecoderShape(1024, 8, 8, 8, 128, 4096, 32000, tied=False))
    mixture = dense._replace(experts=Experts(8, 2, 512))
    kept = [quantised_inputs(each, arithmetic(Precision.PURE_BF16)).bytes_per_token for each in (dense, mixture)]
    assert kept == [2 * (2 * 1024 + 1024 + 4096), 2 * (2 * 1024 + 1024)]
