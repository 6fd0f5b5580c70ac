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
    ``encoders`` name what stands beside it (``diffusion_beside.py``). ``like``: the model whose traced blocks it has:
    its parameters alone are counted then. ``pictures``: 2 where a sample is an edit of a picture that goes in too.
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
    like: str = ""
    pictures: int = 1

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


_SDXL = NAMED["stable-diffusion-xl-base-1.0"][1]
_FLUX = {"num_layers": 19, "num_single_layers": 38}
_FLUX_TEXT = ("clip-l", "t5-xxl")
_SANA = {"qk_norm": "rms_norm_across_heads"}

_RELATIVES = (
    Denoiser(
        ("stable-diffusion-inpainting", "stable-diffusion-v1-5-inpainting", "sd-v1-5-inpainting"),
        "UNet2DConditionModel", {**NAMED["stable-diffusion-v1-5"][1], "in_channels": 9}, inputs.unet(768), 0,
        "unet/config.json of stable-diffusion-inpainting", vae="kl-4", encoders=("clip-l",),
        like="stable-diffusion-v1-5",
    ),
    Denoiser(
        ("stable-diffusion-2-inpainting", "512-inpainting-ema"),
        "UNet2DConditionModel", {**NAMED["stable-diffusion-2-1"][1], "in_channels": 9}, inputs.unet(1024), 0,
        "unet/config.json of stable-diffusion-2-inpainting", vae="kl-4", encoders=("clip-h",),
        like="stable-diffusion-2-1",
    ),
    Denoiser(
        ("stable-diffusion-xl-1.0-inpainting-0.1", "sd_xl_inpainting_0.1"),
        "UNet2DConditionModel", {**_SDXL, "in_channels": 9}, inputs.unet(2048, text_embeds=1280, time_ids=6), 0,
        "unet/config.json of stable-diffusion-xl-1.0-inpainting-0.1", vae="kl-4", encoders=("clip-l", "clip-g"),
        like="stable-diffusion-xl-base-1.0",
    ),
    Denoiser(
        ("kolors", "kolors-diffusers", "kwai-kolors-1.0"),
        "UNet2DConditionModel",
        {**_SDXL, "encoder_hid_dim": 4096, "encoder_hid_dim_type": "text_proj",
         "projection_class_embeddings_input_dim": 5632},
        inputs.unet(4096, 256, text_embeds=4096, time_ids=6), 0, "unet/config.json of Kolors-diffusers", vae="kl-4",
        encoders=("chatglm3-6b",), like="stable-diffusion-xl-base-1.0",
    ),
    Denoiser(
        ("flux.1-kontext-dev", "flux1-kontext-dev"),
        "FluxTransformer2DModel", {"guidance_embeds": True}, inputs.flux(64, 4096, 3, 768), 11_901_408_320,
        _defaults("FluxTransformer2DModel") + " with guidance", _FLUX, encoders=_FLUX_TEXT, like="flux.1-dev",
        pictures=2,
    ),
    Denoiser(
        ("flux.1-fill-dev", "flux1-fill-dev"),
        "FluxTransformer2DModel", {"guidance_embeds": True, "in_channels": 384, "out_channels": 64},
        inputs.flux(384, 4096, 3, 768), 0, "transformer/config.json of FLUX.1-Fill-dev", _FLUX, encoders=_FLUX_TEXT,
        like="flux.1-dev",
    ),
    Denoiser(
        ("flex.1-alpha", "flux.1-lite-8b", "flux.1-lite-8b-alpha"),
        "FluxTransformer2DModel", {"guidance_embeds": True}, inputs.flux(64, 4096, 3, 768), 0,
        "transformer/config.json of flux.1-lite-8B (8 double blocks)", {**_FLUX, "num_layers": 8},
        encoders=_FLUX_TEXT, like="flux.1-dev",
    ),
    Denoiser(
        ("flex.2-preview",),
        "FluxTransformer2DModel", {"guidance_embeds": True, "in_channels": 196, "out_channels": 64},
        inputs.flux(196, 4096, 3, 768), 0, "ai-toolkit extensions_built_in/flex2", {**_FLUX, "num_layers": 8},
        encoders=_FLUX_TEXT, like="flux.1-dev",
    ),
    Denoiser(
        ("pixart-900m-1024", "pixart-900m-1024-ft-v0.6", "pixart-900m-1024-ft-v0.7-stage1",
         "pixart-900m-1024-ft-v0.7-stage2"),
        "PixArtTransformer2DModel",
        {"use_additional_conditions": False, "caption_channels": 4096, "sample_size": 128}, inputs.pixart(300), 0,
        "transformer/config.json of terminusresearch/pixart-900m-1024-ft-v0.6 (42 layers)", {"num_layers": 42},
        vae="kl-4", encoders=("t5-xxl",), like="pixart-sigma-xl-2-1024-ms",
    ),
    Denoiser(
        ("sana1.5_1.6b_1024px", "sana1.5_1.6b_1024px_diffusers"),
        "SanaTransformer2DModel", _SANA, inputs.image(32, 32, 2304, 300), 0, "scripts/convert_sana_to_diffusers.py",
        {"num_layers": 20}, vae="dc-ae", encoders=("gemma-2-2b",), like="sana_1600m_1024px",
    ),
    Denoiser(
        ("sana1.5_4.8b_1024px", "sana1.5_4.8b_1024px_diffusers"),
        "SanaTransformer2DModel", _SANA, inputs.image(32, 32, 2304, 300), 0, "scripts/convert_sana_to_diffusers.py",
        {"num_layers": 60}, vae="dc-ae", encoders=("gemma-2-2b",), like="sana_1600m_1024px",
    ),
    Denoiser(
        ("qwen-image-edit", "qwen-image-edit-2509", "qwen-image-edit-2511"),
        "QwenImageTransformer2DModel", {}, inputs.qwen_image, 0, _defaults("QwenImageTransformer2DModel"),
        {"num_layers": 60}, vae="qwen-image", encoders=("qwen2.5-vl-7b",), like="qwen-image", pictures=2,
    ),
    Denoiser(
        ("wan2.1-i2v-14b", "wan2.1-i2v-14b-480p-diffusers", "wan2.1-i2v-14b-720p-diffusers", "wan2.1-i2v-14b-480p",
         "wan2.1-i2v-14b-720p", "wan2.1-flf2v-14b-720p-diffusers"),
        "WanTransformer3DModel", {"in_channels": 36, "image_dim": 1280, "added_kv_proj_dim": 5120},
        inputs.clip(36, 4096, 512), 0, "scripts/convert_wan_to_diffusers.py", {"num_layers": 40}, vae="wan",
        encoders=("umt5-xxl",), frames=4, like="wan2.1-t2v-14b",
    ),
    Denoiser(
        ("wan2.2-i2v-a14b", "wan2.2-i2v-a14b-diffusers", "wan2.2-i2v-a14b-diffusers-bf16"),
        "WanTransformer3DModel", {"in_channels": 36}, inputs.clip(36, 4096, 512), 0,
        "scripts/convert_wan_to_diffusers.py", {"num_layers": 40}, vae="wan", encoders=("umt5-xxl",), frames=4,
        like="wan2.1-t2v-14b",
    ),
)  # fmt: skip
"""Models that have another's blocks: other input channels, another depth, a picture beside the one that is made."""

