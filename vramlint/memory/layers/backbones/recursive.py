"""DetectoRS: a ResNet with switchable convolutions that looks twice. Source: mmdet 3.3.0 ``detectors_resnet.py``."""

from __future__ import annotations

from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.backbones.resnet import Bottleneck, ResNet, options_of
from vramlint.memory.layers.nn import Conv
from vramlint.memory.layers.registry import Build, Config, Maps, backbone
from vramlint.memory.layers.tape import Tensor


@backbone("DetectoRS_ResNet")
class RecursiveResNet(ResNet):
    """``again`` adds what a pyramid found to the first block of every stage but the first."""

    def __init__(self, build: Build, config: Config) -> None:
        sac = config.get("sac")
        if sac and config.get("dcn"):
            raise KeyError("dcn beside sac")
        if sac:
            config = {**config, "dcn": sac, "stage_with_dcn": config.get("stage_with_sac", (False,) * 4)}
        super().__init__(build, config, Bottleneck, options_of(config))
        self.with_images = bool(config.get("output_img", False))
        self.joins: list[Conv | None] = [None] * len(self.stages)
        width, frozen = config.get("rfp_inplanes"), int(config.get("frozen_stages", -1))
        for index in range(1, len(self.stages) if width else 0):
            planes = int(config.get("base_channels", 64)) * 2**index
            with build.tape.frozen(active=index < frozen):
                self.joins[index] = Conv(build.tape, int(width or 0), planes * Bottleneck.expansion)

    def __call__(self, x: Tensor) -> Maps:
        outs = super().__call__(x)
        return [x, *outs] if self.with_images else outs

    def again(self, images: Tensor, feats: Maps) -> Maps:
        """``rfp_forward``."""
        x = ops.max_pool(self.stem(images), 3, 2, 1)
        outs: Maps = []
        for index, (stage, join) in enumerate(zip(self.stages, self.joins, strict=True)):
            for number, block in enumerate(stage):
                x = self._inner(block, x)
                if number == 0 and join is not None:
                    x = ops.add(x, join(feats[index]))
                x = ops.relu(x, inplace=True)
            if index in self.out:
                outs.append(x)
        return outs

    def _inner(self, block: Any, x: Tensor) -> Tensor:
        if self.checkpointing and x.node is not None:
            return self.tape.checkpoint(block.inner, x)
        found: Tensor = block.inner(x)
        return found
