"""One training step of a network on the tape, of whose stacks of equal blocks three are run.

Between the blocks of a stack stand milestones. What is alive as the step passes them, forward and back, gives what the
middle block keeps; a moment then lies in a part of the step in which every further block of a stack is either still
kept or already has its gradients. Moments inside further blocks lie on the line between those of the first and the
last, so none of them can be the peak.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, TypeVar

from vramlint.memory.knowledge import Moment
from vramlint.memory.layers.engine import RecomputeNode
from vramlint.memory.layers.graph import SAME, Edge, Handed, Node, Parameter, Storage, Tensor, filled, stored
from vramlint.memory.layers.stack import MODERN, TRACED
from vramlint.memory.layers.tape import Tape

RUN_BLOCKS = 3

Block = Callable[..., Tensor]
Made = TypeVar("Made", bound=Block)

_TRACED = TRACED._replace(adds_gradients_in_place=False)
"""Under a dispatch mode autograd adds gradients that meet into a third tensor (torch 2.13 ``input_buffer.cpp``,
``can_accumulate_inplace`` asks for plain tensors)."""


class Lora(NamedTuple):
    """Low-rank adapters as peft adds them. ``targets`` are ends of module names; empty: every linear layer.

    ``weight_bytes``: of an adapter's weight, fp32 in peft unless told otherwise.
    """

    rank: int
    targets: tuple[str, ...] = ()
    dropout: float = 0.0
    weight_bytes: int = 4

    def takes(self, name: str) -> bool:
        """Whether the linear layer with one of these names (``query/q_proj``) gets an adapter."""
        return not self.targets or not set(name.split("/")).isdisjoint(self.targets)


class Way(NamedTuple):
    """How a step runs: bytes of a weight, whether autocast to 16 bits is on, checkpointing, the attention kernel.

    ``kernel``: ``sdpa``, ``eager`` or ``flash``. ``lora``: adapters on a frozen model. ``frozen``: names of parts whose
    weights do not train.
    """

    weight_bytes: int = 4
    half: bool = False
    checkpointing: bool = False
    kernel: str = "sdpa"
    lora: Lora | None = None
    frozen: tuple[str, ...] = ()
    quantised: bool = False
    padded: bool = True
    """Whether samples of a batch differ in length, so that attention gets a mask."""
    traced: bool = False
    """Whether only what a trace sees is counted: nothing that kernels allocate inside themselves."""


class _Stack:
    """A stack's further blocks, and what each of them adds."""

    def __init__(self, further: int) -> None:
        self.further = further
        self.kept_forward = self.kept = self.gradients = 0
        self.entered: int | None = None
        self.state = 0


class _Milestone(Node):
    """Hands its gradient on, and notes that the step came by."""

    __slots__ = ("passed",)

    def __init__(self, order: int, source: Edge, passed: Callable[[], None]) -> None:
        filled(self, order, (source,), (SAME,))
        self.passed = passed

    def run(self, tape: Tape) -> Handed:
        self.passed()
        return super().run(tape)


class _LeafTensor(Node):
    """An activation that was made a leaf (``requires_grad_``): the graph holds it, and its gradient beside it."""

    __slots__ = ("storage",)

    def __init__(self, storage: Storage) -> None:
        filled(self, 0, ())
        self.storage = storage

    def run(self, tape: Tape) -> Handed:
        """Its gradient stays in the buffer."""
        del tape
        return []


class _Pending(RecomputeNode):
    """A recomputed block whose last operations keep nothing: their gradients are there before anything is recomputed,
    which begins where the first kept tensor is asked for (torch 2.13 ``utils/checkpoint.py``, ``unpack_hook``)."""

    __slots__ = ("pending_bytes",)
    pending_bytes: int

    def run(self, tape: Tape) -> Handed:
        held, function = [stored(tape, self.pending_bytes)] if self.pending_bytes else [], self.function

        def recomputed(*inputs: Tensor) -> Tensor:
            found = function(*inputs)
            held.clear()
            return found

        self.function = recomputed
        return super().run(tape)


