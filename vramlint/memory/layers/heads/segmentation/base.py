"""What all decode heads share. Source: mmsegmentation 1.2.2 ``models/decode_heads/decode_head.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, ConvModule
from vramlint.memory.layers.nn import Conv
from vramlint.memory.layers.registry import Build, Config, Maps
from vramlint.memory.layers.tape import Tensor


class DecodeHead:
    """Features to logits, and the losses of the logits at the size of the labels.

    A subclass makes its layers in ``__init__`` after this one's and overrides :meth:`features` (all but the last 1x1
    convolution) or :meth:`forward`.
    """

    classifier = True
    """Whether there is the common last convolution ``conv_seg``."""

    def __init__(self, build: Build, config: Config) -> None:
        self.build, self.tape, self.config = build, build.tape, config
        self.index = config.get("in_index", -1)
        self.transform = config.get("input_transform")
        self.norm: Config | None = config.get("norm_cfg")
        self.act: Config | None = config.get("act_cfg", RELU)
        self.channels = int(config["channels"])
        self.outputs = int(config.get("out_channels") or config["num_classes"])
        given = config["in_channels"]
        self.inside: Any = sum(given) if self.transform == "resize_concat" else given
        self.rate = float(config.get("dropout_ratio", 0.1))
        losses = config.get("loss_decode", {"type": "CrossEntropyLoss"})
        several: Sequence[Config] = losses if isinstance(losses, (list, tuple)) else [losses]
        self.losses = [build.make("loss", each) for each in several]
        self.sampler: Config | None = config.get("sampler")
        if self.classifier:
            self.last = Conv(self.tape, self.channels, self.outputs, 1)

    def module(self, inside: int, channels: int, kernel: int = 1, **options: Any) -> ConvModule:
        """A ConvModule with the head's norm and activation."""
        options = {"norm_cfg": self.norm, "act_cfg": self.act, "conv_cfg": self.config.get("conv_cfg"), **options}
        return ConvModule(self.tape, inside, channels, kernel, **options)

    def picked(self, maps: Maps) -> Tensor:
        """The input of a head on one map, or on several that are resized and joined."""
        if self.transform == "resize_concat":
            chosen = [maps[index] for index in self.index]
            size = chosen[0].size
            return ops.concatenate([ops.resize(each, size) for each in chosen])
        assert isinstance(self.index, int)
        return maps[self.index]

    def several(self, maps: Maps) -> Maps:
        """The inputs of a head on several maps."""
        return [maps[index] for index in self.index]

    def features(self, maps: Maps) -> Tensor:
        """All layers but the last."""
        raise NotImplementedError

    def classify(self, x: Tensor) -> Tensor:
        """``cls_seg``: dropout of whole channels and the last convolution."""
        return self.last(ops.dropout2d(x, self.rate))

    def forward(self, maps: Maps) -> Tensor:
        """Logits at the head's own resolution."""
        return self.classify(self.features(maps))

    def loss(self, maps: Maps, labels: Tensor) -> list[Tensor]:
        """Losses against ``labels`` of shape (batch, height, width)."""
        return self.losses_of(self.forward(maps), labels)

    def losses_of(self, logits: Tensor, labels: Tensor) -> list[Tensor]:
        """Logits are resized to the labels' size; then every loss, and the accuracy of the batch."""
        stacked = self.tape.new(*labels.shape, itemsize=8)
        logits = ops.resize(logits, labels.shape[1:])
        weight = None if self.sampler is None else self.sampled(logits)
        found = [loss(logits, stacked) for loss in self.losses]
        accuracy(logits)
        del weight
        return found

    def sampled(self, logits: Tensor) -> Tensor:
        """OHEM: the softmax of all logits without a graph, then one weight a pixel."""
        with self.tape.no_grad():
            if self.sampler and self.sampler.get("thresh") is not None:
                ops.softmax(logits)
            return self.tape.new(logits.shape[0], *logits.size)


def accuracy(logits: Tensor) -> None:
    """The training accuracy of the batch: arg max by ``topk``, a comparison, and boolean indexing by coordinates.

    Bytes a pixel: 4 value, 8 label, 1 comparison, 1 mask, 24 coordinates of the pixels that count, 1 gathered.
    """
    tape = logits.storage.tape
    pixels = logits.shape[0] * logits.size[0] * logits.size[1]
    value, label = tape.new(pixels), tape.new(pixels, itemsize=8)
    correct, mask = tape.new(pixels, itemsize=1), tape.new(pixels, itemsize=1)
    coordinates, picked = tape.new(3 * pixels, itemsize=8), tape.new(pixels, itemsize=1)
    del value, label, correct, mask, coordinates, picked
