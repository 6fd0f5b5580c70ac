"""The tape: tensors without data, and what autograd keeps, frees and allocates while one training step runs over them.

A :class:`Storage` counts as allocated for as long as a Python object refers to it, as in torch: so a builder written in
the order of the original's ``forward`` frees what the original frees, at the same moments. :meth:`Tape.record` notes
what an operation saves for backward and what its backward allocates; :meth:`Tape.backward` then runs the graph as
torch's engine does (latest operation first, gradients that meet are added, parameters' gradients stay).

Sources: torch 2.13 ``aten/src/ATen/autocast_mode.cpp`` (cached casts of trainable leaves); the graph's in ``graph``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import NamedTuple

from vramlint.memory.layers.engine import CheckpointNode, RecomputeNode, run_graph
from vramlint.memory.layers.graph import (
    PART,
    SAME,
    Block,
    Edge,
    Output,
    Parameter,
    SplitNode,
    Storage,
    Tensor,
    operation,
    rounded,
    stored,
    tensor,
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
        self.taken_bytes = self.taken_elements = 0
        """Gradients of the node that runs, on their way to parameters that it alone uses."""
        self.high = self.high_with_gradients = 0
        """Of this phase: the most bytes of activations, and of them and fp32 gradients."""
        self._high_gradients = self._high_with = 0
        self._marks: dict[str, tuple[Mark, Mark]] = {}
        self._phase = "forward"
        self._order = self._operations = 0
        self.runs = 0
        """Runs of the engine so far, those of checkpointed parts too."""
        self._casts: dict[int, Tensor] = {}

    # --- making tensors ----------------------------------------------------------------------------------------------

    def new(self, *shape: int, itemsize: int = 4) -> Tensor:
        """A fresh tensor outside the graph (an input, a target, a mask)."""
        return Tensor(shape, itemsize, stored(self, prod(shape) * itemsize))

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
        first = inputs[0]
        if type(first) is Tensor and first.shape is shape and first.itemsize == itemsize:
            size = first.bytes
        else:
            size = prod(shape) * itemsize
        storage = stored(self, size) if inplace is None else inplace.storage
        self._operations += 1
        if self._operations > MOST_OPERATIONS:
            raise ValueError("too many operations to be a model")
        extra = stored(self, extra_saved_bytes) if extra_saved_bytes else None
        needed = False
        edges: list[Edge | None] = []
        if self.graph:
            for each in inputs:
                edge = each.node
                edges.append(edge)
                if edge is not None:
                    needed = True
        if not needed:
            return tensor(shape, itemsize, size, storage)
        kept = [each.storage for each in saved]
        if save_output:
            kept.append(storage)
        if extra is not None:
            kept.append(extra)
        self._order += 1
        return tensor(shape, itemsize, size, storage, operation(self._order, edges, grads, kept, transient))

    def record_several(self, shapes: Sequence[tuple[int, ...]], source: Tensor, *, view: bool = True) -> list[Tensor]:
        """Parts of ``source`` (split, chunk, unbind): views whose backward allocates one whole gradient."""
        storages = [source.storage if view else stored(self, prod(shape) * source.itemsize) for shape in shapes]
        made = [Tensor(shape, source.itemsize, each) for shape, each in zip(shapes, storages, strict=True)]
        if self.graph and source.node is not None:
            self._order += 1
            node = SplitNode(self._order, source.node, source.bytes)
            for index, each in enumerate(made):
                each.node = Output(node, index)
        return made

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
        self._marks[self._phase] = self._highest()
        self._phase = name
        self.high = self.high_with_gradients = 0
        self._high_gradients = self._high_with = self.gradients
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
        edges = [x.node for x in inputs]
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
        edges = [x.node for x in inputs]
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
        first = Block()
        first.bytes, first.holders, first.loose = rounded(self, loss.bytes), 1, 0
        self.live += first.bytes
        self.note()
        node.buffer = first
        del loss, first
        run_graph(self, node)

    # --- what was seen -----------------------------------------------------------------------------------------------

    def note(self) -> None:
        """The present moment may be the peak of its phase."""
        live, gradients = self.live, self.gradients
        if live > self.high:
            self.high = live
            self._high_gradients = gradients
        if live + 4 * gradients > self.high_with_gradients:
            self.high_with_gradients = live + 4 * gradients
            self._high_with = gradients

    def _highest(self) -> tuple[Mark, Mark]:
        """The present phase's peak of activations alone, and of activations and gradients."""
        with_gradients = self.high_with_gradients - 4 * self._high_with
        return Mark(self._phase, self.high, self._high_gradients), Mark(self._phase, with_gradients, self._high_with)

    def marks(self) -> tuple[Mark, ...]:
        """The moments that can be the peak, whatever a gradient element weighs (0 or 4 bytes)."""
        pairs = {**self._marks, self._phase: self._highest()}
        return tuple(dict.fromkeys(mark for pair in pairs.values() for mark in pair))

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
