"""segmentation_models_pytorch: a decoder over an encoder. Source: its version 0.6.0, ``decoders``, ``encoders``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.named import decoders, encoders, mobile
from vramlint.memory.layers.named.decoders import Made
from vramlint.memory.layers.named.encoders import DENSENETS, RESNETS, TORCHVISION_ONLY, VGGS, Encoder
from vramlint.memory.layers.named.mix import MITS, mit
from vramlint.memory.layers.named.pixels import pixel_loss
from vramlint.memory.layers.nn import Conv
from vramlint.memory.layers.registry import Build, Config, Maps, model
from vramlint.memory.layers.tape import Tape, Tensor


class _Maps:
    """An encoder at a depth: the image and the maps a decoder gets, and the channels of each."""

    def __init__(self, tape: Tape, name: str, depth: int, stride: int, image: int) -> None:
        self.depth = depth
        last = {32: (1, 1), 16: (1, 2), 8: (2, 4)}[stride]
        self.tape = tape
        self.full = name in VGGS
        """VGG's first map has the image's size, and the image itself is left out."""
        self.mixed = name in MITS
        self.overruns = int(name.startswith(("mobilenet", "efficientnet")))
        """Stages that run beyond the depth before the loop over the blocks ends."""
        self.encoder = _encoder(tape, name, last, image)
        found = self.encoder.channels
        self.channels = [*found] if self.full else [image, *found]
        self.channels = self.channels[: depth + 1]

    def __call__(self, x: Tensor) -> Maps:
        if self.mixed:
            hollow = self.tape.new(x.shape[0], 0, x.size[0] // 2, x.size[1] // 2)
            image, *others = self.encoder(x, self.depth - 1)
            return [image, hollow, *others]
        if self.full:
            return self.encoder(x, self.depth + 1)[1:]
        return self.encoder(x, self.depth + self.overruns)[: self.depth + 1]


def _encoder(tape: Tape, name: str, dilations: tuple[int, int], image: int) -> Encoder:
    if name in RESNETS:
        return encoders.resnet(tape, name, (1, 1, *dilations), image=image)
    if name in MITS:
        return mit(tape, name, dilations, image)
    if name == "mobilenet_v2":
        return mobile.mobilenet_v2(tape, dilations, image)
    if name.startswith("efficientnet-"):
        return mobile.smp_efficientnet(tape, name.partition("-")[2], dilations, image)
    if dilations != (1, 1):
        raise ValueError(f"the package has no dilated {name}")
    if name in VGGS:
        return encoders.vgg(tape, name, image)
    if name in DENSENETS:
        return encoders.densenet(tape, name, image)
    raise KeyError(name)


ENCODERS = (
    *(name for name in RESNETS if name not in TORCHVISION_ONLY), *VGGS, *DENSENETS, *MITS, "mobilenet_v2",
    *(f"efficientnet-{size}" for size in mobile.EFFICIENTNETS),
)  # fmt: skip
"""Names of the encoders that are worked out here."""


class _Kind:
    """An architecture: how its decoder is made, how deep its encoder goes, and where the encoder dilates."""

    def __init__(self, make: Callable[[Tape, Sequence[int]], Made], depth: int = 5, stride: int = 32) -> None:
        self.make, self.depth, self.stride = make, depth, stride


KINDS: Mapping[str, _Kind] = {
    "unet": _Kind(decoders.unet),
    "unetplusplus": _Kind(decoders.unet_plus_plus),
    "fpn": _Kind(decoders.fpn),
    "deeplabv3": _Kind(decoders.deeplab, stride=8),
    "deeplabv3plus": _Kind(decoders.deeplab_plus, stride=16),
    "pspnet": _Kind(decoders.psp, depth=3),
    "linknet": _Kind(decoders.linknet),
    "manet": _Kind(decoders.manet),
    "pan": _Kind(decoders.pan, stride=16),
    "upernet": _Kind(decoders.upernet),
    "segformer": _Kind(decoders.segformer),
}


@model("smp.SegmentationModel")
class SegmentationModel:
    """One class with binary cross-entropy and Dice; several with cross-entropy."""

    def __init__(self, build: Build, config: Config) -> None:
        self.tape = tape = build.tape
        kind = KINDS[str(config["architecture"])]
        self.classes = int(config.get("classes", 1))
        self.encoder = _Maps(tape, str(config["encoder"]), kind.depth, kind.stride, int(config.get("in_channels", 3)))
        self.decoder, channels, kernel, self.factor = kind.make(tape, self.encoder.channels)
        self.last = Conv(tape, channels, self.classes, kernel, 1, kernel // 2)

    def _logits(self, images: Tensor) -> Tensor:
        maps = self.encoder(images)
        x = self.last(self.decoder(maps))
        return ops.enlarged(x, self.factor) if self.factor > 1 else x

    def loss(self, images: Tensor) -> Tensor:
        return pixel_loss(self._logits, images, self.classes)
