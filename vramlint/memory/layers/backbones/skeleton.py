"""Graph convolutions over the joints of people: ST-GCN, ST-GCN++, AGCN; their recognizer and head.

Source: mmaction2 1.2.0 ``models/backbones/{stgcn,aagcn}.py``, ``models/utils/{gcn_utils,graph}.py``,
``models/heads/gcn_head.py``. Maps are (people of the batch, channels, frames, joints); the batch comes as
(samples, any, frames, joints).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.heads.detection.common import row_entropy
from vramlint.memory.layers.nn import BatchNorm, Conv, Layer, Linear, chain
from vramlint.memory.layers.registry import Build, Config, UnknownType, backbone, model
from vramlint.memory.layers.tape import Parameter, Tape, Tensor

JOINTS = {"coco": 17, "nturgb+d": 25, "openpose": 18}
"""Joints by the graph's ``layout``."""
_SUBSETS = {"stgcn_spatial": 3, "spatial": 3, "binary_adj": 1}
PEOPLE = 2
"""``num_person`` of ``FormatGCNInput`` and of the backbones by default."""
_BRANCHES: Sequence[Any] = ((3, 1), (3, 2), (3, 3), (3, 4), ("max", 3), "1x1")


def _by_graph(x: Tensor, table: Parameter | None, shape: tuple[int, ...], *, copies: bool) -> Tensor:
    """A product over joints with the adjacency matrices, which einsum makes of a sorted copy where it sums subsets."""
    tape = x.storage.tape
    x = ops.copy(tape.lowered(x)) if copies else tape.lowered(x)
    if table is None:
        return tape.record(shape, x.itemsize, (x,), (x.bytes,))
    return tape.record(shape, x.itemsize, (x, table), (x.bytes, 4 * table.elements), (x,))


class _Graph:
    """``unit_gcn``: a convolution for every subset of edges before the product, or after it."""

    def __init__(self, tape: Tape, inside: int, channels: int, graph: tuple[int, int], config: Config) -> None:
        self.subsets, joints = graph
        self.channels, self.after = channels, config.get("conv_pos", "pre") == "post"
        adapts = config.get("adaptive", "importance")
        self.table = tape.parameter(self.subsets * joints * joints) if adapts else None
        self.norm = BatchNorm(tape, channels)
        self.conv = (
            Conv(tape, self.subsets * inside, channels) if self.after else Conv(tape, inside, self.subsets * channels)
        )
        kept = bool(config.get("with_res", False))
        self.down = (
            chain(Conv(tape, inside, channels), BatchNorm(tape, channels)) if kept and inside != channels else None
        )
        self.adds = kept

    def __call__(self, x: Tensor) -> Tensor:
        batch, inside, frames, joints = x.shape
        rest = None if not self.adds else x if self.down is None else self.down(x)
        if self.after:
            found = _by_graph(x, self.table, (batch, self.subsets * inside, frames, joints), copies=False)
            found = self.conv(ops.copy(found))
        else:
            found = _by_graph(self.conv(x), self.table, (batch, self.channels, frames, joints), copies=True)
        found = self.norm(found)
        return ops.relu(ops.shifted(found) if rest is None else ops.add(found, rest))


