"""The diffusion models of the catalogue: how diffusers builds each, what it reads, where its shape was read."""

from __future__ import annotations

from typing import Any, NamedTuple

import diffusion_inputs as inputs

from vramlint.trace.families.diffusers_models import NAMED

ATTENTION = r".*\.(to_q|to_k|to_v|to_out\.0|to_query|to_key|to_value|to_out)"
"""Attention projections: what diffusers' and SimpleTuner's LoRA training adapts by default."""

SCRIPTS = "scripts of diffusers 2026-08"


class Denoiser(NamedTuple):
    """A denoiser: class and arguments in diffusers, its inputs at batch and image size, and the names it goes by.

    ``parameters`` is what the checkpoint has, to check the arguments with, 0 where no count was at hand. ``stacks``:
    arguments that count equal blocks, with the model's counts, in the order in which blocks run; without, the whole
    model is traced. ``frames`` is how many frames of a video one latent frame stands for, 0 for pictures. ``vae`` and
    ``encoders`` name what stands beside it (``diffusion_beside.py``).
    """

    names: tuple[str, ...]
    kind: str
    arguments: dict[str, Any]
    inputs: inputs.Inputs
    parameters: int
    source: str
    stacks: dict[str, int] = {}  # noqa: RUF012 - never changed
    vae: str = "kl-16"
    encoders: tuple[str, ...] = ()
    frames: int = 0

    def built_with(self, counts: dict[str, int]) -> dict[str, Any]:
        """The class's arguments with ``counts`` blocks."""
        given = {**self.arguments, **counts}
        if "dual_layers" in given:  # SD3.5 medium: the first blocks attend twice
            dual = given.pop("dual_layers")
            given["dual_attention_layers"] = tuple(range(dual))
            given["num_layers"] += dual
        return given


_SD3 = NAMED["stable-diffusion-3-medium"][1]
_SD3_TEXT = ("clip-l", "clip-g", "t5-xxl")


def _defaults(kind: str) -> str:
    return f"defaults of {kind} (diffusers 0.42)"


