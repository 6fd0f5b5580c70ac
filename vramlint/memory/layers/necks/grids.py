"""Feature Pyramid Grids: pathways side by side, joined by convolutions along, across and between their levels.

Source: mmdet 3.3.0 ``models/necks/fpg.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.bricks import RELU, activation, norm
from vramlint.memory.layers.nn import Conv, chain
from vramlint.memory.layers.registry import Build, Config, Maps, neck
from vramlint.memory.layers.tape import Tape, Tensor

Transition = Callable[[Tensor], Tensor]

SAME_UP: Config = {"type": "conv", "kernel_size": 3, "stride": 2, "padding": 1}
LATERAL: Config = {"type": "conv", "kernel_size": 1}
DOWN: Config = {"type": "conv", "kernel_size": 3}
SKIP: Config = {"type": "identity"}
OUTPUT: Config = {"type": "last_conv", "kernel_size": 3}


def transition(tape: Tape, config: Config, inside: int, channels: int) -> Transition:
    """``build_trans``: a ConvModule in its own order, after a resize for ``interpolation_conv``. KeyError else."""
    kind = str(config["type"])
    if kind not in ("conv", "interpolation_conv", "last_conv"):
        raise KeyError(kind)
    kernel = int(config.get("kernel_size", 3))
    padding = int(config.get("padding", 0)) if kind == "conv" else (kernel - 1) // 2
    norm_cfg = config.get("norm_cfg")
    order = tuple(config.get("order", ("conv", "norm", "act")))
    conv = Conv(tape, inside, channels, kernel, int(config.get("stride", 1)), padding, bias=norm_cfg is None)
    width = channels if order.index("conv") < order.index("norm") else inside
    layers: dict[str, Transition] = {
        "conv": conv,
        "act": activation(config.get("act_cfg", RELU), inplace=bool(config.get("inplace", True))),
    }
    if norm_cfg is not None:
        layers["norm"] = norm(tape, norm_cfg, width)
    run = chain(*(layers[name] for name in order if name in layers))
    if kind != "interpolation_conv":
        return run
    factor = int(config.get("scale_factor", 2))
    return lambda x: run(ops.enlarged(x, factor))


class _Place:
    """What leads to one level of one pathway."""

    def __init__(self, tape: Tape, config: Config, widths: Sequence[int], level: int) -> None:
        self.level, self.last = level, len(widths) - 1
        own = widths[level]
        below, above = widths[level - 1], widths[min(level + 1, self.last)]

        def made(key: str, default: Config | None, inside: int) -> Transition | None:
            chosen = config.get(key, default)
            return None if chosen is None else transition(tape, chosen, inside, own)

        self.same_up = made("same_up_trans", SAME_UP, below) if level > 0 else None
        self.same_down = made("same_down_trans", None, above) if level < self.last else None
        self.lateral = made("across_lateral_trans", LATERAL, own)
        self.down = made("across_down_trans", DOWN, above) if level < self.last else None
        self.up = made("across_up_trans", None, below) if level > 0 else None
        self.skip = made("across_skip_trans", SKIP, below)

    def __call__(self, before: Maps, first: Maps, neighbour: Tensor | None, *, upwards: bool) -> Tensor:
        along = self.same_up if upwards else self.same_down
        parts: Maps = []
        if along is not None and neighbour is not None:
            parts.append(along(neighbour))
        if self.lateral is not None:
            parts.append(self.lateral(before[self.level]))
        if self.up is not None:
            parts.append(self.up(before[self.level - 1]))
        if self.down is not None:
            parts.append(self.down(before[self.level + 1]))
        if self.skip is not None:
            parts.append(self.skip(first[self.level]))
        total = parts[0]
        for each in parts[1:]:
            total = ops.add(total, each)
        return total


@neck("FPG")
class PyramidGrid:
    """``stack_times`` pathways over the same levels; the output comes from the last one."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = build.tape
        inside, count = list(config["in_channels"]), int(config["num_outs"])
        given = config.get("inter_channels")
        channels = int(config["out_channels"])
        widths = [channels if given is None else int(given)] * count if not isinstance(given, Sequence) else list(given)
        self.first = int(config.get("start_level", 0))
        end = int(config.get("end_level", -1))
        stop = len(inside) if end in (-1, len(inside) - 1) else end + 1
        self.laterals = [Conv(tape, inside[i], widths[i - self.first]) for i in range(self.first, stop)]
        self.extra: list[Transition] = []
        for level in range(len(self.laterals), count):
            if config.get("add_extra_convs", False):
                self.extra.append(Conv(tape, widths[level - 1], widths[level], 3, 2, 1))
            else:
                self.extra.append(lambda x: ops.max_pool(x, 1, 2))
        self.upwards = [direction == "bu" for direction in config["paths"]]
        skipped = config["skip_inds"]
        self.paths = [
            [None if path in skipped[level] else _Place(tape, config, widths, level) for level in range(count)]
            for path in range(int(config["stack_times"]))
        ]
        self.outs = [transition(tape, config.get("output_trans", OUTPUT), width, channels) for width in widths]

    def __call__(self, maps: Maps) -> Maps:
        feats = [conv(maps[self.first + i]) for i, conv in enumerate(self.laterals)]
        for smaller in self.extra:
            feats.append(smaller(feats[-1]))
        pathways = [feats]
        for places, upwards in zip(self.paths, self.upwards, strict=True):
            before = pathways[-1]
            found: Maps = []
            for turn in range(len(places)):
                # mmdet skips the level ``turn`` in either direction.
                place = places[turn if upwards else len(places) - 1 - turn]
                if place is None:
                    found.append(before[turn])
                else:
                    found.append(place(before, feats, found[-1] if found else None, upwards=upwards))
            pathways.append(found if upwards else found[::-1])
        return [out(x) for out, x in zip(self.outs, pathways[-1], strict=True)]