class _AdaptiveGraph:
    """``unit_aagcn``: edges learnt and worked out of the input for every subset; attention where it is on."""

    def __init__(self, tape: Tape, inside: int, channels: int, graph: tuple[int, int], config: Config) -> None:
        self.tape = tape
        subsets, joints = graph
        self.convs = [Conv(tape, inside, channels) for _ in range(subsets)]
        self.inner = channels // int(config.get("coff_embedding", 4))
        self.adapts = bool(config.get("adaptive", True))
        self.table = tape.parameter(subsets * joints * joints) if self.adapts else None
        self.alpha = tape.parameter(1) if self.adapts else None
        count = subsets if self.adapts else 0
        self.pairs = [(Conv(tape, inside, self.inner), Conv(tape, inside, self.inner)) for _ in range(count)]
        self.attends = bool(config.get("attention", True))
        if self.attends:
            odd = joints if joints % 2 else joints - 1
            self.time = Conv(tape, channels, 1, 9, 1, 4, dims=1)
            self.space = Conv(tape, channels, 1, odd, 1, (odd - 1) // 2, dims=1)
            self.squeeze, self.excite = Linear(tape, channels, channels // 2), Linear(tape, channels // 2, channels)
        self.down = chain(Conv(tape, inside, channels), BatchNorm(tape, channels)) if inside != channels else None
        self.norm = BatchNorm(tape, channels)

    def __call__(self, x: Tensor) -> Tensor:
        batch, _, _, joints = x.shape
        total: Tensor | None = None
        for index, conv in enumerate(self.convs):
            if self.adapts:
                first, second = self.pairs[index]
                left = ops.copy(first(x))
                square = ops.matmul(left, second(x), (batch, joints, joints))
                edges = ops.add(ops.scaled(ops.keeps_result(ops.scaled(square))), self.tape.new(1, joints, joints))
                mixed = ops.matmul(x, edges, x.shape)
                del left, square, edges
            else:
                mixed = self.tape.record(x.shape, x.itemsize, (x,), (x.bytes,))
            here = conv(mixed)
            del mixed
            total = here if total is None else ops.add(here, total)
        assert total is not None
        y = ops.relu(ops.add(self.norm(total), x if self.down is None else self.down(x)), inplace=True)
        del total
        return self._attended(y) if self.attends else y

    def _attended(self, y: Tensor) -> Tensor:
        batch, channels, frames, joints = y.shape
        in_space = ops.sigmoid(self.space(ops.mean(y, (batch, channels, joints))))
        y = ops.add(ops.mul(y, in_space.view(batch, 1, 1, joints)), y)
        in_time = ops.sigmoid(self.time(ops.mean(y, (batch, channels, frames))))
        y = ops.add(ops.mul(y, in_time.view(batch, 1, frames, 1)), y)
        pooled = ops.mean(ops.mean(y, (batch, channels, frames)), (batch, channels))
        weight = ops.sigmoid(self.excite(ops.relu(self.squeeze(pooled), inplace=True)))
        return ops.add(ops.mul(y, weight.view(batch, channels, 1, 1)), y)


def _in_time(tape: Tape, inside: int, channels: int, kernel: int, stride: int, dilation: int = 1) -> Conv:
    return Conv(tape, inside, channels, (kernel, 1), (stride, 1), (dilation * (kernel - 1) // 2, 0), (dilation, 1))


class _Temporal:
    """``unit_tcn``: a convolution over nine frames and its norm."""

    def __init__(self, tape: Tape, inside: int, channels: int, kernel: int, stride: int, drop: float = 0.0) -> None:
        self.conv, self.norm = _in_time(tape, inside, channels, kernel, stride), BatchNorm(tape, channels)
        self.drop = drop

    def __call__(self, x: Tensor) -> Tensor:
        return ops.dropout(self.norm(self.conv(x)), self.drop)


class _Several:
    """``mstcn``: six branches of different reach, joined, normed and mixed."""

    def __init__(self, tape: Tape, channels: int, stride: int, config: Config) -> None:
        branches = config.get("ms_cfg") or _BRANCHES
        each = channels // len(branches)
        self.branches: list[Layer] = []
        for index, kind in enumerate(branches):
            width = channels - each * (len(branches) - 1) if index == 0 else each
            if kind == "1x1":
                self.branches.append(Conv(tape, channels, width, 1, (stride, 1)))
                continue
            before: list[Layer] = [Conv(tape, channels, width), BatchNorm(tape, width), ops.relu]
            reach = int(kind[1])
            if kind[0] == "max":
                self.branches.append(chain(*before, lambda x: ops.max_pool(x, (3, 1), (stride, 1), (1, 0))))
            else:
                self.branches.append(chain(*before, _in_time(tape, width, width, int(kind[0]), stride, reach)))
        self.mix = chain(BatchNorm(tape, channels), ops.relu, Conv(tape, channels, channels))
        self.norm, self.drop = BatchNorm(tape, channels), float(config.get("dropout", 0.0))

    def __call__(self, x: Tensor) -> Tensor:
        found = [branch(x) for branch in self.branches]
        joined = ops.concatenate(found)
        del found
        return ops.dropout(self.norm(self.mix(joined)), self.drop)


class _Block:
    def __init__(
        self, tape: Tape, inside: int, channels: int, stride: int, make: Callable[[int, int], Layer], config: Config, *,
        first: bool,
    ) -> None:  # fmt: skip
        self.graph = make(inside, channels)
        timing = {key[4:]: value for key, value in config.items() if key.startswith("tcn_")}
        several = timing.get("type", "unit_tcn") == "mstcn"
        drop = 0.0 if first else float(timing.get("dropout", 0.0))
        self.time: Layer = (
            _Several(tape, channels, stride, {**timing, "dropout": drop})
            if several
            else _Temporal(tape, channels, channels, 9, stride, drop)
        )
        self.first = first
        plain = inside == channels and stride == 1
        self.rest = None if first or plain else _Temporal(tape, inside, channels, 1, stride)

    def __call__(self, x: Tensor) -> Tensor:
        found = self.time(self.graph(x))
        if self.first:
            return ops.relu(ops.shifted(found))
        return ops.relu(ops.add(found, x if self.rest is None else self.rest(x)))


@backbone("STGCN", "AAGCN")
class GraphNetwork:
    """A norm of the data, ten blocks; channels double and frames halve at two of them."""

    def __init__(self, build: Build, config: Config) -> None:
        tape = self.tape = build.tape
        graph = config["graph_cfg"]
        if "mode" not in graph or str(graph.get("layout")) not in JOINTS:
            raise UnknownType(f"the graph {graph.get('layout')!r} of mmaction2 0.x or of your own")
        joints, subsets = JOINTS[str(graph["layout"])], _SUBSETS[str(graph["mode"])]
        adaptive = str(config["type"]).endswith("AAGCN")
        self.channels, self.joints = int(config.get("in_channels", 3)), joints
        self.people = int(config.get("num_person", PEOPLE))
        joined = config.get("data_bn_type", "MVC" if adaptive else "VC") == "MVC"
        self.norm = BatchNorm(tape, (self.people if joined else 1) * self.channels * joints)
        own = {key[4:]: value for key, value in config.items() if key.startswith("gcn_")}

        def make(inside: int, channels: int) -> Layer:
            kind = _AdaptiveGraph if adaptive else _Graph
            return kind(tape, inside, channels, (subsets, joints), own)

        width, ratio = int(config.get("base_channels", 64)), int(config.get("ch_ratio", 2))
        grows, strided = config.get("inflate_stages", (5, 8)), config.get("down_stages", (5, 8))
        self.blocks = [_Block(tape, self.channels, width, 1, make, config, first=True)]
        for number in range(2, int(config.get("num_stages", 10)) + 1):
            inside, width = width, width * (ratio if number in grows else 1)
            self.blocks.append(_Block(tape, inside, width, 2 if number in strided else 1, make, config, first=False))

    def __call__(self, x: Tensor) -> Tensor:
        samples, _, frames, joints = x.shape
        if joints != self.joints:
            raise UnknownType(f"{joints} joints, the graph has {self.joints}")
        count = samples * self.people
        raw = self.tape.new(count, joints * self.channels, frames)
        normed = self.norm(ops.copy(raw))
        x = ops.copy(normed, (count, self.channels, frames, joints))
        del raw, normed
        for block in self.blocks:
            x = block(x)
        return x


@model("RecognizerGCN")
class GraphRecognizer:
    """A network of graphs, the mean over people, frames and joints, one linear layer."""

    counts_objects = False

    def __init__(self, build: Build, config: Config) -> None:
        head: Mapping[str, Any] = config["cls_head"]
        if str(head["type"]).rpartition(".")[2] != "GCNHead":
            raise UnknownType(f"head {head['type']!r}")
        made: Any = build.backbone(config["backbone"])
        self.backbone: GraphNetwork = made
        self.linear = Linear(build.tape, int(head["in_channels"]), int(head["num_classes"]))
        self.rate = float(head.get("dropout", 0.0))

    def loss(self, images: Tensor) -> Tensor:
        x = self.backbone(images)
        rows = ops.mean(ops.adaptive_avg_pool(x, 1), (images.shape[0], x.shape[1]))
        return ops.total(row_entropy(self.linear(ops.dropout(rows, self.rate))))
