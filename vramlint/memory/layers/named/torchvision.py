"""torchvision's classifiers and segmentation models. Source: torchvision 0.28 ``models``, ``references``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.named import encoders, mobile
from vramlint.memory.layers.named.encoders import DENSENETS, RESNETS, SMP_ONLY, VGGS, relu
from vramlint.memory.layers.named.regnet import REGNETS, regnet
from vramlint.memory.layers.named.transformers import CONVNEXTS, SWINS, VITS, convnext, swin, vit
from vramlint.memory.layers.nn import BatchNorm, Conv, Layer, Linear, chain
from vramlint.memory.layers.registry import Build, Config, model
from vramlint.memory.layers.tape import Tape, Tensor

Trunk = tuple[Layer, int]
"""Everything before the pooling, and the channels it ends with."""


def pooled(x: Tensor) -> Tensor:
    """The mean of every channel, as (batch, channels): a view of the pooled map."""
    found = ops.adaptive_avg_pool(x, 1)
    return found.view(*found.shape[:2])


def _mean_head(tape: Tape, trunk: Trunk, classes: int, rate: float = 0.0) -> Layer:
    layer = Linear(tape, trunk[1], classes)
    return lambda x: layer(ops.dropout(pooled(trunk[0](x)), rate))


def _resnet(tape: Tape, name: str, classes: int, image: int = 3) -> Layer:
    encoder = encoders.resnet(tape, name, image=image)
    return _mean_head(tape, (chain(*encoder.stages), encoder.channels[-1]), classes)


def _densenet(tape: Tape, name: str, classes: int) -> Layer:
    encoder = encoders.densenet(tape, name)
    return _mean_head(tape, (chain(*encoder.stages, relu), encoder.channels[-1]), classes)


def _vgg(tape: Tape, name: str, classes: int) -> Layer:
    trunk = chain(*encoders.vgg(tape, name).stages)
    first, second, last = Linear(tape, 512 * 49, 4096), Linear(tape, 4096, 4096), Linear(tape, 4096, classes)

    def run(x: Tensor) -> Tensor:
        x = ops.adaptive_avg_pool(trunk(x), 7)
        x = x.view(x.shape[0], 512 * 49)
        x = ops.dropout(relu(first(x)), 0.5)
        return last(ops.dropout(relu(second(x)), 0.5))

    return run


def _alexnet(tape: Tape, name: str, classes: int) -> Layer:
    del name
    rows = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
    convs = [Conv(tape, *row) for row in rows]
    first, second, last = Linear(tape, 256 * 36, 4096), Linear(tape, 4096, 4096), Linear(tape, 4096, classes)

    def run(x: Tensor) -> Tensor:
        for index, conv in enumerate(convs):
            x = relu(conv(x))
            if index in (0, 1, 4):
                x = ops.max_pool(x, 3, 2)
        x = ops.adaptive_avg_pool(x, 6)
        x = relu(first(ops.dropout(x.view(x.shape[0], 256 * 36), 0.5)))
        return last(relu(second(ops.dropout(x, 0.5))))

    return run


def _mobilenet_v2(tape: Tape, name: str, classes: int) -> Layer:
    del name
    encoder = mobile.mobilenet_v2(tape)
    return _mean_head(tape, (chain(*encoder.stages), encoder.channels[-1]), classes, 0.2)


def _mobilenet_v3(tape: Tape, name: str, classes: int) -> Layer:
    trunk = mobile.MobileNetV3(tape, name)
    hidden = mobile.V3_LAST[name][1]
    first, last = Linear(tape, trunk.channels, hidden), Linear(tape, hidden, classes)
    return lambda x: last(ops.dropout(mobile.swish(first(pooled(trunk(x)))), 0.2))


def _mnasnet(tape: Tape, name: str, classes: int) -> Layer:
    return _mean_head(tape, (mobile.mnasnet(tape, name), 1280), classes, 0.2)


def _efficientnet(tape: Tape, name: str, classes: int) -> Layer:
    size = name.rpartition("_")[2]
    second = "_v2_" in name
    blocks = mobile.efficientnet_v2_blocks(size) if second else mobile.efficientnet_blocks(size)
    return _mean_head(tape, mobile.efficientnet(tape, blocks, 1280 if second else None), classes, 0.2)


def _regnet(tape: Tape, name: str, classes: int) -> Layer:
    return _mean_head(tape, regnet(tape, name), classes)


_MAKERS: Mapping[str, Callable[..., Layer]] = {
    **{name: _resnet for name in RESNETS if not name.startswith("se_") and name not in SMP_ONLY},
    **dict.fromkeys(DENSENETS, _densenet),
    **dict.fromkeys(VGGS, _vgg),
    "alexnet": _alexnet,
    "mobilenet_v2": _mobilenet_v2,
    **dict.fromkeys(mobile.V3_LAST, _mobilenet_v3),
    **dict.fromkeys(mobile.MNASNETS, _mnasnet),
    **{f"efficientnet_{size}": _efficientnet for size in mobile.EFFICIENTNETS},
    **{f"efficientnet_v2_{size}": _efficientnet for size in mobile.EFFICIENTNETS_V2},
    **dict.fromkeys(REGNETS, _regnet),
    **dict.fromkeys(CONVNEXTS, convnext),
    **dict.fromkeys(SWINS, swin),
    **dict.fromkeys(VITS, vit),
}

CLASSIFIERS = tuple(_MAKERS)
"""Names of the classifiers that are worked out here."""


@model("torchvision.Classifier")
class Classifier:
    """Cross-entropy of one label an image."""

    def __init__(self, build: Build, config: Config) -> None:
        self.tape = build.tape
        name = str(config["name"])
        image, classes = int(config.get("in_channels", 3)), int(config.get("classes", 1000))
        if image != 3 and name not in RESNETS:
            raise KeyError(f"in_channels of {name}")
        options = {} if image == 3 else {"image": image}
        self.network = _MAKERS[name](build.tape, name, classes, **options)

    def loss(self, images: Tensor) -> Tensor:
        labels = self.tape.new(images.shape[0], itemsize=8)
        return ops.cross_entropy(self.network(images), labels, reduced=True)


# --- segmentation ----------------------------------------------------------------------------------------------------


def _plain(x: Tensor) -> Tensor:
    return ops.relu(x)


def _unit(tape: Tape, a: int, b: int, kernel: int = 1, dilation: int = 1) -> Layer:
    padding = dilation * (kernel // 2)
    return chain(Conv(tape, a, b, kernel, 1, padding, dilation, bias=False), BatchNorm(tape, b), _plain)


class Aspp:
    """Parallel dilated convolutions and a pooled branch, joined."""

    def __init__(self, tape: Tape, inside: int, channels: int = 256) -> None:
        self.branches = [_unit(tape, inside, channels), *(_unit(tape, inside, channels, 3, d) for d in (12, 24, 36))]
        self.pooled = _unit(tape, inside, channels)
        self.project = _unit(tape, 5 * channels, channels)

    def __call__(self, x: Tensor) -> Tensor:
        found = [branch(x) for branch in self.branches]
        found.append(ops.resize(self.pooled(ops.adaptive_avg_pool(x, 1)), x.size))
        return ops.dropout(self.project(ops.concatenate(found)), 0.5)


def _fcn_head(tape: Tape, inside: int, classes: int) -> Layer:
    last_inside = inside // 4
    first = _unit(tape, inside, last_inside, 3)
    last = Conv(tape, last_inside, classes)
    return lambda x: last(ops.dropout(first(x), 0.1))


def _deeplab_head(tape: Tape, inside: int, classes: int) -> Layer:
    return chain(Aspp(tape, inside), _unit(tape, 256, 256, 3), Conv(tape, 256, classes))


SEGMENTORS = (
    "fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101", "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
)  # fmt: skip
_HEADS = {"fcn": _fcn_head, "deeplabv3": _deeplab_head}


@model("torchvision.Segmentor")
class Segmentor:
    """FCN, DeepLab v3 or LR-ASPP, cross-entropy a pixel of the main and the auxiliary classifier."""

    def __init__(self, build: Build, config: Config) -> None:
        self.tape = tape = build.tape
        name = str(config["name"])
        classes = int(config.get("classes", 21))
        kind, _, backbone = name.partition("_")
        self.small = backbone.startswith("mobilenet")
        if self.small:
            self.trunk = mobile.MobileNetV3(tape, backbone, dilated=True)
        else:
            self.stages = encoders.resnet(tape, backbone, (1, 1, 2, 4), whole=False).stages
        inside, auxiliary = (960, 40) if self.small else (2048, 1024)
        self.squeezed = LrAspp(tape, classes) if kind == "lraspp" else None
        if self.squeezed is None:
            self.head = _HEADS[kind](tape, inside, classes)
            self.auxiliary = _fcn_head(tape, auxiliary, classes)

    def _features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The map of the auxiliary classifier, and the last one."""
        if not self.small:
            for stage in self.stages[:4]:
                x = stage(x)
            return x, self.stages[4](x)
        layers = self.trunk.layers
        x = chain(*layers[:5])(x)
        return x, chain(*layers[5:])(x)

    def loss(self, images: Tensor) -> Tensor:
        labels = self.tape.new(images.shape[0], *images.size, itemsize=8)
        low, high = self._features(images)
        if self.squeezed is not None:
            return _entropy(self.squeezed(low, high), labels)
        main = ops.resize(self.head(high), images.size)
        other = ops.resize(self.auxiliary(low), images.size)
        return ops.add(_entropy(main, labels), ops.scaled(_entropy(other, labels)))


def _entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Resized logits against labels at the image's size."""
    if logits.size != labels.shape[1:]:
        logits = ops.resize(logits, labels.shape[1:])
    return ops.cross_entropy(logits, labels, reduced=True)


class LrAspp:
    """The lite head: a gated map beside a low one."""

    def __init__(self, tape: Tape, classes: int) -> None:
        self.main = chain(Conv(tape, 960, 128, bias=False), BatchNorm(tape, 128), relu)
        self.scale = chain(Conv(tape, 960, 128, bias=False), ops.sigmoid)
        self.low, self.high = Conv(tape, 40, classes), Conv(tape, 128, classes)

    def __call__(self, low: Tensor, high: Tensor) -> Tensor:
        x = self.main(high)
        x = ops.mul(x, self.scale(ops.adaptive_avg_pool(high, 1)))
        x = ops.resize(x, low.size)
        return ops.add(self.low(low), self.high(x))
