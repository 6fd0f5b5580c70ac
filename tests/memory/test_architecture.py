"""Parameter counts of architectures against transformers 5.24's models on the meta device."""

from __future__ import annotations

import pytest

from vramlint.memory.architecture import DecoderConfig, Experts, LatentAttention
from vramlint.plan import DecoderShape

# The default configuration of each transformers class (some with fewer layers, as noted), built on "meta".
COUNTED = {
    "DeepseekV3Config()": (
        DecoderConfig(
            DecoderShape(7168, 61, 128, 128, 192, 18432, 129280, tied=False, qkv_bias=False),
            experts=Experts(256, 8, 2048, shared_ffn=2048, dense_layers=3),
            latent=LatentAttention(1536, 512, 128, 64, 128),
        ),
        671_026_404_352,
    ),
    "MixtralConfig()": (
        DecoderConfig(DecoderShape(4096, 32, 32, 8, 128, 14336, 32000, tied=False), experts=Experts(8, 2, 14336)),
        46_702_792_704,
    ),
    "Qwen2MoeConfig()": (
        DecoderConfig(
            DecoderShape(2048, 24, 16, 16, 128, 5632, 151936, tied=False, qkv_bias=True),
            experts=Experts(60, 4, 1408, shared_ffn=5632, shared_gate=True),
        ),
        14_315_784_192,
    ),
    "Qwen3MoeConfig()": (
        DecoderConfig(
            DecoderShape(2048, 24, 32, 4, 64, 6144, 151936, tied=False), qk_norm=True, experts=Experts(128, 8, 768)
        ),
        15_350_731_776,
    ),
    "GptOssConfig(num_hidden_layers=4)": (
        DecoderConfig(
            DecoderShape(2880, 4, 64, 8, 64, 2880, 201088, tied=False, qkv_bias=True),
            output_bias=True,
            attention_sinks=True,
            experts=Experts(128, 4, 2880, router_bias=True, biases=True),
        ),
        14_010_590_528,
    ),
    "OlmoeConfig(num_hidden_layers=4)": (
        DecoderConfig(
            DecoderShape(2048, 4, 16, 16, 128, 2048, 50304, tied=False),
            full_qk_norm=True,
            experts=Experts(64, 8, 2048),
        ),
        3_494_938_624,
    ),
    "Olmo2Config(num_hidden_layers=4)": (
        DecoderConfig(DecoderShape(4096, 4, 32, 32, 128, 11008, 50304, tied=False), full_qk_norm=True),
        1_221_660_672,
    ),
    "OlmoConfig(num_hidden_layers=4)": (
        DecoderConfig(DecoderShape(4096, 4, 32, 32, 128, 11008, 50304, tied=False), norm="plain"),
        1_221_591_040,
    ),
}


@pytest.mark.parametrize("built", COUNTED)
def test_parameter_counts_equal_the_model_on_meta(built: str) -> None:
    config, counted = COUNTED[built]
    assert config.parameters == counted


def test_active_parameters_leave_the_idle_experts_out() -> None:
    """The card of DeepSeek-V3: 671 B parameters, 37 B of them active."""
    assert COUNTED["DeepseekV3Config()"][0].active_parameters == pytest.approx(37.5e9, rel=0.01)
