"""Vision transformers, and CLIP, which pairs one with a text encoder.

Sources: transformers 5.24 ``models/{vit,deit,dinov2,dinov2_with_registers,clip}/modeling_*.py``; open_clip 3
``src/open_clip/loss.py`` (features of all ranks are gathered).
"""

from __future__ import annotations

from collections.abc import Mapping

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.tape import PART, Parameter, Tensor
from vramlint.memory.networks.blocks import Block, Shape
from vramlint.memory.networks.knowledge import Config, Family
from vramlint.memory.networks.parts import Convolution, Embedding, LayerNorm, Linear, cross_entropy
from vramlint.memory.networks.stepping import Run

_LABELS = 2
_CLASS_TOKENS = {"vit": 1, "deit": 2, "dinov2": 1, "dinov2_with_registers": 1, "clip": 1}
"""Learnt tokens that have a position; DeiT's second one is for distillation."""


def side_of(config: Config) -> int:
    """Side of the images that the table of positions is for."""
    size = config["image_size"]
    return int(size[0] if isinstance(size, (list, tuple)) else size)


class Patches:
    """Patches through a convolution, learnt tokens before them, and their positions."""

    def __init__(self, run: Run, config: Config, *, bias: bool = True) -> None:
        self.run, self.kind = run, str(config["model_type"])
        self.width, self.patch = int(config["hidden_size"]), int(config["patch_size"])
        self.convolution = Convolution(
            run, int(config.get("num_channels", 3)), self.width, self.patch, self.patch, padding=0, bias=bias, dims=2
        )
        self.learnt = _CLASS_TOKENS[self.kind]
        self.registers = int(config.get("num_register_tokens", 0)) if self.kind == "dinov2_with_registers" else 0
        self.tokens = [run.weight(self.width) for _ in range(self.learnt)]
        if self.registers:
            self.register = run.weight(self.registers * self.width)
        if self.kind.startswith("dinov2") and config.get("use_mask_token", True):
            run.weight(self.width)  # masked patches have it; a classifier's pass gives it no gradient
        self.side = side_of(config)
        self.places = (self.side // self.patch) ** 2 + self.learnt
        self.positions = run.weight(self.places * self.width)

    def __call__(self, images: Tensor) -> Tensor:
        run, batch = self.run, images.shape[0]
        x = self.convolution(images)
        x = run.entering(x).view(batch, x.shape[2] * x.shape[3], self.width)
        if self.tokens:
            x = self._joined(x, batch)
        table = Tensor((1, x.shape[1], self.width), run.way.weight_bytes, run.tape.new(0).storage, self.positions.node)
        x = ops.add(x, table)
        if self.registers:
            first, rest = ops.split(x, (1, x.shape[1] - 1), axis=1)
            register = self._learnt(self.register, batch, self.registers)
            x = ops.concatenate([first, register, rest])
        return x

    def _joined(self, x: Tensor, batch: int) -> Tensor:
        tokens = [self._learnt(token, batch, 1) for token in self.tokens]
        return ops.concatenate([*tokens, x])

    def _learnt(self, weight: Parameter, batch: int, count: int) -> Tensor:
        """A token for every sample, without a copy; its gradient is summed over them."""
        size = self.run.way.weight_bytes
        source = self.run.tape.new(0)
        return self.run.tape.record(
            (batch, count, self.width), size, (weight,), (size * weight.elements,), inplace=source
        )


class Classifier:
    """ViT, DeiT or DINOv2 with a linear head on the first token; DINOv2's takes the patches' mean beside it."""

    def __init__(self, run: Run, config: Config) -> None:
        self.run, self.config, self.kind = run, config, str(config["model_type"])
        shape = _shape(config)
        self.width = shape.width
        with run.part("backbone"):
            self.patches = Patches(run, config)
            self.blocks = run.built(shape.layers, lambda _: Block(run, shape))
            self.norm = LayerNorm(run, shape.width)
        self.means = self.kind.startswith("dinov2")
        labels = int(config.get("num_labels") or len(config.get("id2label") or ()) or _LABELS)
        inside = 2 * shape.width if self.means else shape.width
        self.out = Linear(run, "classifier", inside, labels, head=True)

    def loss(self, sizes: Mapping[str, int]) -> Tensor:
        run, batch = self.run, sizes["batch"]
        images = run.given(
            batch, int(self.config.get("num_channels", 3)), sizes["height"], sizes["width"],
            itemsize=run.way.weight_bytes,
        )  # fmt: skip
        x = self.patches(images)
        x = ops.dropout(x, float(self.config.get("hidden_dropout_prob", 0.0)))
        x = self.norm(run.stack(self.blocks, x))
        logits = self.out(self._pooled(x))
        return cross_entropy(logits, run.given(batch))

    def _pooled(self, x: Tensor) -> Tensor:
        batch, places = x.shape[:2]
        first = ops.select(x, (batch, self.width))
        if not self.means:
            return first
        patches = ops.select(x, (batch, places - 1, self.width))
        return ops.concatenate([first, ops.mean(patches, (batch, self.width))])


def _shape(config: Config) -> Shape:
    width = int(config["hidden_size"])
    ffn = int(config.get("intermediate_size") or width * config.get("mlp_ratio", 4))
    dino = str(config["model_type"]).startswith("dinov2")
    gated = bool(config.get("use_swiglu_ffn"))
    if dino:
        ffn = int(width * config.get("mlp_ratio", 4))
        ffn = (int(ffn * 2 / 3) + 7) // 8 * 8 if gated else ffn
    return Shape(
        width, ffn, int(config["num_attention_heads"]), int(config["num_hidden_layers"]),
        activation="silu" if gated else str(config.get("hidden_act", "gelu")),
        dropout=0.0 if dino else float(config.get("hidden_dropout_prob", 0.0)),
        attention_dropout=float(config.get("attention_probs_dropout_prob", 0.0)),
        query_bias=bool(config.get("qkv_bias", True)), scales=dino, gated=gated,
        begins_late=not dino,
    )  # fmt: skip


_CLIP_TEXT = {
    "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8,
    "max_position_embeddings": 77, "vocab_size": 49408, "hidden_act": "quick_gelu",
}  # fmt: skip
_CLIP_VISION = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "image_size": 224, "patch_size": 32, "hidden_act": "quick_gelu",
}  # fmt: skip
"""Defaults of the two configs, which hub files leave out (transformers 5.24 ``configuration_clip.py``)."""


