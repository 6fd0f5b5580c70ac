"""What is known of a model's memory, behind one interface: closed forms, traced profiles, observations."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from vramlint.plan import Precision


class Workload(NamedTuple):
    """What one rank's forward and backward pass works on. ``height``/``width`` in pixels, ``seq_len`` in tokens.

    ``gradients_kept``: an earlier micro step's gradients are still there (accumulation), so every new gradient is a
    transient that is added to the old one.
    """

    micro_batch: int
    precision: Precision
    checkpointing: bool
    height: int = 0
    width: int = 0
    seq_len: int = 0
    gradients_kept: bool = False
    compiled: bool = False
    """Whether torch.compile fuses the blocks, so that elementwise intermediates are recomputed, not kept."""
    activations_offloaded: bool = False
    """Whether kept activations wait in host memory, two blocks' at a time on the card."""
    gradients_freed: bool = False
    """Whether the optimizer steps inside backward, so that a gradient is freed as soon as it is complete."""
    target_len: int = 0
    """Tokens of a target beside the source's ``seq_len``; 0 where there is none or it is not known."""
    capability: tuple[int, int] | None = None
    """The card's compute capability, None where no card is named; some libraries choose their kernels by it."""
    targets: int = 0
    """Ground truths an image, where a model's loss makes tensors of each."""


class Moment(NamedTuple):
    """Bytes alive at one moment of a step, beyond parameters and optimizer states.

    ``activation_bytes``: saved and transient tensors. ``gradient_elements``: gradient elements allocated so far; when
    gradients are kept from an earlier accumulation step, all of them are alive at every moment.
    """

    phase: str
    """``forward``, ``loss``, ``backward``, ``optimizer``, ``evaluation``, ``generation`` or ``encoding`` (pictures)."""
    activation_bytes: int
    gradient_elements: int


class ModelKnowledge(Protocol):
    """One model's memory, whatever the form of the knowledge."""

    @property
    def name(self) -> str: ...
    @property
    def parameters(self) -> int:
        """Number of parameters, frozen ones included."""
        ...

    @property
    def trainable(self) -> int:
        """Number of parameters that receive gradients."""
        ...

    @property
    def buffer_bytes(self) -> int:
        """Bytes that stay for the whole run beside parameters: running statistics, queues, a frozen second encoder."""
        ...

    @property
    def source(self) -> str:
        """Where the knowledge comes from, in words for the report."""
        ...

    @property
    def spread(self) -> float:
        """Half-width of the 95 % interval as a share of the activations, as measured for this form of knowledge."""
        ...

    def moments(self, workload: Workload) -> tuple[Moment, ...]:
        """The moments that can be the peak, for this workload; empty where the knowledge does not cover it."""
        ...


class Wrapped:
    """Knowledge around other knowledge: what a subclass does not say itself is as ``inside`` says."""

    def __init__(self, inside: ModelKnowledge) -> None:
        self.inside = inside

    @property
    def name(self) -> str:
        return self.inside.name

    @property
    def parameters(self) -> int:
        return self.inside.parameters

    @property
    def trainable(self) -> int:
        return self.inside.trainable

    @property
    def buffer_bytes(self) -> int:
        return self.inside.buffer_bytes

    @property
    def source(self) -> str:
        return self.inside.source

    @property
    def spread(self) -> float:
        return self.inside.spread

    def moments(self, workload: Workload) -> tuple[Moment, ...]:
        """Those of what is inside."""
        return self.inside.moments(workload)


def inputs_of(knowledge: ModelKnowledge) -> str:
    """What a sample of a model worked out block by block is: ``pair``, ``speech``, ``text``, ``image``; else ""."""
    return str(getattr(knowledge, "inputs", ""))


class Resolution(NamedTuple):
    """Knowledge of the plan's model, or why there is none.

    ``alternatives`` are other models or settings that the plan may mean; the interval spans them.
    """

    knowledge: ModelKnowledge | None
    alternatives: tuple[ModelKnowledge, ...] = ()
    assumptions: tuple[str, ...] = ()
    because: str = ""
