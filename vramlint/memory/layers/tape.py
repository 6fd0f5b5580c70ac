"""The tape: tensors without data, and what autograd keeps, frees and allocates while one training step runs over them.

A :class:`Storage` counts as allocated for as long as a Python object refers to it, as in torch: so a builder written in
the order of the original's ``forward`` frees what the original frees, at the same moments. :meth:`Tape.record` notes
what an operation saves for backward and what its backward allocates; :meth:`Tape.backward` then runs the graph as
torch's engine does (latest operation first, gradients that meet are added, parameters' gradients stay).

Sources: torch 2.13 ``csrc/autograd/engine.cpp`` (order, release of saved tensors after a node has run),
``csrc/autograd/input_buffer.cpp`` (addition in place where the older gradient is held once),
``aten/src/ATen/autocast_mode.cpp`` (cached casts of trainable leaves), ``c10/cuda/CUDACachingAllocator.cpp`` (512).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from math import prod
from typing import NamedTuple

BLOCK_BYTES = 512

SAME = 0
"""In ``grads``: the gradient is handed on as it is (addition, a view)."""
PART = -1
"""In ``grads``: a view of the gradient that is not dense (one part of a concatenation, an expansion)."""


class Stack(NamedTuple):
    """What differs between versions of torch and cuDNN. ``name`` is said in reports."""

    name: str
    fused_attention: bool = True
    """Memory-efficient kernels behind ``nn.MultiheadAttention`` and scaled_dot_product_attention (torch 2.0)."""
    clones_inplace_relu6: bool = True
    """In-place ``hardtanh_`` keeps a copy of its input; torch 1.x kept its result, so nothing more."""
    resize_in_fp32: bool = True
    """Autocast runs interpolation in fp32 (in CUDA's fp32 list since torch 2.1)."""
    benchmark: bool = False
    """``cudnn.benchmark``: convolutions try every algorithm once, with the workspace of the greediest."""


MODERN = Stack("torch 2.13")
TORCH_1 = Stack("torch 1.x", fused_attention=False, clones_inplace_relu6=False, resize_in_fp32=False)


class Storage:
    """Bytes of one tensor, allocated while this object lives."""

    __slots__ = ("bytes", "holders", "tape")

    def __init__(self, tape: Tape, size: int) -> None:
        size = -(-size // BLOCK_BYTES) * BLOCK_BYTES
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
        self.buffers: list[_Gradient | None] = [None] * slots

    def run(self, tape: Tape, received: list[_Gradient | None]) -> list[_Gradient | None]:
        """The gradients for its edges; ``received`` holds one gradient an output."""
        transient = Storage(tape, self.transient) if self.transient else None
        first = received[0]
        results: list[_Gradient | None] = []
        for edge, size in zip(self.edges, self.grads, strict=True):
            if edge is None:
                results.append(None)
            elif size > 0:
                results.append(_Gradient(Storage(tape, size)))
            elif size == SAME:
                results.append(first)
            else:
                results.append(None if first is None else _Gradient(first.storage, dense=False))
        del transient
        return results


class _Gradient(NamedTuple):
    storage: Storage
    dense: bool = True


class _Leaf(Node):
    """Accumulates a parameter's gradient."""

    __slots__ = ("parameter",)

    def __init__(self, parameter: Parameter) -> None:
        super().__init__(1 << 60, [], (), ())
        self.parameter = parameter

    def run(self, tape: Tape, received: list[_Gradient | None]) -> list[_Gradient | None]:
        if received[0] is not None:
            tape.keep_gradient(self.parameter, received[0].storage)
        return []


class _Checkpoint(Node):
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

    def run(self, tape: Tape, received: list[_Gradient | None]) -> list[_Gradient | None]:
        sinks = [_Sink() if edge is not None else None for edge in self.edges]
        inputs = [Tensor(x.shape, x.itemsize, x.storage, sink) for x, sink in zip(self.inputs, sinks, strict=True)]
        with tape.weight_casts():
            output = self.function(*inputs)
        del inputs
        if output.node is not None:
            output.node.buffers[output.slot] = received[0]
            _hold(received[0])
            received[0] = None
            root = output.node
            del output
            tape.run_graph(root)
        self.inputs = ()
        return [sink.result if sink is not None else None for sink in sinks]


class _Sink(Node):
    """Catches the gradient of a checkpointed part's input."""

    __slots__ = ("result",)

    def __init__(self) -> None:
        super().__init__(-1, [], (), ())
        self.result: _Gradient | None = None

    def run(self, tape: Tape, received: list[_Gradient | None]) -> list[_Gradient | None]:
        del tape
        self.result = received[0]
        return []


class Mark(NamedTuple):
    """The most memory seen in a phase: activations alone, and gradient elements at that moment."""

    phase: str
    activation_bytes: int
    gradient_elements: int


class Tape:
    """One training step of one model on one rank.

    ``half``: autocast to 16 bits is on; ``graph``: operations are recorded for backward. ``parameters`` are those that
    layers made, in order. ``stack`` says which torch runs.
    """

    def __init__(self, *, half: bool = False, gradients_kept: bool = False, stack: Stack = MODERN) -> None:
        self.half = half
        self.stack = stack
        self.gradients_kept = gradients_kept
        self.graph = True
        self.training = True
        self.trainable = True
        self.parameters: list[Parameter] = []
        self.buffer_bytes = 0
        self.live = 0
        self.gradients = 0
        self.high = self.high_with_gradients = 0
        self._marks: dict[str, tuple[Mark, Mark]] = {}
        self._phase = "forward"
        self._order = 0
        self._casts: dict[int, Tensor] = {}
        self._have_gradient: set[int] = set()

    # --- making tensors ----------------------------------------------------------------------------------------------

    def new(self, *shape: int, itemsize: int = 4) -> Tensor:
        """A fresh tensor outside the graph (an input, a target, a mask)."""
        return Tensor(shape, itemsize, Storage(self, prod(shape) * itemsize))

    def parameter(self, elements: int) -> Parameter:
        """A new weight, trained unless made inside :meth:`frozen`."""
        made = Parameter(elements, self.trainable)
        self.parameters.append(made)
        return made

    def record(
        self,
        shape: tuple[int, ...],
        itemsize: int,
        inputs: Sequence[Tensor | Parameter],
        grads: Sequence[int],
        saved: Sequence[Tensor] = (),
        *,
        transient: int = 0,
        inplace: Tensor | None = None,
        save_output: bool = False,
        extra_saved_bytes: int = 0,
    ) -> Tensor:
        """The output of one operation.

        ``grads`` says for each input what its gradient allocates in backward (bytes, ``SAME``, ``PART``); ``saved``
        tensors are kept until then, and so are the output with ``save_output`` and ``extra_saved_bytes`` of small
        statistics or masks. ``transient`` bytes exist while backward computes. ``inplace``: the output takes over this
        input's storage.
        """
        storage = inplace.storage if inplace is not None else Storage(self, prod(shape) * itemsize)
        if not self.graph:
            if extra_saved_bytes:
                Storage(self, extra_saved_bytes)
            return Tensor(shape, itemsize, storage)
        edges: list[tuple[Node, int] | None] = []
        needed = False
        for each in inputs:
            node = each.node
            if node is None:
                edges.append(None)
            else:
                needed = True
                edges.append((node, 0 if isinstance(each, Parameter) else each.slot))
        extra = Storage(self, extra_saved_bytes) if extra_saved_bytes else None
        if not needed:
            return Tensor(shape, itemsize, storage)
        kept = [tensor.storage for tensor in saved]
        if save_output:
            kept.append(storage)
        if extra is not None:
            kept.append(extra)
        self._order += 1
        return Tensor(shape, itemsize, storage, Node(self._order, edges, grads, kept, transient))

    def record_several(self, shapes: Sequence[tuple[int, ...]], source: Tensor, *, view: bool = True) -> list[Tensor]:
        """Parts of ``source`` (split, chunk, unbind): views whose backward allocates one whole gradient."""
        storages = [source.storage if view else Storage(self, prod(shape) * source.itemsize) for shape in shapes]
        node: Node | None = None
        if self.graph and source.node is not None:
            self._order += 1
            node = Node(self._order, [(source.node, source.slot)], (source.bytes,), (), slots=len(shapes))
        return [
            Tensor(shape, source.itemsize, storage, node, slot)
            for slot, (shape, storage) in enumerate(zip(shapes, storages, strict=True))
        ]

    # --- contexts ----------------------------------------------------------------------------------------------------

    @contextmanager
    def frozen(self, *, active: bool = True) -> Iterator[None]:
        """Layers made inside have no trained weights, and their norms run in evaluation mode."""
        before = self.trainable
        self.trainable = before and not active
        try:
            yield
        finally:
            self.trainable = before

    @contextmanager
    def no_grad(self) -> Iterator[None]:
        """Operations inside keep nothing for backward."""
        before, self.graph = self.graph, False
        try:
            yield
        finally:
            self.graph = before

    @contextmanager
    def full_precision(self) -> Iterator[None]:
        """Autocast is off inside (``autocast(enabled=False)``, ``force_fp32``)."""
        before, self.half = self.half, False
        try:
            yield
        finally:
            self.half = before

    @contextmanager
    def weight_casts(self) -> Iterator[None]:
        """One autocast context: casts of weights are kept until it ends."""
        before, self._casts = self._casts, {}
        try:
            yield
        finally:
            self._casts = before

    def phase(self, name: str) -> None:
        """What follows belongs to the phase ``name``: forward, backward or evaluation."""
        self._store()
        self._phase = name
        self.high = self.high_with_gradients = 0
        self.note()

    # --- autocast ----------------------------------------------------------------------------------------------------

    def lowered(self, x: Tensor) -> Tensor:
        """``x`` as a matrix product or convolution takes it: a 16-bit copy under autocast."""
        return self.cast(x, 2) if self.half and x.itemsize == 4 else x

    def raised(self, x: Tensor) -> Tensor:
        """``x`` in fp32, as autocast's fp32 list wants it."""
        return self.cast(x, 4) if x.itemsize == 2 else x

    def cast(self, x: Tensor, itemsize: int) -> Tensor:
        """A copy of ``x`` with another element size."""
        if x.itemsize == itemsize:
            return x
        return self.record(x.shape, itemsize, (x,), (x.bytes,))

    def weight(self, parameter: Parameter) -> Tensor | Parameter:
        """The weight as a product takes it: itself, or its 16-bit copy under autocast (cached where it is trained)."""
        if not self.half:
            return parameter
        found = self._casts.get(id(parameter))
        if found is not None:
            return found
        made = self.record((parameter.elements,), 2, (parameter,), (4 * parameter.elements,))
        if parameter.trainable and self.graph:
            self._casts[id(parameter)] = made
        return made

    # --- checkpointing -----------------------------------------------------------------------------------------------

    def checkpoint(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """``function(*inputs)`` with its activations dropped and worked out again in backward (``cp.checkpoint``).

        As the reentrant kind, which OpenMMLab uses, it needs an input with a graph; else nothing is trained inside.
        """
        if not self.graph:
            return function(*inputs)
        with self.no_grad():
            output = function(*inputs)
        edges = [None if x.node is None else (x.node, x.slot) for x in inputs]
        if not any(edges):
            return output
        self._order += 1
        node = _Checkpoint(self._order, edges, inputs, function)
        return Tensor(output.shape, output.itemsize, output.storage, node)

    # --- backward ----------------------------------------------------------------------------------------------------

    def backward(self, loss: Tensor) -> None:
        """Runs the graph behind ``loss`` and frees what it kept."""
        self._casts = {}
        self.phase("backward")
        node = loss.node
        if node is None:
            return
        gradient = _Gradient(Storage(self, loss.bytes))
        _hold(gradient)
        node.buffers[loss.slot] = gradient
        del loss, gradient
        self.run_graph(node)

    def run_graph(self, root: Node) -> None:
        """The engine: nodes whose gradients are complete, the latest first."""
        _count_waiting(root)
        ready: list[tuple[int, int, Node]] = [(-root.order, 0, root)]
        serial = 0
        del root
        while ready:
            node = heappop(ready)[2]
            received = node.buffers
            node.buffers = [None] * len(received)
            for each in received:
                _release(each)
            results = node.run(self, received)
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
                    self._add(target, slot, result)
                result = None
                target.waiting -= 1
                if target.waiting == 0:
                    serial += 1
                    heappush(ready, (-target.order, serial, target))
            del node, edges

    def _add(self, node: Node, slot: int, gradient: _Gradient) -> None:
        """Puts a gradient into a buffer, adding it to what is there: in place where nobody else holds the older one."""
        older = node.buffers[slot]
        if older is None:
            node.buffers[slot] = gradient
            gradient.storage.holders += 1
            return
        if older.dense and older.storage.holders == 1:
            return
        larger = max(older.storage.bytes if older.dense else 0, gradient.storage.bytes if gradient.dense else 0)
        total = _Gradient(Storage(self, larger or min(older.storage.bytes, gradient.storage.bytes)))
        _release(older)
        node.buffers[slot] = total
        total.storage.holders += 1

    def keep_gradient(self, parameter: Parameter, storage: Storage) -> None:
        """A parameter's ``.grad``: the storage stays; a second one is added to the first and freed."""
        if self.gradients_kept or id(parameter) in self._have_gradient:
            return
        self._have_gradient.add(id(parameter))
        self.live -= storage.bytes
        storage.bytes = 0
        self.gradients += parameter.elements

    # --- what was seen -----------------------------------------------------------------------------------------------

    def note(self) -> None:
        """The present moment may be the peak of its phase."""
        mark = Mark(self._phase, self.live, self.gradients)
        alone, together = self._marks.get(self._phase, (mark, mark))
        if self.live > self.high:
            self.high = self.live
            alone = mark
        if self.live + 4 * self.gradients > self.high_with_gradients:
            self.high_with_gradients = self.live + 4 * self.gradients
            together = mark
        self._marks[self._phase] = alone, together

    def _store(self) -> None:
        self.high = self.high_with_gradients = 0

    def marks(self) -> tuple[Mark, ...]:
        """The moments that can be the peak, whatever a gradient element weighs (0 or 4 bytes)."""
        return tuple(dict.fromkeys(mark for pair in self._marks.values() for mark in pair))

    @property
    def peak_bytes(self) -> int:
        """Activations and fp32 gradients at the worst moment."""
        return max(mark.activation_bytes + 4 * mark.gradient_elements for mark in self.marks())

    @property
    def parameter_count(self) -> int:
        return sum(each.elements for each in self.parameters)

    @property
    def trainable_count(self) -> int:
        return sum(each.elements for each in self.parameters if each.trainable)


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


def _hold(gradient: _Gradient | None) -> None:
    if gradient is not None:
        gradient.storage.holders += 1


def _release(gradient: _Gradient | None) -> None:
    if gradient is not None:
        gradient.storage.holders -= 1
