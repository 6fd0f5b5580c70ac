"""Traced profiles: the memory of a named model as a few numbers, made once by ``vramlint trace``, read without torch.

One JSON file holds one model. A *variant* is a precision with or without activation checkpointing; it holds the few
moments of a training step that can be the peak, each as coefficients on the terms of the workload (``B`` images of
``H`` x ``W`` pixels, or ``B`` sequences of ``S`` tokens). How they are made: ``docs/trace.md`` and ``vramlint.trace``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import mul
from typing import Any, NamedTuple

from vramlint.errors import TraceError
from vramlint.memory.knowledge import Moment, Workload
from vramlint.plan import Precision

SCHEMA = 1
"""Version of the profile format; a file of another version is refused."""

TRACE_SPREAD = 0.10
"""Half-width of the interval on a profile's activations, as a share of them.

The profile equals its trace (each variant's ``residual``). What a trace cannot see is what kernels allocate inside
themselves. Of 14 models on a CPU, real steps lay within 0.01 % of the trace in ten, 0.2 to 0.3 % above in two, and
2 % and 16 % above in two whose convolutions take buffers of their own (docs/trace.md). Not measured on a card yet, so
this is a judgement between those.
"""


def _padded(batch: str, whole: str, window: int, stride: int) -> Callable[[Workload], int]:
    """Places of a map padded to whole windows (``P``), or in its columns alone (``R``), of all images or of one."""

    def places(w: Workload) -> int:
        rows, columns = -(-w.height // stride), -(-w.width // stride)
        rows = rows if whole == "R" else -(-rows // window) * window
        return (w.micro_batch if batch else 1) * rows * -(-columns // window) * window

    return places


TERMS: dict[str, Callable[[Workload], int]] = {
    "1": lambda _: 1,
    "B": lambda w: w.micro_batch,
    "B^2": lambda w: w.micro_batch**2,
    "HW": lambda w: w.height * w.width,
    "BHW": lambda w: w.micro_batch * w.height * w.width,
    "B(HW)^2": lambda w: w.micro_batch * (w.height * w.width) ** 2,
    "S": lambda w: w.seq_len,
    "BS": lambda w: w.micro_batch * w.seq_len,
    "S^2": lambda w: w.seq_len**2,
    "BS^2": lambda w: w.micro_batch * w.seq_len**2,
    "T": lambda w: w.targets,
    "BT": lambda w: w.micro_batch * w.targets,
    "THW": lambda w: w.targets * w.height * w.width,
    "BTHW": lambda w: w.micro_batch * w.targets * w.height * w.width,
    **{f"{kind}{window}/{stride}": _padded(kind[:-1], kind[-1], window, stride)
       for kind in ("P", "BP", "BR") for window in (7, 12) for stride in (4, 8, 16, 32)},
}  # fmt: skip
"""What a coefficient multiplies, by the name it has in the files: batch, pixels, tokens, targets and their products.

``P7/4`` are the places of a map at a quarter of the image, padded to whole windows of 7 x 7 (Swin);
``BR7/4`` those of one padded to the right alone.
"""


class ProfileMoment(NamedTuple):
    """One moment that can be the peak: bytes per term beyond parameters, gradients and optimizer states.

    ``gradient_elements`` counts the gradient elements allocated by then.
    """

    phase: str
    coefficients: tuple[float, ...]
    gradient_elements: int

    def at(self, factors: tuple[int, ...]) -> Moment:
        """This moment's bytes where the terms have the values ``factors``."""
        activation = round(sum(map(mul, self.coefficients, factors)))
        return Moment(self.phase, max(activation, 0), self.gradient_elements)


class Variant(NamedTuple):
    """One way to run the model. ``residual``: worst relative difference between the profile and further traces.

    ``fresh`` moments start without gradients, ``kept`` moments with all gradients of an earlier micro step alive,
    ``evaluation`` moments are of a forward pass without graph (validation, or a momentum encoder's pass).
    """

    terms: tuple[str, ...]
    fresh: tuple[ProfileMoment, ...]
    kept: tuple[ProfileMoment, ...]
    evaluation: tuple[ProfileMoment, ...]
    residual: float

    @property
    def knows_size(self) -> bool:
        """Whether its traces were of several sizes, so that bytes are told apart by the image's size."""
        sized = [index for index, term in enumerate(self.terms) if "HW" in term]
        return not sized or any(moment.coefficients[index] for moment in self.fresh for index in sized)


class TracedOptimizer(NamedTuple):
    """What one traced step of the model's own optimizer took: states that stay, and bytes of the step alone."""

    name: str
    state_bytes: int
    step_bytes: int


class Profile(NamedTuple):
    """A model's traced memory: the form of :class:`~vramlint.memory.knowledge.ModelKnowledge` for named models.

    ``fixed_size`` is the one (height, width) a model takes, None where the size may vary, and ``default_size`` the one
    that its package trains it at. ``assumptions`` says what
    was fixed while tracing (classes, targets, loss). ``built_by`` maps packages to versions. ``targets`` are the ground
    truths an image that a step is worked out for, where they change its memory.
    """

    name: str
    parameters: int
    trainable: int
    buffer_bytes: int
    variants: Mapping[str, Variant]
    built_by: Mapping[str, str]
    date: str
    assumptions: tuple[str, ...]
    size_multiple: int
    fixed_size: tuple[int, int] | None
    default_size: tuple[int, int] | None = None
    optimizer: TracedOptimizer | None = None
    targets: int = 0

    @property
    def source(self) -> str:
        """Where the knowledge comes from, in words for the report."""
        made = ", ".join(f"{package} {version}" for package, version in self.built_by.items())
        return f"traced profile of {self.name} ({made}, {self.date})"

    @property
    def spread(self) -> float:
        """Half-width of the 95 % interval as a share of the activations."""
        return TRACE_SPREAD

    def variant(self, precision: Precision, *, checkpointing: bool) -> Variant | None:
        """The variant traced for this precision and checkpointing, None where there is none."""
        key = _precision_key(precision)
        if key is None:
            return None
        return self.variants.get(f"{key}+checkpointing" if checkpointing else key)

    def moments(self, workload: Workload) -> tuple[Moment, ...]:
        """The moments that can be the peak; empty where no variant was traced or the workload lacks its variables."""
        variant = self.variant(workload.precision, checkpointing=workload.checkpointing)
        factors = () if variant is None else self._factors(variant, workload)
        if variant is None or not factors:
            return ()
        training = variant.kept if workload.gradients_kept else variant.fresh
        return tuple([moment.at(factors) for moment in (*training, *variant.evaluation)])

    def only_size(self, variant: Variant) -> tuple[int, int] | None:
        """The one (height, width) that ``variant`` is known for, None where that is any."""
        if self.fixed_size is not None:
            return self.fixed_size
        return None if variant.knows_size else self.default_size

    def missing(self, workload: Workload) -> str:
        """Why :meth:`moments` is empty for this workload, in words that follow the model's name."""
        variant = self.variant(workload.precision, checkpointing=workload.checkpointing)
        if variant is None:
            have = ", ".join(name.replace("+", " with ") for name in self.variants)
            wanted = f"{workload.precision}{' with checkpointing' if workload.checkpointing else ''}"
            return f"traced as {have}, not as {wanted}"
        size = self.only_size(variant)
        if size is not None and size != (workload.height, workload.width):
            return f"traced at {size[0]}x{size[1]} alone"
        return "traced for inputs of another kind"

    def forward_without_graph_bytes(self, workload: Workload) -> int | None:
        """Peak bytes of a forward pass under ``no_grad`` (a momentum encoder, evaluation), None where not traced."""
        variant = self.variant(workload.precision, checkpointing=False)
        factors = () if variant is None else self._factors(variant, workload)
        if variant is None or not variant.evaluation or not factors:
            return None
        return max(moment.at(factors).activation_bytes for moment in variant.evaluation)

    def _factors(self, variant: Variant, workload: Workload) -> tuple[int, ...]:
        """The terms' values; empty where the workload lacks a variable or has another size than the only one."""
        size = self.only_size(variant)
        if size is not None and size != (workload.height, workload.width):
            return ()
        workload = workload._replace(targets=self.targets)
        factors = tuple([TERMS[term](workload) for term in variant.terms])
        return factors if all(factors) else ()


class OwnProfile(NamedTuple):
    """A profile of the user's own repository: the value of a plan's fact ``own_profile``.

    ``path`` is the file as shown; ``profile`` None where this vramlint cannot read it; ``stale`` says why it may no
    longer be true, in words that follow "is stale:", empty where nothing speaks against it.
    """

    path: str
    profile: Profile | None
    stale: str = ""

    def __str__(self) -> str:
        return f"{self.path} (stale: {self.stale})" if self.stale else self.path

    def __repr__(self) -> str:
        return str(self)


def load_profile(data: Mapping[str, Any]) -> Profile:
    """A profile from its JSON form (a shipped file, or ``.vramlint/profiles/<name>.json`` of the user's repository).

    Raises TraceError where the data is no profile or of another schema version.
    """
    if data.get("schema") != SCHEMA:
        raise TraceError(
            f"profile has schema {data.get('schema')!r}, this vramlint reads {SCHEMA}",
            help="Make the profile again with `vramlint trace`.",
        )
    try:
        return _read(data)
    except (KeyError, TypeError, ValueError) as error:
        raise TraceError(f"profile is malformed: {error!r}", help="Make it again with `vramlint trace`.") from error


def _read(data: Mapping[str, Any]) -> Profile:
    return Profile(
        name=str(data["name"]),
        parameters=int(data["parameters"]),
        trainable=int(data.get("trainable", data["parameters"])),
        buffer_bytes=int(data["buffer_bytes"]),
        variants={key: read_variant(value) for key, value in data["variants"].items()},
        built_by=dict(data["built_by"]),
        date=str(data["date"]),
        assumptions=tuple(data.get("assumptions", ())),
        size_multiple=int(data.get("size_multiple", 1)),
        fixed_size=_size(data.get("fixed_size")),
        default_size=_size(data.get("default_size")),
        optimizer=_optimizer(data.get("optimizer")),
        targets=int(data.get("targets", 0)),
    )


def _optimizer(data: Any) -> TracedOptimizer | None:
    return (
        None if data is None else TracedOptimizer(str(data["name"]), int(data["state_bytes"]), int(data["step_bytes"]))
    )


def _size(sides: Any) -> tuple[int, int] | None:
    return None if sides is None else (int(sides[0]), int(sides[1]))


def read_variant(data: Mapping[str, Any]) -> Variant:
    """A variant from its JSON form. Raises KeyError, TypeError or ValueError where it is malformed."""
    terms = tuple(data["terms"])
    missing = [term for term in terms if term not in TERMS]
    if missing:
        raise ValueError(f"unknown term {missing[0]!r}")
    return Variant(
        terms=terms,
        fresh=_read_moments(data["fresh"], terms),
        kept=_read_moments(data["kept"], terms),
        evaluation=_read_moments(data["evaluation"], terms),
        residual=float(data["residual"]),
    )


def _read_moments(rows: list[list[Any]], terms: tuple[str, ...]) -> tuple[ProfileMoment, ...]:
    moments = tuple(ProfileMoment(str(row[0]), tuple(map(float, row[1])), int(row[2])) for row in rows)
    if any(len(moment.coefficients) != len(terms) for moment in moments):
        raise ValueError(f"a moment needs {len(terms)} coefficients")
    return moments


def _precision_key(precision: Precision) -> str | None:
    match precision:
        case Precision.FP32:
            return "fp32"
        case Precision.FP16 | Precision.BF16:
            return "amp"
        case Precision.FP8 | Precision.PURE_FP16 | Precision.PURE_BF16:
            return None