class Run:
    """A step being run: the tape, how it runs, and the parts that the step has been through."""

    def __init__(self, way: Way, *, gradients_kept: bool = False) -> None:
        self.way = way
        self.tape = Tape(half=way.half, gradients_kept=gradients_kept, stack=_TRACED if way.traced else MODERN)
        self._inputs: list[Tensor] = []
        self._leaves: list[Node] = []
        self._stacks: list[_Stack] = []
        self._parts: list[tuple[str, tuple[int, ...]]] = []
        self.parameters = self.trainable = self.adapters = self.linear = 0
        self.largest_linear = 0
        self.held_bytes = 0
        """What is still alive after backward: the batch, and activations that were made leaves."""
        self._part("forward")

    # --- weights -----------------------------------------------------------------------------------------------------

    def weight(self, elements: int, *, adapter: bool = False, linear: bool = False) -> Parameter:
        """A weight; frozen where the model is behind adapters, or inside a frozen part."""
        tape = self.tape
        if self.way.lora is not None and not adapter:
            made = Parameter(elements, trainable=False)
        else:
            made = tape.parameter(elements)
        self.parameters += elements
        self.trainable += elements if made.trainable else 0
        self.adapters += elements if adapter else 0
        if linear:
            self.linear += elements
            self.largest_linear = max(self.largest_linear, elements)
        return made

    def given(self, *shape: int, itemsize: int = 8) -> Tensor:
        """A tensor of the batch, which the training loop holds until the step is done: 64-bit ids unless told."""
        made = self.tape.new(*shape, itemsize=itemsize)
        self._inputs.append(made)
        return made

    def padding(self, batch: int, queries: int, keys: int) -> Tensor | None:
        """A boolean mask of padded keys, one row a sample seen as ``queries`` rows; None where nothing is padded."""
        if not self.way.padded:
            return None
        return self.tape.new(batch, 1, 1, keys, itemsize=1).view(batch, 1, queries, keys)

    def part(self, name: str) -> AbstractContextManager[None]:
        """Layers made inside belong to the part ``name``, which may be frozen."""
        return self.tape.frozen(active=name in self.way.frozen)

    # --- stacks ------------------------------------------------------------------------------------------------------

    def built(self, count: int, make: Callable[[int], Made]) -> tuple[int, list[Made]]:
        """``count`` blocks, of which those are made that will be run; the weights of all of them are counted."""
        if count <= RUN_BLOCKS:
            return count, [make(index) for index in range(count)]
        blocks: list[Made] = []
        for index in range(RUN_BLOCKS):
            before = (self.parameters, self.trainable, self.adapters, self.linear)
            blocks.append(make(index))
            if index == 1:
                grown = [now - then for now, then in zip(self._counts(), before, strict=True)]
        further = count - RUN_BLOCKS
        self.parameters, self.trainable, self.adapters, self.linear = (
            now + further * each for now, each in zip(self._counts(), grown, strict=True)
        )
        return count, blocks

    def _counts(self) -> tuple[int, int, int, int]:
        return self.parameters, self.trainable, self.adapters, self.linear

    def stack(self, built: tuple[int, Sequence[Block]], x: Tensor, *others: Tensor) -> Tensor:
        """The blocks one after the other, each checkpointed where the step is; all of them take ``others``."""
        count, blocks = built
        if len(blocks) == count:
            for block in blocks:
                x = self.block(block, x, *others)
            return x
        state = _Stack(count - len(blocks))
        self._stacks.append(state)
        first, middle, last = blocks
        x = self.block(first, x, *others)
        entered = self.tape.live
        x = self._milestone(x, state, 0)
        x = self.block(middle, x, *others)
        state.kept_forward = self.tape.live - entered
        x = self._milestone(x, state, 1)
        state.state = 1
        self._part("forward")
        return self.block(last, x, *others)

    def block(self, block: Block, *inputs: Tensor) -> Tensor:
        """One block, recomputed in backward where the step is checkpointed."""
        if not self.way.checkpointing:
            return block(*inputs)
        found = self.tape.recompute(block, *inputs)
        late = getattr(block, "pending_bytes", None)
        node = found.node
        if late is None or not isinstance(node, RecomputeNode):
            return found
        pending = _Pending(node.order, node.edges, node.inputs, node.function)
        pending.pending_bytes = late(found)
        return Tensor(found.shape, found.itemsize, found.storage, pending)

    def _milestone(self, x: Tensor, state: _Stack, number: int) -> Tensor:
        if x.node is None or not self.tape.graph:
            return x
        self.tape._order += 1
        node = _Milestone(self.tape._order, x.node, lambda: self._passed(state, number))
        return Tensor(x.shape, x.itemsize, x.storage, node)

    def _passed(self, state: _Stack, number: int) -> None:
        if number == 1:
            state.entered, state.gradients = self.tape.live, self.tape.gradients
            state.state = 2
        elif state.entered is not None:
            state.kept = state.entered - self.tape.live
            state.gradients = self.tape.gradients - state.gradients
        self._part("backward")

    @property
    def _last_states(self) -> tuple[int, ...]:
        """Of the part in which backward begins."""
        return next((states for phase, states in self._parts if phase == "backward"), ())

    def _part(self, phase: str) -> None:
        self._parts.append((phase, tuple(stack.state for stack in self._stacks)))
        self.tape.phase(str(len(self._parts) - 1))

    def entering(self, x: Tensor) -> Tensor:
        """An embedding's output: behind checkpointed adapters a leaf that needs a gradient, which it then keeps.

        peft and transformers see to that with a hook (``enable_input_require_grads``), lest nothing be recomputed.
        """
        if self.way.lora is None or not self.way.checkpointing or x.node is not None:
            return x
        return self.needing(x)

    def needing(self, x: Tensor) -> Tensor:
        """``x`` as a leaf that needs a gradient."""
        leaf = _LeafTensor(x.storage)
        self._leaves.append(leaf)
        return Tensor(x.shape, x.itemsize, x.storage, leaf)

    # --- the step ----------------------------------------------------------------------------------------------------

    def finish(self, loss: Tensor) -> tuple[Moment, ...]:
        """Runs backward from ``loss``; the moments that can be the peak of the step."""
        self._part("backward")
        self.tape.backward(loss)
        del loss
        self.held_bytes = self.tape.live
        return self._moments()

    def _moments(self) -> tuple[Moment, ...]:
        found = []
        for mark in self.tape.marks():
            phase, states = self._parts[int(mark.phase)] if mark.phase.isdigit() else (mark.phase, self._last_states)
            activation, gradients = mark.activation_bytes, mark.gradient_elements
            for stack, state in zip(self._stacks, states, strict=False):
                if state == 1:
                    activation += stack.further * (stack.kept_forward if phase == "forward" else stack.kept)
                elif state == 2:
                    gradients += stack.further * stack.gradients
            found.append(Moment(phase, activation, gradients))
        return tuple(found)