MODELS = (
    Denoiser(
        ("stable-diffusion-v1-5", "stable-diffusion-v1-4", "sd15", "sd1.5", "sd-v1-5", "v1-5-pruned-emaonly",
         "v1-5-pruned", "dreamshaper-7", "dreamshaper-8", "dreamshaper"),
        "UNet2DConditionModel", NAMED["stable-diffusion-v1-5"][1], inputs.unet(768),
        859_520_964, "unet/config.json of stable-diffusion-v1-5", vae="kl-4", encoders=("clip-l",),
    ),
    Denoiser(
        ("stable-diffusion-2-1", "stable-diffusion-2", "stable-diffusion-2-1-base", "stable-diffusion-2-base",
         "v2-1-768-ema-pruned", "sd21"),
        "UNet2DConditionModel",
        NAMED["stable-diffusion-2-1"][1],
        inputs.unet(1024), 865_910_724, "unet/config.json of stable-diffusion-2-1", vae="kl-4", encoders=("clip-h",),
    ),
    Denoiser(
        ("stable-diffusion-xl-base-1.0", "sdxl", "sd-xl-base-1.0", "sd_xl_base_1.0", "sd_xl_base_1.0_0.9vae",
         "sdxl-base-1.0"),
        "UNet2DConditionModel", NAMED["stable-diffusion-xl-base-1.0"][1],
        inputs.unet(2048, text_embeds=1280, time_ids=6), 2_567_463_684,
        "unet/config.json of stable-diffusion-xl-base-1.0", vae="kl-4", encoders=("clip-l", "clip-g"),
    ),
    Denoiser(
        ("stable-diffusion-3-medium", "stable-diffusion-3-medium-diffusers", "sd3-medium", "sd3_medium"),
        "SD3Transformer2DModel",
        _SD3, inputs.sd3, 0,
        "scripts/convert_sd3_to_diffusers.py (24 layers, as many heads as layers)", {"num_layers": 24},
        encoders=_SD3_TEXT,
    ),
    Denoiser(
        ("stable-diffusion-3.5-large", "sd3.5-large", "sd3.5_large", "stable-diffusion-3.5-large-turbo"),
        "SD3Transformer2DModel",
        {**_SD3, "num_attention_heads": 38, "caption_projection_dim": 2432, "pos_embed_max_size": 192,
         "qk_norm": "rms_norm"},
        inputs.sd3, 0, "scripts/convert_sd3_to_diffusers.py (38 layers)", {"num_layers": 38}, encoders=_SD3_TEXT,
    ),
    Denoiser(
        ("stable-diffusion-3.5-medium", "sd3.5-medium", "sd3.5_medium"),
        "SD3Transformer2DModel",
        {**_SD3, "num_attention_heads": 24, "caption_projection_dim": 1536, "pos_embed_max_size": 384,
         "qk_norm": "rms_norm"},
        inputs.sd3, 0, "scripts/convert_sd3_to_diffusers.py (24 layers, attn2 in the first 13)",
        {"dual_layers": 13, "num_layers": 11}, encoders=_SD3_TEXT,
    ),
    Denoiser(
        ("flux.1-dev", "flux1-dev", "flux-dev", "flux.1-dev-diffusers", "flux1-dev-fp8", "flux.1-kontext-dev",
         "flux1-kontext-dev", "flux.1-krea-dev"),
        "FluxTransformer2DModel", {"guidance_embeds": True}, inputs.flux(64, 4096, 3, 768), 11_901_408_320,
        _defaults("FluxTransformer2DModel") + " with guidance", {"num_layers": 19, "num_single_layers": 38},
        encoders=("clip-l", "t5-xxl"),
    ),
    Denoiser(
        ("flux.1-schnell", "flux1-schnell", "flux-schnell"),
        "FluxTransformer2DModel", {"guidance_embeds": False}, inputs.flux(64, 4096, 3, 768, guidance=False), 0,
        _defaults("FluxTransformer2DModel"), {"num_layers": 19, "num_single_layers": 38},
        encoders=("clip-l", "t5-xxl"),
    ),
    Denoiser(
        ("flux.2-klein-base-4b", "flux.2-klein-4b", "flux2-klein-4b"),
        "Flux2Transformer2DModel",
        {"num_attention_heads": 24, "joint_attention_dim": 7680, "guidance_embeds": False},
        inputs.flux(128, 7680, 4, guidance=False), 3_875_544_576, "scripts/convert_flux2_to_diffusers.py",
        {"num_layers": 5, "num_single_layers": 20}, vae="kl-flux2", encoders=("qwen3-4b",),
    ),
    Denoiser(
        ("flux.2-klein-base-9b", "flux.2-klein-9b", "flux2-klein-9b"),
        "Flux2Transformer2DModel",
        {"num_attention_heads": 32, "joint_attention_dim": 12288, "guidance_embeds": False},
        inputs.flux(128, 12288, 4, guidance=False), 0, "scripts/convert_flux2_to_diffusers.py",
        {"num_layers": 8, "num_single_layers": 24}, vae="kl-flux2", encoders=("qwen3-8b",),
    ),
    Denoiser(
        ("flux.2-dev", "flux2-dev"),
        "Flux2Transformer2DModel", {}, inputs.flux(128, 15360, 4), 0, "scripts/convert_flux2_to_diffusers.py",
        {"num_layers": 8, "num_single_layers": 48}, vae="kl-flux2", encoders=("mistral-small-3",),
    ),
    Denoiser(
        ("pixart-xl-2-512x512", "pixart-xl-2-1024-ms", "pixart-alpha"),
        "PixArtTransformer2DModel",
        {"use_additional_conditions": False, "caption_channels": 4096, "sample_size": 64}, inputs.pixart(120), 0,
        _defaults("PixArtTransformer2DModel"), {"num_layers": 28}, vae="kl-4", encoders=("t5-xxl",),
    ),
    Denoiser(
        ("pixart-sigma-xl-2-1024-ms", "pixart-sigma-xl-2-512-ms", "pixart-sigma"),
        "PixArtTransformer2DModel",
        {"use_additional_conditions": False, "caption_channels": 4096, "sample_size": 128}, inputs.pixart(300), 0,
        _defaults("PixArtTransformer2DModel"), {"num_layers": 28}, vae="kl-4", encoders=("t5-xxl",),
    ),
    Denoiser(
        ("sana_1600m_1024px", "sana_1600m_1024px_diffusers", "sana_1600m_1024px_bf16_diffusers",
         "sana_1600m_512px_diffusers", "sana-1600m"),
        "SanaTransformer2DModel", {}, inputs.image(32, 32, 2304, 300), 0, _defaults("SanaTransformer2DModel"),
        {"num_layers": 20}, vae="dc-ae", encoders=("gemma-2-2b",),
    ),
    Denoiser(
        ("sana_600m_1024px", "sana_600m_1024px_diffusers", "sana_600m_512px_diffusers", "sana-600m"),
        "SanaTransformer2DModel",
        {"num_attention_heads": 36, "num_cross_attention_heads": 16, "cross_attention_head_dim": 72,
         "cross_attention_dim": 1152},
        inputs.image(32, 32, 2304, 300), 0, "scripts/convert_sana_to_diffusers.py", {"num_layers": 28}, vae="dc-ae",
        encoders=("gemma-2-2b",),
    ),
    Denoiser(
        ("auraflow", "auraflow-v0.2", "auraflow-v0.3"),
        "AuraFlowTransformer2DModel", {}, inputs.image(4, 8, 2048, 256), 0, _defaults("AuraFlowTransformer2DModel"),
        {"num_mmdit_layers": 4, "num_single_dit_layers": 32}, vae="kl-4", encoders=("pile-t5-xl",),
    ),
    Denoiser(
        ("lumina-image-2.0", "lumina2"),
        "Lumina2Transformer2DModel", {"cap_feat_dim": 2304},
        inputs.image(16, 8, 2304, 256, encoder_attention_mask="boolean"), 0, _defaults("Lumina2Transformer2DModel"),
        {"num_layers": 26}, encoders=("gemma-2-2b",),
    ),
    Denoiser(
        ("hunyuandit-diffusers", "hunyuandit-v1.2-diffusers", "hunyuandit"),
        "HunyuanDiT2DModel",
        {"in_channels": 4, "patch_size": 2, "sample_size": 128, "hidden_size": 1408, "num_layers": 40,
         "mlp_ratio": 4.3637, "use_style_cond_and_image_meta_size": False},
        inputs.hunyuan_dit, 0, "transformer/config.json of HunyuanDiT-v1.2-Diffusers", vae="kl-4",
        encoders=("clip-l", "mt5-xl"),
    ),
    Denoiser(
        ("qwen-image", "qwen-image-2512"),
        "QwenImageTransformer2DModel", {}, inputs.qwen_image, 0, _defaults("QwenImageTransformer2DModel"),
        {"num_layers": 60}, vae="qwen-image", encoders=("qwen2.5-vl-7b",),
    ),
    Denoiser(
        ("chroma1-base", "chroma1-hd", "chroma", "chroma-unlocked-v35"),
        "ChromaTransformer2DModel", {}, inputs.flux(64, 4096, 3, guidance=False), 0,
        _defaults("ChromaTransformer2DModel"), {"num_layers": 19, "num_single_layers": 38}, encoders=("t5-xxl",),
    ),
    Denoiser(
        ("z-image", "z-image-turbo", "z-image-base"),
        "ZImageTransformer2DModel", {}, inputs.z_image, 0, _defaults("ZImageTransformer2DModel"), {"n_layers": 30},
        encoders=("qwen3-4b",),
    ),
    Denoiser(
        ("ernie-image", "ernie-4.5-image"),
        "ErnieImageTransformer2DModel", {}, inputs.ernie, 0, _defaults("ErnieImageTransformer2DModel"),
        {"num_layers": 24}, vae="kl-flux2",
    ),
    Denoiser(
        ("krea-2-raw", "krea2", "krea-2"),
        "Krea2Transformer2DModel", {}, inputs.krea, 0, _defaults("Krea2Transformer2DModel"), {"num_layers": 28},
        vae="qwen-image", encoders=("qwen3-vl-4b",),
    ),
    Denoiser(
        ("cogview4-6b", "cogview4"),
        "CogView4Transformer2DModel", {}, inputs.cogview4, 0, _defaults("CogView4Transformer2DModel"),
        {"num_layers": 30}, encoders=("glm-4-9b",),
    ),
    Denoiser(
        ("cosmos-predict2-2b-text2image", "cosmos-2.0-diffusion-2b-text2image"),
        "CosmosTransformer3DModel",
        {"num_attention_heads": 16, "rope_scale": (1.0, 4.0, 4.0), "extra_pos_embed_type": None},
        inputs.clip(16, 1024, 512, padding_mask="padding"), 0, "scripts/convert_cosmos_to_diffusers.py",
        {"num_layers": 28}, vae="wan", encoders=("t5-11b",), frames=4,
    ),
    Denoiser(
        ("ltx-video", "ltx-video-0.9.5", "ltx-video-0.9.1", "ltxv-2b-0.9.6-dev"),
        "LTXVideoTransformer3DModel", {}, inputs.ltx, 0, _defaults("LTXVideoTransformer3DModel"), {"num_layers": 28},
        vae="ltx", encoders=("t5-xxl",), frames=8,
    ),
    Denoiser(
        ("cogvideox-2b",),
        "CogVideoXTransformer3DModel", {}, inputs.cogvideo, 0, "scripts/convert_cogvideox_to_diffusers.py (30 layers)",
        {"num_layers": 30}, vae="cogvideox", encoders=("t5-xxl",), frames=4,
    ),
    Denoiser(
        ("cogvideox-5b",),
        "CogVideoXTransformer3DModel", {"num_attention_heads": 48, "use_rotary_positional_embeddings": True},
        inputs.cogvideo, 0, "scripts/convert_cogvideox_to_diffusers.py (42 layers of 48 heads)", {"num_layers": 42},
        vae="cogvideox", encoders=("t5-xxl",), frames=4,
    ),
    Denoiser(
        ("wan2.1-t2v-1.3b", "wan2.1-t2v-1.3b-diffusers"),
        "WanTransformer3DModel", {"num_attention_heads": 12, "ffn_dim": 8960}, inputs.clip(16, 4096, 512), 0,
        "scripts/convert_wan_to_diffusers.py", {"num_layers": 30}, vae="wan", encoders=("umt5-xxl",), frames=4,
    ),
    Denoiser(
        ("wan2.1-t2v-14b", "wan2.1-t2v-14b-diffusers", "wan2.2-t2v-a14b-diffusers", "wan2.2-t2v-a14b"),
        "WanTransformer3DModel", {}, inputs.clip(16, 4096, 512), 0, "scripts/convert_wan_to_diffusers.py",
        {"num_layers": 40}, vae="wan", encoders=("umt5-xxl",), frames=4,
    ),
    Denoiser(
        ("hunyuanvideo", "hunyuanvideo-diffusers"),
        "HunyuanVideoTransformer3DModel", {},
        inputs.clip(16, 4096, 256, encoder_attention_mask="mask", pooled_projections="768", guidance="1"), 0,
        _defaults("HunyuanVideoTransformer3DModel"), {"num_layers": 20, "num_single_layers": 40},
        vae="hunyuan-video", encoders=("llama-3-8b", "clip-l"), frames=4,
    ),
)  # fmt: skip