class Clip:
    """Two towers and a contrastive loss.

    ``gathered_ranks`` in the config: over how many ranks features are gathered, of which ``local_loss`` compares the
    rank's own with all, the usual loss all with all.
    """

    def __init__(self, run: Run, config: Config) -> None:
        self.run, self.config = run, config
        self.text_config = {**_CLIP_TEXT, **(config.get("text_config") or {})}
        vision = {**_CLIP_VISION, **(config.get("vision_config") or {}), "model_type": "clip"}
        self.width = int(config.get("projection_dim", 512))
        with run.part("image tower"):
            shape = _tower(vision)
            self.patches = Patches(run, vision, bias=False)
            self.first_norm, self.last_norm = LayerNorm(run, shape.width), LayerNorm(run, shape.width)
            self.images = run.built(shape.layers, lambda _: Block(run, shape))
            self.image_out = Linear(run, "visual_projection", shape.width, self.width, bias=False)
        with run.part("text tower"):
            text = _tower(self.text_config)._replace(causal=True)
            self.words = Embedding(run, int(self.text_config["vocab_size"]), text.width)
            self.places = Embedding(run, int(self.text_config["max_position_embeddings"]), text.width)
            self.texts = run.built(text.layers, lambda _: Block(run, text))
            self.text_norm = LayerNorm(run, text.width)
            self.text_out = Linear(run, "text_projection", text.width, self.width, bias=False)
        self.scale = run.weight(1)

    def loss(self, sizes: Mapping[str, int]) -> Tensor:
        run, batch = self.run, sizes["batch"]
        length = min(sizes.get("length", 0) or 77, int(self.text_config["max_position_embeddings"]))
        ids = run.given(batch, length)
        if run.way.padded:
            run.given(batch, length)
        pixels = run.given(batch, 3, sizes["height"], sizes["width"], itemsize=run.way.weight_bytes)
        images = self._imaged(pixels)
        texts = self._read(ids)
        return self._contrast(_normalised(images), _normalised(texts))

    def _imaged(self, pixels: Tensor) -> Tensor:
        x = self.run.stack(self.images, self.first_norm(self.patches(pixels)))
        pooled = self.last_norm(ops.select(x, (x.shape[0], x.shape[2])))
        del x
        return self.image_out(pooled)

    def _read(self, ids: Tensor) -> Tensor:
        run, (batch, length) = self.run, ids.shape
        x = run.entering(self.words(ids))
        x = ops.add(x, self.places(run.tape.new(1, length, itemsize=8)))
        mask = None
        if run.way.padded:
            mask = run.tape.new(batch, 1, length, length, itemsize=1)  # causal and padded
        for block in self.texts[1]:
            assert isinstance(block, Block)
            block.mask = mask
        x = self.text_norm(run.stack(self.texts, x))
        for block in self.texts[1]:
            assert isinstance(block, Block)
            block.mask = None
        pooled = ops.gather(x, (batch, x.shape[2]), 16 * batch)
        del x
        return self.text_out(pooled)

    def _contrast(self, images: Tensor, texts: Tensor) -> Tensor:
        run, ranks = self.run, int(self.config.get("gathered_ranks", 1))
        batch, width = images.shape
        rows = batch
        if ranks > 1:
            images, texts = (_gathered(each, ranks) for each in (images, texts))
            rows = batch if self.config.get("local_loss") else batch * ranks
        logits = [ops.matmul(one, other, (rows, batch * ranks)) for one, other in ((texts, images), (images, texts))]
        del images, texts, width
        scaled = [ops.scaled(each) for each in (logits if ranks > 1 else logits[:1])]
        del logits
        labels = run.tape.new(rows, itemsize=8)
        losses = [cross_entropy(each, labels) for each in (scaled if len(scaled) > 1 else scaled * 2)]
        return ops.scaled(ops.add(*losses))


