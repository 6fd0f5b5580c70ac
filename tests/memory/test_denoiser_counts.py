"""Parameters of the catalogue's denoisers: as diffusers builds them on the meta device, and as their cards say."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from vramlint.memory.diffusion import denoisers, find_denoiser

PUBLISHED_BILLIONS = {
    "stable-diffusion-v1-5": 0.86, "stable-diffusion-2-1": 0.87, "stable-diffusion-xl-base-1.0": 2.6,
    "stable-diffusion-3-medium": 2, "stable-diffusion-3.5-medium": 2.5, "stable-diffusion-3.5-large": 8.1,
    "flux.1-dev": 12, "flux.1-schnell": 12, "flux.2-klein-base-4b": 4, "flux.2-klein-base-9b": 9, "flux.2-dev": 32,
    "pixart-sigma-xl-2-1024-ms": 0.6, "pixart-900m-1024": 0.9, "sana_1600m_1024px": 1.6, "sana_600m_1024px": 0.6,
    "sana1.5_4.8b_1024px": 4.8, "auraflow": 6.8, "lumina-image-2.0": 2.6, "qwen-image": 20, "chroma1-base": 8.9,
    "z-image": 6, "ltx-video": 2, "wan2.1-t2v-1.3b": 1.3, "wan2.1-t2v-14b": 14, "hunyuanvideo": 13, "cogvideox-2b": 1.7,
    "cogvideox-5b": 5, "cosmos-predict2-2b-text2image": 2, "hunyuandit-diffusers": 1.5,
}  # fmt: skip
"""What model cards and papers say, in words of one or two figures."""


@pytest.mark.parametrize("name", PUBLISHED_BILLIONS)
def test_as_published(name: str) -> None:
    found = find_denoiser(name)
    assert found is not None
    assert found.base / 1e9 == pytest.approx(PUBLISHED_BILLIONS[name], rel=0.12)


def test_as_diffusers_builds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    importlib.import_module("vramlint.trace.stand_ins").torchvision_schemas()
    diffusers = pytest.importorskip("diffusers", reason="counts are compared where diffusers is installed")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    recipes = {each.names[0]: each for each in importlib.import_module("diffusion_models").MODELS}
    for denoiser in denoisers():
        recipe = recipes[denoiser.name]
        with torch.device("meta"):
            model = getattr(diffusers, recipe.kind)(**recipe.built_with(recipe.stacks))
        assert sum(each.numel() for each in model.parameters()) == denoiser.base, denoiser.name
