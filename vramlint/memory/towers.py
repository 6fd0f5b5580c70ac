"""Vision towers of vision-language models: parameters of the encoder and projector, from the ``vision_config``.

Read in transformers 5.24's ``modeling_*.py`` of each type; ``tools/count_parameters.py`` compares every catalogue entry
with the model on the meta device. h: width, d: depth, i: MLP width, p: patch side, t: width of the text model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from vramlint.memory.knowledge import Workload

Config = Mapping[str, Any]


class Tower(NamedTuple):
    """A vision encoder with its projector: ``hidden`` width, ``layers``, MLP width ``ffn``, pixels of a patch's side.

    ``parameters`` counts encoder and projector.
    """

    kind: str
    hidden: int
    layers: int
    ffn: int
    patch: int
    parameters: int
    image_side: int = 0
    """Side of the images it always takes, in pixels; 0 where any size is taken."""

    def kept_bytes(self, workload: Workload) -> int:
        """What its blocks keep for backward where it trains, for one image a sample: 8 widths and 2 MLP widths a patch.

        Norm input and output, queries, keys and values, attention's output, before both halves of a block; the MLP's
        inner tensor before and after its activation. Two bytes each under bf16, autocast's fp32 residuals included
        above by four bytes for the two norms.
        """
        height, width = (self.image_side, self.image_side) if self.image_side else (workload.height, workload.width)
        if not height or not width:
            height = width = _USUAL_SIDE
        patches = (height // self.patch) * (width // self.patch)
        each = 2 if workload.precision.mixed else 4
        per_patch = each * (8 * self.hidden + 2 * self.ffn) + (4 - each) * 2 * self.hidden
        kept = self.hidden * each if workload.checkpointing else per_patch
        return workload.micro_batch * patches * self.layers * kept


_USUAL_SIDE = 1036
"""Where neither model nor plan says how large images are: a megapixel, which Qwen2-VL's processor goes up to by default
in most recipes (``max_pixels`` 1,003,520). An assumption for an upper bound."""


def tower_from_config(data: Config, text_width: int) -> Tower | None:
    """The vision tower in a vision-language model's ``config.json``; None for text models and unknown towers."""
    vision = data.get("vision_config")
    kind = str(data.get("model_type", ""))
    count = _COUNTS.get(kind)
    if not isinstance(vision, Mapping) or count is None:
        return None
    filled = {**_DEFAULTS.get(kind, {}), **vision}
    try:
        tower = count(_Sizes.read(filled), filled, data, text_width)
        side = filled.get("image_size") if tower.kind in ("clip", "siglip", "llama4") else 0
        return tower._replace(image_side=_side(side or 0))
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None  # a key that the count needs is missing or no number


class _Sizes(NamedTuple):
    hidden: int
    layers: int
    ffn: int
    patch: int

    @classmethod
    def read(cls, vision: Config) -> _Sizes:
        hidden = int(vision.get("embed_dim") or vision["hidden_size"])
        layers = int(vision.get("depth") or vision["num_hidden_layers"])
        ffn = int(vision.get("intermediate_size") or hidden * vision.get("mlp_ratio", 4))
        patch = _side(vision["patch_size"])
        if patch < 1:
            raise ValueError("patches without pixels")
        return cls(hidden, layers, ffn, patch)

    def tower(self, kind: str, parameters: int) -> Tower:
        return Tower(kind, self.hidden, self.layers, self.ffn, self.patch, parameters)

    @property
    def biased_attention(self) -> int:
        return 4 * self.hidden**2 + 4 * self.hidden

    @property
    def biased_mlp(self) -> int:
        return 2 * self.hidden * self.ffn + self.ffn + self.hidden


_DEFAULTS: dict[str, dict[str, Any]] = {
    "llava": {"hidden_size": 1024, "num_hidden_layers": 24, "intermediate_size": 4096, "patch_size": 14},
    "qwen2_vl": {"embed_dim": 1280, "depth": 32, "mlp_ratio": 4, "patch_size": 14},
    "qwen2_5_vl": {"depth": 32, "intermediate_size": 3420, "patch_size": 14},
}
"""Defaults of the vision configs, which hub files leave out (transformers 5.24)."""


