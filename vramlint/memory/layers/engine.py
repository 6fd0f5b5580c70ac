"""The engine that runs a graph backward, and the nodes of checkpointed parts, which start it again.

Sources: torch 2.13 ``csrc/autograd/engine.cpp`` (order, release of saved tensors after a node has run),
``csrc/autograd/input_buffer.cpp`` (addition in place where the older gradient is held once).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from vramlint.memory.layers.graph import (
    Block,
    Edge,
    Gradient,
    Handed,
    Node,
    Output,
    Parameter,
    Tensor,
    block_of,
    dense_bytes,
    filled,
    hold,
    let_go,
    rounded,
    taken,
)

if TYPE_CHECKING:
    from vramlint.memory.layers.tape import Tape


def run_graph(tape: Tape, root: Edge) -> None:
    """The engine: nodes whose gradients are complete, the latest first.

    What uses an output was made after it, so the latest node that has not run yet is always complete. A parameter's
    gradient is kept as soon as the last node that uses it has run.
    """
    nodes = _reached(tape, root)
    del root
    complete: list[Parameter] = []
    while nodes:
        node = nodes.pop()
        handed = node.run(tape)  # before anything is added, what it kept and received is freed
        node.saved = node.edges = node.grads = ()
        for edge, gradient in handed:
            if gradient is not None:
                _add(tape, edge, gradient)
            if type(edge) is Parameter:
                edge.waiting -= 1
                if edge.waiting <= 0:  # below: a checkpointed part that used it too counted it anew
                    complete.append(edge)
        if tape.taken_bytes:
            tape.live -= tape.taken_bytes
            tape.gradients += tape.taken_elements
            tape.taken_bytes = tape.taken_elements = 0
        if complete:
            for parameter in complete:
                _keep(tape, parameter)
            complete.clear()


def _reached(tape: Tape, root: Edge) -> list[Node]:
    """The nodes behind ``root``, the latest last, and counted for every parameter the edges that lead to it."""
    tape.runs += 1
    run = tape.runs
    found: list[Node] = []
    _reach(root, run, found)
    for node in found:  # grows meanwhile
        for edge in node.edges:
            if edge is None:
                continue
            if edge.seen != run:
                _reach(edge, run, found)
            if type(edge) is Parameter:
                edge.waiting += 1
    found.sort(key=attrgetter("order"))
    return found


def _reach(edge: Edge, run: int, found: list[Node]) -> None:
    """Note where a gradient goes, once in a run."""
    edge.seen = run
    if type(edge) is Parameter:
        edge.waiting = 0
    elif type(edge) is Output:
        edge.node.outputs.append(edge)
        if edge.node.seen != run:
            _reach(edge.node, run, found)
    else:
        found.append(edge)


def _add(tape: Tape, edge: Edge, gradient: Gradient) -> None:
    """Puts a loose gradient into a buffer, adding it to what is there: in place where nobody else holds the older one.

    Before torch 2.0 the sum of two dense gradients was always a third tensor.
    """
    older = edge.buffer
    block = gradient if type(gradient) is Block else gradient.block
    block.loose -= 1
    if older is None:
        edge.buffer = gradient
        block.holders += 1
        return
    if not (type(older) is Block and older.holders == 1 and tape.stack.adds_gradients_in_place):
        sizes = [each.bytes for each in (older, gradient) if type(each) is Block]
        total = Block()
        total.bytes = rounded(tape, max(sizes, default=0) or min(dense_bytes(older), dense_bytes(gradient)))
        total.holders, total.loose = 1, 0
        tape.live += total.bytes
        tape.note()
        taken(edge)
        edge.buffer = total
        let_go(tape, older)
    if not (block.loose or block.holders):
        tape.live -= block.bytes


def _keep(tape: Tape, parameter: Parameter) -> None:
    """A parameter's ``.grad`` stays; a second one is added to the first and freed."""
    gradient = taken(parameter)
    if gradient is None:
        return
    if not (tape.gradients_kept or parameter.has_gradient):
        parameter.has_gradient = True
        block = block_of(gradient)
        tape.live -= block.bytes
        block.bytes = 0
        tape.gradients += parameter.elements
    let_go(tape, gradient)


class CheckpointNode(Node):
    """Runs its part of the forward pass again, now with a graph, and that graph's backward pass."""

    __slots__ = ("function", "inputs")

    def __init__(
        self,
        order: int,
        edges: Sequence[Edge | None],
        inputs: tuple[Tensor, ...],
        function: Callable[..., Tensor],
    ) -> None:
        filled(self, order, edges)
        self.inputs = inputs
        self.function = function

    def run(self, tape: Tape) -> Handed:
        received = taken(self)
        sinks, output = self._again(tape)
        root = output.node
        if root is not None:
            root.buffer = received
            # The original's arguments hold the gradient, and its output, until all of the inner graph has run.
            hold(received, 2)
            run_graph(tape, root)
            hold(received, -1)
        self.inputs = ()
        let_go(tape, received)
        return self._caught(sinks)

    def _again(self, tape: Tape) -> tuple[list[_Sink | None], Tensor]:
        """The forward pass, from inputs whose gradients end in sinks."""
        sinks = [_Sink() if edge is not None else None for edge in self.edges]
        inputs = [Tensor(x.shape, x.itemsize, x.storage, sink) for x, sink in zip(self.inputs, sinks, strict=True)]
        with tape.weight_casts():
            return sinks, self.function(*inputs)

    def _caught(self, sinks: list[_Sink | None]) -> Handed:
        pairs = zip(self.edges, sinks, strict=True)
        return [(edge, sink.result) for edge, sink in pairs if edge is not None and sink is not None]


class RecomputeNode(CheckpointNode):
    """The same without reentering the engine: nobody holds the incoming gradient or the output meanwhile."""

    __slots__ = ()

    def run(self, tape: Tape) -> Handed:
        received = taken(self)
        sinks, output = self._again(tape)
        root = output.node
        del output
        if root is not None:
            root.buffer = received
            hold(received, 1)
        let_go(tape, received)
        if root is not None:
            run_graph(tape, root)
        self.inputs = ()
        return self._caught(sinks)


class _Sink(Node):
    """Catches the gradient of a checkpointed part's input."""

    __slots__ = ("result",)

    def __init__(self) -> None:
        filled(self, -1, ())
        self.result: Gradient | None = None

    def run(self, tape: Tape) -> Handed:
        del tape
        self.result = taken(self)
        return []
