"""Non-local blocks over maps of two or three dimensions. Source: mmcv 2.1.0 ``cnn/bricks/non_local.py``."""

from __future__ import annotations

from math import prod

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import ConvModule
from vramlint.memory.layers.nn import Conv
from vramlint.memory.layers.registry import Config
from vramlint.memory.layers.tape import Tape, Tensor


class NonLocal:
    """Every place attends to every other one; ``sub_sample`` pools keys and values by two along height and width."""

    def __init__(self, tape: Tape, channels: int, config: Config, *, dims: int = 2) -> None:
        self.inner = max(1, channels // int(config.get("reduction", 2)))
        self.mode = str(config.get("mode", "embedded_gaussian"))
        self.scaled = bool(config.get("use_scale", True))
        self.pooling = bool(config.get("sub_sample", False))
        self.window = (1, 2, 2) if dims == 3 else (2, 2)
        self.g = Conv(tape, channels, self.inner, dims=dims)
        kind: Config = {"type": f"Conv{dims}d"}
        norm_cfg = config.get("norm_cfg")
        self.out = ConvModule(tape, self.inner, channels, 1, norm_cfg=norm_cfg, conv_cfg=kind, dims=dims)
        paired = self.mode != "gaussian"
        self.theta = Conv(tape, channels, self.inner, dims=dims) if paired else None
        self.phi = Conv(tape, channels, self.inner, dims=dims) if paired else None

    def _pooled(self, x: Tensor) -> Tensor:
        return ops.max_pool(x, self.window) if self.pooling else x

    def __call__(self, x: Tensor) -> Tensor:
        batch, places = x.shape[0], prod(x.shape[2:])
        values = self._pooled(self.g(x))
        queries = x if self.theta is None else self.theta(x)
        keys = self._pooled(x if self.phi is None else self.phi(x))
        others = prod(keys.shape[2:])
        weights = ops.matmul(queries, keys, (batch, places, others))
        if self.mode == "dot_product":
            weights = ops.scaled(weights, inplace=True)
        else:
            weights = ops.scaled(weights, inplace=True) if self.scaled else weights
            weights = ops.softmax(weights)
        found = ops.matmul(weights, values, (batch, places, self.inner))
        return ops.add(x, self.out(ops.copy(found, (batch, self.inner, *x.shape[2:]))))
