"""Storages, tensors and the graph behind them; ``engine`` runs it.

Source: torch 2.13 ``c10/cuda/CUDACachingAllocator.cpp`` (blocks of 512 bytes).

A step is thousands of these objects, and making them is most of an estimate: in the hot places classes without
``__init__`` are filled field by field, which takes two thirds of the time of a call with arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, TypeVar, final

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
    """Bytes of one tensor, allocated while this object lives; :func:`stored` makes them."""

    __slots__ = ("bytes", "tape")
    bytes: int
    tape: Tape

    def __del__(self) -> None:
        self.tape.live -= self.bytes


def rounded(tape: Tape, size: int) -> int:
    """Bytes that the allocator takes for ``size`` bytes."""
    size = -(-size // BLOCK_BYTES) * BLOCK_BYTES
    return size + UNSPLIT_BYTES // 2 if tape.varied and size > UNSPLIT_BYTES else size


def stored(tape: Tape, size: int) -> Storage:
    """A storage of ``size`` bytes, as large as the allocator makes it."""
    made = Storage()
    made.tape = tape
    made.bytes = size = rounded(tape, size)
    live = tape.live = tape.live + size
    if live > tape.high or live + 4 * tape.gradients > tape.high_with_gradients:
        tape.note()
    return made


@final
class Tensor:
    """A feature map or any other activation: ``shape``, bytes an element and of all, its storage, the node it is from.

    Maps are (batch, channels, height, width), tokens (batch, length, channels). Changing :meth:`view` shares storage.
    """

    __slots__ = ("bytes", "itemsize", "node", "shape", "storage")

    def __init__(self, shape: tuple[int, ...], itemsize: int, storage: Storage, node: Edge | None = None) -> None:
        self.shape = shape
        self.itemsize = itemsize
        self.bytes = prod(shape) * itemsize
        self.storage = storage
        self.node = node

    def view(self, *shape: int) -> Tensor:
        """The same elements under another shape (reshape, permute, transpose without a copy)."""
        return Tensor(shape, self.itemsize, self.storage, self.node)

    def detach(self) -> Tensor:
        """The same storage without a graph behind it."""
        return Tensor(self.shape, self.itemsize, self.storage)

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.shape[-2], self.shape[-1]

    @property
    def channels(self) -> int:
        return self.shape[1]


def tensor(shape: tuple[int, ...], itemsize: int, size: int, storage: Storage, node: Edge | None = None) -> Tensor:
    """``Tensor(shape, itemsize, storage, node)`` of ``size`` bytes, where they are known already."""
    made = _new_tensor(Tensor)
    made.shape = shape
    made.itemsize = itemsize
    made.bytes = size
    made.storage = storage
    made.node = node
    return made


_new_tensor = Tensor.__new__


@final
class Block:
    """Bytes of a gradient on its way.

    They are freed once no buffer of a node refers to them (``holders``) and no node that runs does (``loose``).
    """

    __slots__ = ("bytes", "holders", "loose")
    bytes: int
    holders: int
    loose: int


@final
class Gap:
    """A gradient that is a view with gaps of a block; ``own_bytes``: of a dense copy, 1 where not known."""

    __slots__ = ("block", "own_bytes")

    def __init__(self, block: Block, own_bytes: int) -> None:
        self.block = block
        self.own_bytes = own_bytes


Gradient = Block | Gap


@final
class Parameter:
    """A weight of ``elements`` numbers, kept in fp32. Where it is trained, its gradient comes together here."""

    __slots__ = ("buffer", "elements", "has_gradient", "seen", "trainable", "waiting")

    def __init__(self, elements: int, trainable: bool) -> None:
        self.elements = elements
        self.trainable = trainable
        self.has_gradient = False
        self.buffer: Gradient | None = None
        self.waiting = self.seen = 0

    @property
    def node(self) -> Parameter | None:
        """Where its gradient goes."""
        return self if self.trainable else None


@final
class Output:
    """One of several outputs of a node, with the buffer of its gradient."""

    __slots__ = ("buffer", "index", "node", "seen")

    def __init__(self, node: SplitNode, index: int) -> None:
        self.node = node
        self.index = index
        self.buffer: Gradient | None = None
        self.seen = 0


class Node:
    """One operation of the graph; :func:`operation` makes them.

    ``edges`` lead to what its inputs come from; ``grads`` says for each edge what its gradient allocates: bytes,
    ``SAME`` or ``PART``. ``saved`` are storages kept until it has run. The gradient of its output comes together in
    ``buffer``. ``seen``: the number of the engine's run that reached it last.
    """

    __slots__ = ("buffer", "edges", "grads", "order", "saved", "seen", "transient")
    buffer: Gradient | None
    edges: Sequence[Edge | None]
    grads: Sequence[int]
    order: int
    saved: Sequence[Storage]
    seen: int
    transient: int

    def run(self, tape: Tape) -> Handed:
        """What goes to its edges: gradients held as loose."""
        received = self.buffer
        if received is None:
            return handed(tape, self, None)
        self.buffer = None
        block = received if type(received) is Block else received.block
        block.holders -= 1
        block.loose += 1
        found = handed(tape, self, received)
        block.loose -= 1
        if not (block.loose or block.holders):
            tape.live -= block.bytes
        return found


def operation(
    order: int, edges: Sequence[Edge | None], grads: Sequence[int], saved: Sequence[Storage], transient: int = 0
) -> Node:
    """A node of one output."""
    return filled(Node(), order, edges, grads, saved, transient)


def filled(
    node: AnyNode,
    order: int,
    edges: Sequence[Edge | None],
    grads: Sequence[int] = (),
    saved: Sequence[Storage] = (),
    transient: int = 0,
) -> AnyNode:
    """The node with its fields set."""
    node.order = order
    node.edges = edges
    node.grads = grads
    node.saved = saved
    node.transient = transient
    node.buffer = None
    node.seen = 0
    return node


class SplitNode(Node):
    """An operation of several outputs. ``outputs`` are those that a run of the engine has reached."""

    __slots__ = ("outputs",)

    def __init__(self, order: int, source: Edge, size: int) -> None:
        filled(self, order, (source,), (size,))
        self.outputs: list[Output] = []

    def run(self, tape: Tape) -> Handed:
        outputs, self.outputs = self.outputs, []
        received = [(output.index, taken(output)) for output in outputs]
        first = next((gradient for index, gradient in received if index == 0), None)
        found = handed(tape, self, first)
        for _, gradient in received:
            let_go(tape, gradient)
        return found


Edge = Node | Output | Parameter
"""What a tensor comes from, and where its gradient goes."""
Handed = list[tuple[Edge, Gradient | None]]
"""What a node hands on; nothing to a parameter that has taken its gradient already."""
AnyNode = TypeVar("AnyNode", bound=Node)


def handed(tape: Tape, node: Node, received: Gradient | None) -> Handed:
    """The gradients that a node makes for its edges, each held as loose.

    Where a parameter is used by this node alone there is nothing to add: its gradient is counted in the tape's
    ``taken_bytes`` and ``taken_elements``, which hold once the node has handed on the others.
    """
    scratch = rounded(tape, node.transient) if node.transient else 0
    live = tape.live + scratch
    varied = tape.varied
    found: Handed = []
    for edge, size in zip(node.edges, node.grads, strict=True):
        if edge is None:
            continue
        if size > 0:
            size = rounded(tape, size) if varied else -(-size // BLOCK_BYTES) * BLOCK_BYTES
            live += size
            if type(edge) is Parameter and edge.waiting == 1 and edge.buffer is None:
                tape.taken_bytes += size
                if not (edge.has_gradient or tape.gradients_kept):
                    edge.has_gradient = True
                    tape.taken_elements += edge.elements
            else:
                block = Block()
                block.bytes = size
                block.holders = 0
                block.loose = 1
                found.append((edge, block))
        elif received is None:
            found.append((edge, None))
        else:
            block = received if type(received) is Block else received.block
            block.loose += 1
            found.append((edge, received if size == SAME else Gap(block, -size)))
    tape.live = live
    if live > tape.high or live + 4 * tape.gradients > tape.high_with_gradients:
        tape.note()
    tape.live -= scratch
    return found


def block_of(gradient: Gradient) -> Block:
    """The bytes that a gradient is in."""
    return gradient if type(gradient) is Block else gradient.block


def dense_bytes(gradient: Gradient) -> int:
    """Bytes of a dense copy."""
    if type(gradient) is Block:
        return gradient.bytes
    return gradient.own_bytes if gradient.own_bytes > 1 else gradient.block.bytes


def taken(source: Edge) -> Gradient | None:
    """A gradient out of its buffer, held as loose."""
    found = source.buffer
    source.buffer = None
    hold(found, -1)
    if found is not None:
        block_of(found).loose += 1
    return found


def hold(gradient: Gradient | None, count: int) -> None:
    """So many more buffers refer to the gradient."""
    if gradient is not None:
        block_of(gradient).holders += count


def let_go(tape: Tape, gradient: Gradient | None) -> None:
    """A loose gradient is dropped, which frees it where nobody else has it."""
    if gradient is None:
        return
    block = block_of(gradient)
    block.loose -= 1
    if not (block.loose or block.holders):
        tape.live -= block.bytes
