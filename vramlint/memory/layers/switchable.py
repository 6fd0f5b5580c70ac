"""Switchable atrous convolution of DetectoRS. Source: mmcv 2.1.0 ``ops/saconv.py``, ``cnn/bricks/conv_ws.py``."""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.nn import Conv, DeformConv, standardised
from vramlint.memory.layers.tape import SAME, Parameter, Tape, Tensor

WIDER = 3
"""Dilation of the second convolution, in those of the first."""


class SwitchableConv:
    """Two convolutions, of a weight and of that weight plus a learnt difference, mixed by a predicted map."""

    def __init__(
        self,
        tape: Tape,
        inside: int,
        channels: int,
        kernel: int,
        stride: int,
        padding: int,
        dilation: int,
        *,
        deformable: bool,
    ) -> None:
        self.tape, self.deformable = tape, deformable
        self.switch = Conv(tape, inside, 1, 1, stride)
        self.before, self.after = Conv(tape, inside, inside), Conv(tape, channels, channels)
        self.near = self._conv(inside, channels, kernel, stride, padding, dilation)
        self.far = self._conv(inside, channels, kernel, stride, WIDER * padding, WIDER * dilation)
        count = 2 if deformable else 0
        self.offsets = [Conv(tape, inside, 18, 3, stride, 1) for _ in range(count)]

    def _conv(
        self, inside: int, channels: int, kernel: int, stride: int, padding: int, dilation: int
    ) -> Conv | DeformConv:
        """One of the two, whose weight is either the layer's own or the difference; they are of one size."""
        if not self.deformable:
            return Conv(self.tape, inside, channels, kernel, stride, padding, dilation, bias=False)
        return DeformConv(self.tape, inside, channels, kernel, stride, padding, dilation, own_offsets=False)

    def __call__(self, x: Tensor) -> Tensor:
        x = _with_context(self.before, x)
        # A reflected border of two pixels, then a mean over 5x5; the reflection keeps its input.
        batch, channels, height, width = x.shape
        bordered = self.tape.record((batch, channels, height + 4, width + 4), x.itemsize, (x,), (x.bytes,), (x,))
        average = ops.avg_pool(bordered, 5, 1)
        del bordered
        switch = self.switch(average)
        weights = standardised(self.tape, self._weight(self.near))
        near = self._run(self.near, x, average, 0)
        far = self._run(self.far, x, average, 1)
        # Both weights in use stay with the convolutions: the standardised one, and its sum with the difference.
        far = self.tape.record(far.shape, far.itemsize, (far, weights), (SAME, SAME), (weights,), inplace=far,
                               extra_saved_bytes=weights.bytes)  # fmt: skip
        out = ops.add(ops.mul(switch, near), ops.mul(ops.shifted(switch), far))
        del near, far, weights
        return _with_context(self.after, out)

    @staticmethod
    def _weight(conv: Conv | DeformConv) -> Parameter:
        return conv.weight if isinstance(conv, Conv) else conv.plain.weight

    def _run(self, conv: Conv | DeformConv, x: Tensor, average: Tensor, index: int) -> Tensor:
        return conv(x) if isinstance(conv, Conv) else conv(x, self.offsets[index](average))


def _with_context(conv: Conv, x: Tensor) -> Tensor:
    """The map plus a transformed mean of it."""
    return ops.add(x, conv(ops.adaptive_avg_pool(x, 1)))