def _tower(config: Mapping[str, object]) -> Shape:
    numbers = [int(str(config[key])) for key in ("hidden_size", "intermediate_size", "num_attention_heads",
                                                "num_hidden_layers")]  # fmt: skip
    width, ffn, heads, layers = numbers
    return Shape(width, ffn, heads, layers, activation=str(config.get("hidden_act", "quick_gelu")))


def _normalised(x: Tensor) -> Tensor:
    """``x / x.pow(2).sum(-1).pow(0.5)``, in fp32 under autocast."""
    tape = x.storage.tape
    wide = tape.raised(x) if tape.half else x
    squares = tape.record(wide.shape, wide.itemsize, (wide,), (wide.bytes,), (wide,))
    norm = ops.keeps_result(tape.record((*x.shape[:-1], 1), wide.itemsize, (squares,), (PART,)))
    return ops.mul(x, norm)


def _gathered(x: Tensor, ranks: int) -> Tensor:
    """All ranks' features, the rank's own with a gradient."""
    tape = x.storage.tape
    return tape.record((x.shape[0] * ranks, x.shape[1]), x.itemsize, (x,), (x.bytes,))


def family_of(config: Config) -> Family | None:
    """How a config of these types is built."""
    if config["model_type"] == "clip":
        return Family(Clip, "image", ("q_proj", "v_proj"))
    return Family(Classifier, "image", ("query", "value", "q_proj", "v_proj"), masks=False)