def _clip(sizes: _Sizes, vision: Config, _: Config, text: int) -> Tower:
    """CLIP with LLaVA's projector of two biased linear layers."""
    h, positions = sizes.hidden, (int(vision["image_size"]) // sizes.patch) ** 2 + 1
    embeddings = h + 3 * sizes.patch**2 * h + positions * h
    blocks = sizes.layers * (sizes.biased_attention + sizes.biased_mlp + 4 * h)
    projector = h * text + text + text**2 + text
    return sizes.tower("clip", embeddings + blocks + 4 * h + projector)


def _llava(sizes: _Sizes, vision: Config, data: Config, text: int) -> Tower:
    """CLIP, or in Pixtral-12B the encoder of Mistral's later models, under LLaVA's projector."""
    if vision.get("model_type") != "pixtral":
        return _clip(sizes, vision, data, text)
    h = sizes.hidden
    blocks = sizes.layers * (4 * h**2 + 3 * h * sizes.ffn + 2 * h)
    projector = h * text + text + text**2 + text
    return sizes.tower("pixtral", 3 * sizes.patch**2 * h + h + blocks + projector)


def _llava_next(sizes: _Sizes, vision: Config, data: Config, text: int) -> Tower:
    """The same with a learnt token between rows of tiles."""
    tower = _clip(sizes, vision, data, text)
    return tower._replace(parameters=tower.parameters + text)


def _llava_onevision(sizes: _Sizes, vision: Config, _: Config, text: int) -> Tower:
    """SigLIP without its head, LLaVA's projector, a learnt token between rows."""
    projector = sizes.hidden * text + text + text**2 + text
    return sizes.tower("siglip", _siglip(sizes, vision) + projector + text)


def _idefics3(sizes: _Sizes, vision: Config, data: Config, text: int) -> Tower:
    """SigLIP without its head; one matrix after a pixel shuffle (SmolVLM too)."""
    shuffled = sizes.hidden * int(data.get("scale_factor") or 2) ** 2
    return sizes.tower("siglip", _siglip(sizes, vision) + shuffled * text)


def _internvl(sizes: _Sizes, vision: Config, data: Config, text: int) -> Tower:
    """InternViT with scaled halves; a norm and two linear layers after a pixel shuffle."""
    h, side = sizes.hidden, _side(vision["image_size"])
    positions = (side // sizes.patch) ** 2 + 1
    embeddings = h + 3 * sizes.patch**2 * h + h + positions * h
    biases = 0 if vision.get("attention_bias") else 3 * h
    blocks = sizes.layers * (sizes.biased_attention - biases + sizes.biased_mlp + 6 * h)
    shuffled = h * round(1 / float(data.get("downsample_ratio") or 0.5)) ** 2
    projector = 2 * shuffled + shuffled * text + text + text**2 + text
    return sizes.tower("siglip", embeddings + blocks + projector)


def _side(size: object) -> int:
    return int(size[0] if isinstance(size, (list, tuple)) else str(size))


def _siglip(sizes: _Sizes, vision: Config) -> int:
    h, positions = sizes.hidden, (int(vision["image_size"]) // sizes.patch) ** 2
    embeddings = 3 * sizes.patch**2 * h + h + positions * h
    return embeddings + sizes.layers * (sizes.biased_attention + sizes.biased_mlp + 4 * h) + 2 * h


def _gemma3(sizes: _Sizes, vision: Config, _: Config, text: int) -> Tower:
    """SigLIP without its head; one matrix and one norm as projector."""
    return sizes.tower("siglip", _siglip(sizes, vision) + sizes.hidden * text + sizes.hidden)


def _paligemma(sizes: _Sizes, vision: Config, data: Config, text: int) -> Tower:
    """SigLIP; one biased linear layer as projector."""
    width = int(data.get("projection_dim") or vision.get("projection_dim") or text)
    return sizes.tower("siglip", _siglip(sizes, vision) + sizes.hidden * width + width)


def _mistral3(sizes: _Sizes, _vision: Config, data: Config, text: int) -> Tower:
    """Pixtral, bias-free and gated; a patch merger and two linear layers as projector."""
    h, merge = sizes.hidden, int(data.get("spatial_merge_size") or 2)
    blocks = sizes.layers * (4 * h**2 + 3 * h * sizes.ffn + 2 * h)
    biases = 2 * text if data.get("multimodal_projector_bias") else 0
    projector = h + merge**2 * h**2 + h * text + text**2 + biases
    return sizes.tower("pixtral", 3 * sizes.patch**2 * h + h + blocks + projector)


def _qwen_patches(sizes: _Sizes, vision: Config) -> int:
    return 3 * int(vision.get("temporal_patch_size") or 2) * sizes.patch**2 * sizes.hidden


def _qwen_merger(sizes: _Sizes, vision: Config, out: int, norm: int) -> int:
    merged = sizes.hidden * int(vision.get("spatial_merge_size") or 2) ** 2
    return norm + merged**2 + merged + merged * out + out


def _qwen2_vl(sizes: _Sizes, vision: Config, _: Config, text: int) -> Tower:
    """Biased blocks with LayerNorms and a merger of 2x2 patches."""
    h = sizes.hidden
    sizes = sizes._replace(ffn=int(h * vision.get("mlp_ratio", 4)))
    blocks = sizes.layers * (sizes.biased_attention + sizes.biased_mlp + 4 * h)
    return sizes.tower("qwen2_vl", _qwen_patches(sizes, vision) + blocks + _qwen_merger(sizes, vision, text, 2 * h))


def _qwen2_5_vl(sizes: _Sizes, vision: Config, _: Config, text: int) -> Tower:
    """Gated biased MLPs, RMSNorms, and the merger."""
    h, out = sizes.hidden, int(vision.get("out_hidden_size") or text)
    mlp = 3 * h * sizes.ffn + 2 * sizes.ffn + h
    blocks = sizes.layers * (sizes.biased_attention + mlp + 2 * h)
    return sizes.tower("qwen2_5_vl", _qwen_patches(sizes, vision) + blocks + _qwen_merger(sizes, vision, out, h))


_DEEPSTACK = 3
"""Further mergers of Qwen3-VL (``deepstack_visual_indexes`` has three entries in every checkpoint)."""


def _qwen3_vl(sizes: _Sizes, vision: Config, _: Config, text: int) -> Tower:
    """Learned positions, biased blocks with LayerNorms, a merger and three more for deep layers."""
    h, out = sizes.hidden, int(vision.get("out_hidden_size") or text)
    merge = int(vision.get("spatial_merge_size") or 2) ** 2
    embeddings = _qwen_patches(sizes, vision) + h + int(vision.get("num_position_embeddings") or 2304) * h
    blocks = sizes.layers * (sizes.biased_attention + sizes.biased_mlp + 4 * h)
    mergers = _qwen_merger(sizes, vision, out, 2 * h) + _DEEPSTACK * _qwen_merger(sizes, vision, out, 2 * merge * h)
    return sizes.tower("qwen3_vl", embeddings + blocks + mergers)


def _qwen3_5(sizes: _Sizes, vision: Config, data: Config, text: int) -> Tower:
    """Qwen3-VL's without mergers for deep layers (``deepstack_visual_indexes`` is empty)."""
    whole = _qwen3_vl(sizes, vision, data, text)
    merge, out = int(vision.get("spatial_merge_size") or 2) ** 2, int(vision.get("out_hidden_size") or text)
    mergers = _DEEPSTACK * _qwen_merger(sizes, vision, out, 2 * merge * sizes.hidden)
    return whole._replace(kind="qwen3_5", parameters=whole.parameters - mergers)


def _llama4(sizes: _Sizes, vision: Config, _: Config, text: int) -> Tower:
    """Biased blocks, a pixel-shuffle MLP without biases and one projecting matrix."""
    h, positions = sizes.hidden, (int(vision["image_size"]) // sizes.patch) ** 2 + 1
    embeddings = 3 * sizes.patch**2 * h + h + positions * h
    blocks = sizes.layers * (sizes.biased_attention + sizes.biased_mlp + 4 * h)
    inside, out = int(vision["projector_input_dim"]), int(vision["projector_output_dim"])
    adapter = sizes.ffn * inside + inside * out
    return sizes.tower("llama4", embeddings + blocks + 4 * h + adapter + int(vision["vision_output_dim"]) * text)


_COUNTS: dict[str, Callable[[_Sizes, Config, Config, int], Tower]] = {
    "llava": _llava,
    "llava_next": _llava_next,
    "llava_onevision": _llava_onevision,
    "idefics3": _idefics3,
    "smolvlm": _idefics3,
    "internvl": _internvl,
    "gemma3": _gemma3,
    "paligemma": _paligemma,
    "mistral3": _mistral3,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "qwen3_vl_moe": _qwen3_vl,
    "qwen3_5": _qwen3_5,
    "qwen3_5_moe": _qwen3_5,
    "llama4": _llama4,
}
