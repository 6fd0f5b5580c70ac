"""The memory of one diffusion denoiser: traced moments, and what stands on the card beside it.

How a model is trained is its *mode*: ``lora`` and ``lora-all`` hold the base in 16 bits and fp32 adapters (on the
attention's projections, on every linear layer of the blocks) under autocast, ``lora16`` 16-bit adapters,
``lora-all-plain`` fp32 adapters without autocast; ``full`` trains fp32 weights under autocast, ``half`` 16-bit weights
under it, ``pure`` 16-bit and ``fp32`` fp32 weights without; ``peft-…`` are peft's methods without autocast. Made by
``tools/make_diffusion.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vramlint.memory.knowledge import Moment, Workload
from vramlint.memory.states import BESIDE, WeightGroup
from vramlint.plan import Precision

SPREAD = 0.15
"""Half-width on the activations: what a trace cannot see, and how scripts adapt more than the attention."""

HALF = (Precision.PURE_BF16, Precision.PURE_FP16)


class TracedMoment(NamedTuple):
    """One moment that can be the peak: bytes per term, and gradient elements. ``shifts`` number what one more block of
    each stack adds (the variant's ``shifts``)."""

    phase: str
    coefficients: tuple[float, ...]
    gradient_elements: int
    shifts: tuple[int, ...] = ()


class Way(NamedTuple):
    """A traced way to train; ``shifts`` are bytes per term and, last, gradient elements."""

    terms: tuple[str, ...]
    fresh: tuple[TracedMoment, ...]
    kept: tuple[TracedMoment, ...]
    shifts: tuple[tuple[float, ...], ...] = ()


class Beside(NamedTuple):
    """A model that stays on the card: an autoencoder, a text encoder, a reward model; frozen unless ``trained``."""

    name: str
    parameters: int
    bytes_each: float = 2
    trained: bool = False


class Adapters(NamedTuple):
    """Adapters on a denoiser: ``elements`` at their rank, ``bytes_each``, the traced rank's elements, frozen tables."""

    mode: str
    rank: int
    elements: int
    traced: int
    bytes_each: int = 4
    tables: int = 0


class Denoiser(NamedTuple):
    """A denoiser trained one way: a form of :class:`~vramlint.memory.knowledge.ModelKnowledge`.

    ``linear`` elements are those of linear layers, ``largest`` of the largest one: what quantisation takes, at
    ``base_bytes`` each, and what it unpacks. ``further`` are the blocks that each stack has more than the traced model.
    ``frames`` are a video's latent frames, 1 for pictures; a picture that is edited counts as one more. ``blocks`` are
    the stacks' own numbers of blocks, of which ``on_host`` elements wait in host memory, and with ``moved`` what the
    blocks keep for backward. ``encoding`` bytes a pixel is what the autoencoder takes before the step, ``encoded``
    pictures at a time, all of the micro batch where that is None.
    """

    name: str
    base: int
    ways: Mapping[str, Way]
    made: str
    linear: int = 0
    largest: int = 0
    base_bytes: float = 2
    adapters: Adapters | None = None
    beside: tuple[Beside, ...] = ()
    further: tuple[int, ...] = ()
    frames: int = 1
    blocks: tuple[int, ...] = ()
    on_host: int = 0
    moved: bool = False
    buffers: int = 0
    encoding: float = 0
    encoded: int | None = None
    half: bool = False
    """Whether trained weights are held in 16 bits whatever autocast does."""

    @property
    def parameters(self) -> int:
        """All parameters, adapters included."""
        return self.base + (self.adapters.elements if self.adapters else 0)

    @property
    def trainable(self) -> int:
        """Those that receive gradients."""
        if self.adapters is not None:
            return self.adapters.elements
        return self.base + sum(one.parameters for one in self.beside if one.trained)

    @property
    def buffer_bytes(self) -> int:
        """Tables of positions, in the weights' type; what stands beside the denoiser is counted with the weights."""
        return self.buffers * (2 if self.half or self.adapters is not None else 4)

    @property
    def workspace_share(self) -> float:
        """Nothing on top for old stacks' convolution workspaces: denoisers are trained by today's."""
        return 0.0

    @property
    def source(self) -> str:
        """Where the knowledge comes from, in words for the report."""
        return f"traced profile of {self.name} ({self.made})"

    @property
    def spread(self) -> float:
        """Half-width of the interval as a share of the activations."""
        return SPREAD

    def moments(self, workload: Workload) -> tuple[Moment, ...]:
        """The moments that can be the peak; empty without an image size, and for ways that were not traced."""
        way = self._way(workload)
        if way is None or not (workload.height and workload.width and workload.micro_batch):
            return ()
        rank = self.adapters.rank if self.adapters else 0
        pixels = workload.height * workload.width * self.frames
        factors = [term_value(term, workload.micro_batch, pixels, rank) for term in way.terms]
        training = way.kept if workload.gradients_kept else way.fresh
        found = tuple(self._moment(way, traced, factors) for traced in training)
        if self.encoding:
            found = (*found, self._encoded(workload))
        if not workload.gradients_freed or self.adapters is not None:
            return found
        return tuple(moment._replace(gradient_elements=min(moment.gradient_elements, self.largest)) for moment in found)

    @property
    def largest_weight(self) -> int:
        """Elements of the largest weight that trains at once, 0 behind adapters."""
        return 0 if self.adapters is not None else self.largest

    def _encoded(self, workload: Workload) -> Moment:
        """Pictures become latents, before the denoiser keeps anything of this step."""
        pictures = min(workload.micro_batch, self.encoded or workload.micro_batch)
        amount = round(self.encoding * pictures * workload.height * workload.width)
        return Moment("encoding", amount, self.trainable if workload.gradients_kept else 0)

    def _moment(self, way: Way, traced: TracedMoment, factors: list[int]) -> Moment:
        activation = sum(map(float.__mul__, traced.coefficients, map(float, factors)))
        elements: float = traced.gradient_elements
        kept_off = self.blocks if self.moved else (0,) * len(self.further)
        for further, moved, number in zip(self.further, kept_off, traced.shifts, strict=False):
            *more, gradients = way.shifts[number]
            activation += (further - moved) * sum(map(float.__mul__, more, map(float, factors)))
            elements += further * gradients
        if self.adapters is not None and self.adapters.traced:
            elements *= self.adapters.elements / self.adapters.traced
        if self.base_bytes < 2 and traced.phase != "optimizer":
            activation += 2 * self.largest  # a quantised layer is unpacked to 16 bits where it is used
        return Moment(traced.phase, max(round(activation), 0), round(elements))

    def weight_groups(self, each: int) -> tuple[WeightGroup, ...]:
        """Parameters by storage, of ``each`` bytes where the denoiser itself trains."""
        frozen = tuple(
            WeightGroup(one.name, one.parameters, each, "trained with it", trainable=True)
            if one.trained
            else WeightGroup(one.name, one.parameters, one.bytes_each, BESIDE)
            for one in self.beside
        )
        if self.adapters is None:
            each = 2 if self.half else each
            origin = f"{each} bytes; {self.source}"
            group = WeightGroup("parameters", self.base - self.on_host, each, origin, trainable=True)
            waiting = WeightGroup("parameters in host memory", self.on_host, 0, "blocks moved off", trainable=True)
            return (group, waiting, *frozen)
        quantised = max(self.linear - self.on_host, 0) if self.base_bytes < 2 else 0
        origin = "16-bit base model" if not quantised else f"linear layers at {self.base_bytes:.4g} bytes"
        plain = self.base - self.on_host - quantised
        return (
            WeightGroup("frozen parameters", quantised, self.base_bytes, origin),
            WeightGroup("frozen 16-bit parameters", plain, 2, "base model (weight_dtype)"),
            WeightGroup("adapter tables", self.adapters.tables, 1, "frozen, bytes"),
            WeightGroup(
                "adapters", self.adapters.elements, self.adapters.bytes_each, f"rank {self.adapters.rank}",
                trainable=True,
            ),
            *frozen,
        )  # fmt: skip

    def _way(self, workload: Workload) -> Way | None:
        """The traced way that is this workload's, else the nearest one that stands for it; None without."""
        suffix = "+checkpointing" if workload.checkpointing else ""
        return next((way for mode in self._modes(workload) if (way := self.ways.get(f"{mode}{suffix}"))), None)

    def _modes(self, workload: Workload) -> tuple[str, ...]:
        if self.adapters is not None:
            return (self.adapters.mode,)
        autocast = workload.precision in (Precision.BF16, Precision.FP16)
        if self.half or workload.precision in HALF:
            return ("half", "pure") if autocast else ("pure", "half")
        return ("full",) if autocast else ("fp32",)


def term_value(term: str, batch: int, pixels: int, rank: int) -> int:
    """The value of a term: batch and pixels as in ``memory/profile.py``, times the rank where it ends in R."""
    base = {"1": 1, "": 1, "B": batch, "HW": pixels, "BHW": batch * pixels}[term.removesuffix("R")]
    return base * rank if term.endswith("R") else base