MODELS = (
    Denoiser(
        ("stable-diffusion-v1-5", "stable-diffusion-v1-4", "stable-diffusion-v1-3", "stable-diffusion-v1-2",
         "stable-diffusion-v1-1", "sd15", "sd1.5", "sd-1.5", "sd-v1-5", "sd-v1-4", "sd-v1-4-full-ema",
         "v1-5-pruned-emaonly", "v1-5-pruned-emaonly-fp16", "v1-5-pruned", "dreamshaper-7", "dreamshaper-8",
         "dreamshaper", "dreamshaper_8", "realistic_vision_v5.1_novae", "realistic_vision_v6.0_b1_novae",
         "realistic_vision_v4.0_novae", "realisticvisionv51_v51vae", "anything-v3.0", "anything-v4.0", "anything-v5",
         "anythingv5_prtre", "openjourney", "openjourney-v4", "dreamlike-photoreal-2.0", "dreamlike-diffusion-1.0",
         "epicrealism", "absolutereality_v181", "counterfeit-v3.0", "deliberate_v2", "analog-diffusion",
         "animefull-final-pruned"),
        "UNet2DConditionModel", NAMED["stable-diffusion-v1-5"][1], inputs.unet(768),
        859_520_964, "unet/config.json of stable-diffusion-v1-5", vae="kl-4", encoders=("clip-l",),
    ),
    Denoiser(
        ("stable-diffusion-2-1", "stable-diffusion-2", "stable-diffusion-2-1-base", "stable-diffusion-2-base",
         "v2-1_768-ema-pruned", "v2-1_512-ema-pruned", "512-base-ema", "768-v-ema", "sd21", "sd2.1", "sd-turbo",
         "wd-1-5-beta2"),
        "UNet2DConditionModel",
        NAMED["stable-diffusion-2-1"][1],
        inputs.unet(1024), 865_910_724, "unet/config.json of stable-diffusion-2-1", vae="kl-4", encoders=("clip-h",),
    ),
    Denoiser(
        ("stable-diffusion-xl-base-1.0", "sdxl", "sd-xl-base-1.0", "sd_xl_base_1.0", "sd_xl_base_1.0_0.9vae",
         "sdxl-base-1.0", "stable-diffusion-xl-base-0.9", "sd_xl_base_0.9", "sdxl-turbo", "sd_xl_turbo_1.0",
         "animagine-xl-2.0", "animagine-xl-3.0", "animagine-xl-3.1", "animagine-xl-4.0", "pony-diffusion-v6-xl",
         "ponydiffusionv6xl", "ponydiffusionv6xl_v6startwiththisone", "illustrious-xl-early-release-v0",
         "illustrious-xl-v0.1", "illustrious-xl-v1.0", "illustrious-xl-v1.1", "illustrious-xl-v2.0", "noobai-xl-1.1",
         "noobai-xl-v1.1", "noobai-xl-vpred-1.0", "noobai-xl-vpred-v1.0", "realvisxl_v3.0", "realvisxl_v4.0",
         "realvisxl_v5.0", "juggernaut-xl-v8", "juggernaut-xl-v9", "juggernautxl", "juggernaut-x-v10",
         "playground-v2-1024px-aesthetic", "playground-v2.5-1024px-aesthetic", "dreamshaper-xl-1-0",
         "dreamshaper-xl-v2-turbo", "albedobase-xl", "copax_timelessxl"),
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
        ("flux.1-dev", "flux1-dev", "flux-dev", "flux.1-dev-diffusers", "flux1-dev-fp8", "flux1-dev-fp8-e4m3fn",
         "flux.1-krea-dev", "flux1-krea-dev", "fluxbooru-v0.3", "flux1-dev2pro", "flux-dev2pro"),
        "FluxTransformer2DModel", {"guidance_embeds": True}, inputs.flux(64, 4096, 3, 768), 11_901_408_320,
        _defaults("FluxTransformer2DModel") + " with guidance", {"num_layers": 19, "num_single_layers": 38},
        encoders=("clip-l", "t5-xxl"),
    ),
    Denoiser(
        ("flux.1-schnell", "flux1-schnell", "flux-schnell", "libreflux", "libreflux-simpletuner", "openflux.1"),
        "FluxTransformer2DModel", {"guidance_embeds": False}, inputs.flux(64, 4096, 3, 768, guidance=False), 0,
        _defaults("FluxTransformer2DModel"), {"num_layers": 19, "num_single_layers": 38},
        encoders=("clip-l", "t5-xxl"),
    ),
    Denoiser(
        ("flux.2-klein-base-4b", "flux.2-klein-4b", "flux2-klein-4b", "flux-2-klein-base-4b"),
        "Flux2Transformer2DModel",
        {"num_attention_heads": 24, "joint_attention_dim": 7680, "guidance_embeds": False},
        inputs.flux(128, 7680, 4, guidance=False), 3_875_544_576, "scripts/convert_flux2_to_diffusers.py",
        {"num_layers": 5, "num_single_layers": 20}, vae="kl-flux2", encoders=("qwen3-4b",),
    ),
    Denoiser(
        ("flux.2-klein-base-9b", "flux.2-klein-9b", "flux2-klein-9b", "flux-2-klein-base-9b"),
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
        ("pixart-xl-2-512x512", "pixart-xl-2-1024-ms", "pixart-xl-2-256x256", "pixart-alpha"),
        "PixArtTransformer2DModel",
        {"use_additional_conditions": False, "caption_channels": 4096, "sample_size": 64}, inputs.pixart(120), 0,
        _defaults("PixArtTransformer2DModel"), {"num_layers": 28}, vae="kl-4", encoders=("t5-xxl",),
    ),
    Denoiser(
        ("pixart-sigma-xl-2-1024-ms", "pixart-sigma-xl-2-512-ms", "pixart-sigma-xl-2-256x256",
         "pixart-sigma-xl-2-2k-ms", "pixart-sigma"),
        "PixArtTransformer2DModel",
        {"use_additional_conditions": False, "caption_channels": 4096, "sample_size": 128}, inputs.pixart(300), 0,
        _defaults("PixArtTransformer2DModel"), {"num_layers": 28}, vae="kl-4", encoders=("t5-xxl",),
    ),
    Denoiser(
        ("sana_1600m_1024px", "sana_1600m_1024px_diffusers", "sana_1600m_1024px_bf16_diffusers",
         "sana_1600m_512px_diffusers", "sana_1600m_2kpx_bf16_diffusers", "sana_1600m_4kpx_bf16_diffusers",
         "sana_1600m_1024px_multiling_diffusers", "sana-1.6b-1024px", "sana-1600m"),
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
        ("auraflow", "auraflow-v0.1", "auraflow-v0.2", "auraflow-v0.3", "aura_flow_0.3", "pony-v7-base"),
        "AuraFlowTransformer2DModel", {}, inputs.image(4, 8, 2048, 256), 0, _defaults("AuraFlowTransformer2DModel"),
        {"num_mmdit_layers": 4, "num_single_dit_layers": 32}, vae="kl-4", encoders=("pile-t5-xl",),
    ),
    Denoiser(
        ("lumina-image-2.0", "lumina2", "lumina_2", "neta-lumina-v1", "neta-lumina"),
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
        ("qwen-image", "qwen-image-2512", "qwen_image_fp8_e4m3fn", "qwen_image_bf16"),
        "QwenImageTransformer2DModel", {}, inputs.qwen_image, 0, _defaults("QwenImageTransformer2DModel"),
        {"num_layers": 60}, vae="qwen-image", encoders=("qwen2.5-vl-7b",),
    ),
    Denoiser(
        ("chroma1-base", "chroma1-hd", "chroma1-flash", "chroma", "chroma-unlocked-v35", "chroma-unlocked-v50"),
        "ChromaTransformer2DModel", {}, inputs.flux(64, 4096, 3, guidance=False), 0,
        _defaults("ChromaTransformer2DModel"), {"num_layers": 19, "num_single_layers": 38}, encoders=("t5-xxl",),
    ),
    Denoiser(
        ("z-image", "z-image-turbo", "z-image-base", "z_image_turbo_bf16", "z-image-de-turbo"),
        "ZImageTransformer2DModel", {}, inputs.z_image, 0, _defaults("ZImageTransformer2DModel"), {"n_layers": 30},
        encoders=("qwen3-4b",),
    ),
    Denoiser(
        ("krea-2-raw", "krea-2-turbo", "krea2", "krea-2"),
        "Krea2Transformer2DModel", {}, inputs.krea, 0, _defaults("Krea2Transformer2DModel"), {"num_layers": 28},
        vae="qwen-image", encoders=("qwen3-vl-4b",),
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
        ("wan2.1-t2v-14b", "wan2.1-t2v-14b-diffusers", "wan2.2-t2v-a14b-diffusers", "wan2.2-t2v-a14b",
         "wan2.2-t2v-a14b-diffusers-bf16"),
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
    *_RELATIVES,
)  # fmt: skip
