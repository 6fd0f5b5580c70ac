"""What the probe asks of a card, as a Protocol: the CUDA one is in ``vramlint.probe.cuda``, tests bring their own."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Card(NamedTuple):
    """The card and the software that drives it, as they call themselves."""

    name: str
    capability: str
    total_bytes: int
    driver: str
    torch: str
    cuda: str


class Meters(NamedTuple):
    """Three meters at one moment: torch's allocated and reserved bytes, and the bytes in use on the whole card."""

    allocated_bytes: int
    reserved_bytes: int
    device_bytes: int


class Setting(NamedTuple):
    """One training run of the sweep. ``precision``: ``fp32``, ``fp16`` or ``bf16`` autocast.

    ``model`` is one of ``vramlint.probe.workloads`` or a target of ``vramlint trace``. ``size`` is the side of the
    images in pixels, or the length of the sequences in tokens.
    """

    model: str
    batch: int
    size: int
    precision: str
    checkpointing: bool
    optimizer: str


class OutOfMemory(Exception):
    """The card could not hold the run."""


class NotHere(Exception):
    """The run cannot be made here: no installed package has the model, or its code raised. The message says which."""


class Backend(Protocol):
    """A card that can be measured."""

    def card(self) -> Card:
        """The card, without creating a context on it."""
        ...

    def idle_bytes(self) -> int:
        """Bytes in use on the card right now, by whoever."""
        ...

    def start(self) -> Meters:
        """Creates the context and allocates the first tensor."""
        ...

    def multiply(self) -> Meters:
        """One matrix product in fp16 and one in fp32, which loads cuBLAS and its workspace."""
        ...

    def convolve(self) -> Meters:
        """One convolution and its backward pass, which loads cuDNN."""
        ...

    def communicate(self) -> Meters | None:
        """One all-reduce with another card, which loads NCCL and its buffers; None where there is no other card."""
        ...

    def largest_bytes(self) -> int:
        """The most memory that tensors can take, found by allocating until the card refuses."""
        ...

    def train(self, setting: Setting, steps: int) -> Meters:
        """The peaks of a few training steps. Raises OutOfMemory, and NotHere for a run that cannot be made."""
        ...
