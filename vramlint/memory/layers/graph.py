"""Storages, tensors and the graph behind them, and the engine that runs it.

Sources: torch 2.13 ``csrc/autograd/engine.cpp`` (order, release of saved tensors after a node has run),
``csrc/autograd/input_buffer.cpp`` (addition in place where the older gradient is held once),
``c10/cuda/CUDACachingAllocator.cpp`` (blocks of 512 bytes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import prod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vramlint.memory.layers.tape import Tape

BLOCK_BYTES = 512

UNSPLIT_BYTES = 2**20
"""A cached block of the large pool is handed out whole where no more than this would be left of it, and counts whole
(torch 2.13 ``CUDACachingAllocator.cpp#should_split``, kSmallSize). Where sizes vary from step to step, half of that is
left over in the mean."""

SAME = 0
"""In ``grads``: the gradient is handed on as it is (addition, a view)."""
PART = -1
"""In ``grads``: a view of the gradient that is not dense (an expansion). A number below it says the view's own bytes
(``-bytes``, one part of a concatenation)."""


class Storage:
    """Bytes of one tensor, allocated while this object lives."""

    __slots__ = ("bytes", "holders", "tape")

    def __init__(self, tape: Tape, size: int) -> None:
        size = -(-size // BLOCK_BYTES) * BLOCK_BYTES
        if tape.varied and size > UNSPLIT_BYTES:
            size += UNSPLIT_BYTES // 2
        self.tape = tape
        self.bytes = size
        self.holders = 0
        tape.live += size
        if tape.live > tape.high or tape.live + 4 * tape.gradients > tape.high_with_gradients:
            tape.note()

    def __del__(self) -> None:
        self.tape.live -= self.bytes


class Tensor:
    """A feature map or any other activation: ``shape``, bytes an element, its storage, and the node that made it.

    Maps are (batch, channels, height, width), tokens (batch, length, channels). Changing :meth:`view` shares storage.
    """

    __slots__ = ("itemsize", "node", "shape", "slot", "storage")

    def __init__(
        self, shape: tuple[int, ...], itemsize: int, storage: Storage, node: Node | None = None, slot: int = 0
    ) -> None:
        self.shape = shape
        self.itemsize = itemsize
        self.storage = storage
        self.node = node
        self.slot = slot

    def view(self, *shape: int) -> Tensor:
        """The same elements under another shape (reshape, permute, transpose without a copy)."""
        return Tensor(shape, self.itemsize, self.storage, self.node, self.slot)

    def detach(self) -> Tensor:
        """The same storage without a graph behind it."""
        return Tensor(self.shape, self.itemsize, self.storage)

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return prod(self.shape) * self.itemsize

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.shape[-2], self.shape[-1]

    @property
    def channels(self) -> int:
        return self.shape[1]


class Parameter:
    """A weight of ``elements`` numbers, kept in fp32; ``node`` collects its gradient where it is trained."""

    __slots__ = ("elements", "node", "trainable")

    def __init__(self, elements: int, trainable: bool) -> None:
        self.elements = elements
        self.trainable = trainable
        self.node = _Leaf(self) if trainable else None


class Node:
    """One operation of the graph.

    ``edges`` lead to the nodes of its inputs, each with the slot of the output that was used; ``grads`` says for each
    edge what its gradient allocates: bytes, ``SAME`` or ``PART``. ``saved`` are storages kept until it has run.
    """

    __slots__ = ("buffers", "edges", "grads", "order", "saved", "transient", "waiting")

    def __init__(
        self,
        order: int,
        edges: list[tuple[Node, int] | None],
        grads: Sequence[int],
        saved: Sequence[Storage],
        transient: int = 0,
        slots: int = 1,
    ) -> None:
        self.order = order
        self.edges = edges
        self.grads = grads
        self.saved: Sequence[Storage] = saved
        self.transient = transient
        self.waiting = 0
        self.buffers: list[Gradient | None] = [None] * slots

    def run(self, tape: Tape, received: list[Gradient | None]) -> list[Gradient | None]:
        """The gradients for its edges; ``received`` holds one gradient an output."""
        transient = Storage(tape, self.transient) if self.transient else None
        first = received[0]
        results: list[Gradient | None] = []
        for edge, size in zip(self.edges, self.grads, strict=True):
            if edge is None:
                results.append(None)
            elif size > 0:
                results.append(Gradient(Storage(tape, size)))
            elif size == SAME:
                results.append(first)
            else:
                results.append(None if first is None else Gradient(first.storage, dense=False, own_bytes=max(0, -size)))
        del transient
        return results


class Gradient(NamedTuple):
    """A gradient on its way; a view with gaps is not ``dense`` and has ``own_bytes`` of its storage (0: not known)."""

    storage: Storage
    dense: bool = True
    own_bytes: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of a dense copy."""
        return self.own_bytes if self.own_bytes > 1 else self.storage.bytes


class _Leaf(Node):
    """Accumulates a parameter's gradient."""

    __slots__ = ("parameter",)

    def __init__(self, parameter: Parameter) -> None:
        super().__init__(1 << 60, [], (), ())
        self.parameter = parameter

    def run(self, tape: Tape, received: list[Gradient | None]) -> list[Gradient | None]:
        if received[0] is not None:
            tape.keep_gradient(self.parameter, received[0].storage)
        return []


class CheckpointNode(Node):
    """Runs its part of the forward pass again, now with a graph, and that graph's backward pass."""

    __slots__ = ("function", "inputs")

    def __init__(
        self,
        order: int,
        edges: list[tuple[Node, int] | None],
        inputs: tuple[Tensor, ...],
        function: Callable[..., Tensor],
    ) -> None:
        super().__init__(order, edges, (), ())
        self.inputs = inputs
        self.function = function

    def run(self, tape: Tape, received: list[Gradient | None]) -> list[Gradient | None]:
        sinks = [_Sink() if edge is not None else None for edge in self.edges]
        inputs = [Tensor(x.shape, x.itemsize, x.storage, sink) for x, sink in zip(self.inputs, sinks, strict=True)]
        with tape.weight_casts():
            output = self.function(*inputs)
        del inputs
        if output.node is not None:
            output.node.buffers[output.slot] = received[0]
            hold(received[0])
            hold(received[0])  # the original's arguments hold it, and its output, until all of the inner graph has run
            run_graph(tape, output.node)
            release(received[0])
        self.inputs = ()
        return [sink.result if sink is not None else None for sink in sinks]


class RecomputeNode(CheckpointNode):
    """The same without reentering the engine: nobody holds the incoming gradient or the output meanwhile."""

    __slots__ = ()

    def run(self, tape: Tape, received: list[Gradient | None]) -> list[Gradient | None]:
        sinks = [_Sink() if edge is not None else None for edge in self.edges]
        inputs = [Tensor(x.shape, x.itemsize, x.storage, sink) for x, sink in zip(self.inputs, sinks, strict=True)]
        with tape.weight_casts():
            output = self.function(*inputs)
        del inputs
        root = output.node
        if root is not None:
            root.buffers[output.slot] = received[0]
            hold(received[0])
            received[0] = None
            del output
            run_graph(tape, root)
        self.inputs = ()
        return [sink.result if sink is not None else None for sink in sinks]


class _Sink(Node):
    """Catches the gradient of a checkpointed part's input."""

    __slots__ = ("result",)

    def __init__(self) -> None:
        super().__init__(-1, [], (), ())
        self.result: Gradient | None = None

    def run(self, tape: Tape, received: list[Gradient | None]) -> list[Gradient | None]:
        del tape
        self.result = received[0]
        return []


def run_graph(tape: Tape, root: Node) -> None:
    """The engine: nodes whose gradients are complete, the latest first."""
    _count_waiting(root)
    ready: list[tuple[int, int, Node]] = [(-root.order, 0, root)]
    serial = 0
    del root
    while ready:
        node = heappop(ready)[2]
        received = node.buffers
        node.buffers = [None] * len(received)
        _release_all(received)  # no loop here: its variable would hold the last gradient
        results = node.run(tape, received)
        edges = node.edges
        node.saved, node.edges = (), []
        del received
        results.reverse()
        for edge in edges:
            result = results.pop()
            if edge is None:
                continue
            target, slot = edge
            if result is not None:
                _add(tape, target, slot, result)
            result = None
            target.waiting -= 1
            if target.waiting == 0:
                serial += 1
                heappush(ready, (-target.order, serial, target))
        del node, edges


def _add(tape: Tape, node: Node, slot: int, gradient: Gradient) -> None:
    """Puts a gradient into a buffer, adding it to what is there: in place where nobody else holds the older one.

    Before torch 2.0 the sum of two dense gradients was always a third tensor.
    """
    older = node.buffers[slot]
    if older is None:
        node.buffers[slot] = gradient
        gradient.storage.holders += 1
        return
    if older.dense and older.storage.holders == 1 and tape.stack.adds_gradients_in_place:
        return
    larger = max(older.storage.bytes if older.dense else 0, gradient.storage.bytes if gradient.dense else 0)
    total = Gradient(Storage(tape, larger or min(older.bytes, gradient.bytes)))
    release(older)
    node.buffers[slot] = total
    total.storage.holders += 1


def _count_waiting(root: Node) -> None:
    """Counts for every node the edges that lead to it from ``root`` on."""
    root.waiting = 0
    stack, seen = [root], {id(root)}
    while stack:
        for edge in stack.pop().edges:
            if edge is None:
                continue
            target = edge[0]
            if id(target) not in seen:
                seen.add(id(target))
                target.waiting = 0
                stack.append(target)
            target.waiting += 1


def _release_all(gradients: list[Gradient | None]) -> None:
    for each in gradients:
        release(each)


def hold(gradient: Gradient | None) -> None:
    """One more buffer refers to the gradient's storage."""
    if gradient is not None:
        gradient.storage.holders += 1


def release(gradient: Gradient | None) -> None:
    """One buffer fewer does."""
    if gradient is not None:
        gradient.storage.holders -= 1
