"""The tape: tensors without data, and what autograd keeps, frees and allocates while one training step runs over them.

A :class:`Storage` counts as allocated for as long as a Python object refers to it, as in torch: so a builder written in
the order of the original's ``forward`` frees what the original frees, at the same moments. :meth:`Tape.record` notes
what an operation saves for backward and what its backward allocates; :meth:`Tape.backward` then runs the graph as
torch's engine does (latest operation first, gradients that meet are added, parameters' gradients stay).

Sources: torch 2.13 ``aten/src/ATen/autocast_mode.cpp`` (cached casts of trainable leaves); the engine's in ``graph``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import NamedTuple

from vramlint.memory.layers.graph import (
    PART,
    SAME,
    CheckpointNode,
    Gradient,
    Node,
    Parameter,
    RecomputeNode,
    Storage,
    Tensor,
    hold,
    run_graph,
)
from vramlint.memory.layers.stack import MODERN, TORCH_1, Stack

__all__ = ["MODERN", "PART", "SAME", "TORCH_1", "Mark", "Parameter", "Stack", "Storage", "Tape", "Tensor"]


MOST_PARAMETERS = 20_000
"""Weights of the largest model that is worked out; HRNet and Swin-L have about a thousand."""
MOST_ELEMENTS = 10**12
MOST_OPERATIONS = 200_000
"""Operations of a forward pass; a slip of the pen (``num_layers=1000000``) must not keep a linter busy."""


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
        self.varied = False
        """Whether the images' size varies from step to step, so that cached blocks seldom fit exactly."""
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
        self._order = self._operations = 0
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
        if len(self.parameters) > MOST_PARAMETERS or elements > MOST_ELEMENTS:
            raise ValueError("too large to be a model")
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
        self._operations += 1
        if self._operations > MOST_OPERATIONS:
            raise ValueError("too many operations to be a model")
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
        if found is not None and (found.node is not None or not self.graph):
            return found
        made = self.record((parameter.elements,), 2, (parameter,), (4 * parameter.elements,))
        if parameter.trainable:  # with or without a graph: a checkpoint's first pass keeps its casts too
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
        node = CheckpointNode(self._order, edges, inputs, function)
        return Tensor(output.shape, output.itemsize, output.storage, node)

    def recompute(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """As :meth:`checkpoint`, not reentrant (``use_reentrant=False``): inputs need no graph of their own."""
        if not self.graph:
            return function(*inputs)
        with self.no_grad():
            output = function(*inputs)
        self._order += 1
        edges = [None if x.node is None else (x.node, x.slot) for x in inputs]
        return Tensor(
            output.shape, output.itemsize, output.storage, RecomputeNode(self._order, edges, inputs, function)
        )

    # --- backward ----------------------------------------------------------------------------------------------------

    def backward(self, loss: Tensor) -> None:
        """Runs the graph behind ``loss`` and frees what it kept."""
        self._casts = {}
        self.phase("backward")
        node = loss.node
        if node is None:
            return
        gradient = Gradient(Storage(self, loss.bytes))
        hold(gradient)
        node.buffers[loss.slot] = gradient
        del loss, gradient
        run_graph(self, node)

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
