"""Recursive feature pyramid of DetectoRS. Source: mmdet 3.3.0 ``models/necks/rfp.py``."""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.recursive import RecursiveResNet
from vramlint.memory.layers.necks.pyramids import Pyramid
from vramlint.memory.layers.nn import Conv
from vramlint.memory.layers.registry import Build, Config, Maps, neck
from vramlint.memory.layers.tape import Tensor


@neck("RFP")
class RecursivePyramid:
    """The pyramid, a second backbone that is given it, the pyramid again, and a mix of both by predicted weights."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        self.pyramid = Pyramid(build, config)
        self.backbones: list[RecursiveResNet] = []
        for _ in range(1, int(config["rfp_steps"])):
            made = build.backbone(config["rfp_backbone"])
            if not isinstance(made, RecursiveResNet):
                raise KeyError("rfp_backbone")
            self.backbones.append(made)
        channels, width = int(config["out_channels"]), int(config["aspp_out_channels"])
        self.atrous = [
            Conv(tape, channels, width, 3 if dilation > 1 else 1, 1, dilation if dilation > 1 else 0, dilation)
            for dilation in config.get("aspp_dilations", (1, 3, 6, 1))
        ]
        self.weight = Conv(tape, channels, 1)

    def __call__(self, maps: Maps) -> Maps:
        images, *feats = maps
        x = self.pyramid(feats)
        for again in self.backbones:
            given = [x[0], *(self._pooled(each) for each in x[1:])]
            second = self.pyramid(again.again(images, given))
            mixed: Maps = []
            for new, old in zip(second, x, strict=True):
                weight = ops.sigmoid(self.weight(new))
                mixed.append(ops.add(ops.mul(weight, new), ops.mul(ops.shifted(weight), old)))
            x = mixed
        return x

    def _pooled(self, x: Tensor) -> Tensor:
        """ASPP: the last of its convolutions sees the mean of the map."""
        average = ops.adaptive_avg_pool(x, 1)
        *wide, last = self.atrous
        outs = [ops.relu(conv(x), inplace=True) for conv in wide]
        narrow = ops.relu(last(average), inplace=True)
        outs.append(self.tape.record(outs[-1].shape, narrow.itemsize, (narrow,), (narrow.bytes,), inplace=narrow))
        return ops.concatenate(outs)
