"""CenterNet's neck. Source: mmdet 3.3.0 ``necks/ct_resnet_neck.py``."""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import conv, norm
from vramlint.memory.layers.nn import Conv, Layer
from vramlint.memory.layers.registry import Build, Config, Maps, Neck, neck

BN: Config = {"type": "BN"}


@neck("CTResNetNeck")
def upsampling_neck(build: Build, config: Config) -> Neck:
    """Convolutions (deformable with ``use_dcn``) and transposed ones in turn over the last map."""
    tape = build.tape
    kind: Config | None = {"type": "DCNv2"} if config.get("use_dcn", True) else None
    inside = int(config["in_channels"])
    layers: list[tuple[Layer, Layer]] = []
    for width, kernel in zip(config["num_deconv_filters"], config["num_deconv_kernels"], strict=True):
        first = conv(tape, kind, inside, width, 3, 1, 1, bias=False)
        second = Conv(tape, width, width, int(kernel), 2, 1, bias=False, transposed=True)
        layers += [(first, norm(tape, BN, width)), (second, norm(tape, BN, width))]
        inside = width

    def run(maps: Maps) -> Maps:
        x = maps[-1]
        for layer, after in layers:
            x = ops.relu(after(layer(x)), inplace=True)
        return [x]

    return run
