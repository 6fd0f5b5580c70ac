"""A model's memory from its configuration tree: the ledger as one more form of knowledge."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any, NamedTuple

from vramlint.memory.knowledge import Moment, Workload
from vramlint.memory.layers.registry import Build, Model, UnknownType
from vramlint.memory.layers.stack import MODERN, Stack
from vramlint.memory.layers.tape import Mark, Tape
from vramlint.plan import Precision

LEDGER_SPREAD = 0.10
"""Half-width of the interval on activations: published mmsegmentation runs against the ledger."""


class Step(NamedTuple):
    """What one training step of a model showed."""

    parameters: int
    trainable: int
    buffer_bytes: int
    marks: tuple[Mark, ...]


class LayerModel:
    """A model known by its ``type`` tree. ``facts`` are what the plan knows beside (frames, ground truths, …)."""

    workspace_share = 0.0
    """Convolution workspaces are part of the ledger itself."""

    def __init__(
        self,
        architecture: Mapping[str, Any],
        scope: str,
        *,
        stack: Stack = MODERN,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self._architecture = architecture
        self._scope = scope
        self.stack = stack
        self._facts = dict(facts or {})
        self._steps: dict[tuple[int | bool, ...], Step] = {}
        self._fresh: tuple[Tape, Model] | None = self._made(architecture)
        tape, model = self._fresh
        self._spread = float(getattr(model, "spread", LEDGER_SPREAD))
        self._counts_objects = bool(getattr(model, "counts_objects", self._spread > LEDGER_SPREAD))
        self._assumptions: tuple[str, ...] = getattr(model, "assumptions", ())
        self._parameters, self._trainable, self._buffers = tape.parameter_count, tape.trainable_count, tape.buffer_bytes

    def _made(self, architecture: Mapping[str, Any]) -> tuple[Tape, Model]:
        """A tape for one step, and the model on it."""
        tape = Tape(stack=self.stack)
        tape.varied = bool(self._facts.get("shapes_vary"))
        return tape, self._make(tape, architecture)

    def _make(self, tape: Tape, architecture: Mapping[str, Any]) -> Model:
        build = Build(tape, self._scope, self._facts)
        made: Model = build.make("model", architecture)
        return made

    def _switched(self, *, checkpointing: bool) -> Mapping[str, Any]:
        """The tree with the backbone's ``with_cp`` on where the workload says so: a repair may turn it on."""
        backbone = self._architecture.get("backbone")
        if not checkpointing or not isinstance(backbone, Mapping) or backbone.get("with_cp"):
            return self._architecture
        return {**self._architecture, "backbone": {**backbone, "with_cp": True}}

    @property
    def name(self) -> str:
        """The model's type and its backbone's."""
        backbone = self._architecture.get("backbone")
        inside = f" with {backbone['type']}{backbone.get('depth', '')}" if isinstance(backbone, Mapping) else ""
        return f"{self._architecture.get('type')}{inside}"

    @property
    def parameters(self) -> int:
        return self._parameters

    @property
    def trainable(self) -> int:
        return self._trainable

    @property
    def buffer_bytes(self) -> int:
        return self._buffers

    @property
    def source(self) -> str:
        return f"layer ledger, {self.stack.name}"

    @property
    def spread(self) -> float:
        return self._spread

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What was taken for the parts that depend on the data."""
        if not self._counts_objects:
            return self._assumptions
        objects = self._facts.get("ground_truths")
        count = f"{objects} objects" if objects else "as many objects as the fullest image of COCO or LVIS has"
        return (f"{count} in an image, samplers at their limits, the largest batch that the pipeline allows",)

    def moments(self, workload: Workload) -> tuple[Moment, ...]:
        """The moments that can be the peak of a step on images of the workload's size."""
        if not (workload.height and workload.width and workload.micro_batch):
            return ()
        if workload.precision not in (Precision.FP32, Precision.FP16, Precision.BF16):
            return ()
        marks = self.step(workload).marks
        if not (workload.gradients_kept or self.stack.keeps_gradients):
            return tuple(Moment(*mark) for mark in marks)
        return tuple(Moment(mark.phase, mark.activation_bytes, self._trainable) for mark in marks)

    def step(self, workload: Workload) -> Step:
        """Runs one step on the tape. Raises UnknownType where the model cannot be run at this size."""
        kept = workload.gradients_kept or self.stack.keeps_gradients
        # All of a workload that a step here depends on: the card, say, changes none.
        batch = (workload.micro_batch, workload.height, workload.width)
        key = (*batch, workload.precision.mixed, workload.checkpointing, kept)
        found = self._steps.get(key)
        if found is None:
            found = self._steps[key] = self._run(workload, kept=kept)
        return found

    def _to_run(self, *, checkpointing: bool) -> tuple[Tape, Model]:
        """A model no step ran on: the first is the one that was made to count its parameters."""
        architecture = self._switched(checkpointing=checkpointing)
        fresh, self._fresh = self._fresh, None
        return fresh if fresh is not None and architecture is self._architecture else self._made(architecture)

    def _run(self, workload: Workload, *, kept: bool) -> Step:
        collecting = gc.isenabled()
        gc.disable()
        try:
            tape, model = self._to_run(checkpointing=workload.checkpointing)
            tape.half, tape.gradients_kept = workload.precision.mixed, kept
            images = tape.new(
                workload.micro_batch, int(self._facts.get("in_channels", 3)), workload.height, workload.width
            )
            loss = model.loss(images)
            tape.backward(loss)
        except (
            KeyError,
            TypeError,
            ValueError,
            IndexError,
            AssertionError,
            AttributeError,
            ZeroDivisionError,
        ) as error:
            raise UnknownType(f"the model cannot be run at {workload.height}x{workload.width} ({error!r})") from error
        finally:
            if collecting:
                gc.enable()
        return Step(tape.parameter_count, tape.trainable_count, tape.buffer_bytes, tape.marks())


def understood(architecture: Any, scope: str) -> tuple[int, int, tuple[str, ...]]:
    """How many of the tree's components have a builder, of how many, and the names of those without one."""
    from vramlint.memory.layers.registry import find

    known = total = 0
    missing: list[str] = []
    for kind, name in components(architecture):
        total += 1
        if find(kind, name, scope) is not None:
            known += 1
        else:
            missing.append(name)
    return known, total, tuple(dict.fromkeys(missing))


def components(architecture: Any) -> list[tuple[str, str]]:
    """The model, backbones, necks and heads of a tree with the kind each must have a builder of."""
    if not isinstance(architecture, Mapping):
        return []
    found = [("model", str(architecture.get("type")))]
    for key, value in architecture.items():
        kind = "backbone" if key == "backbone" else "neck" if key == "neck" else "head" if "head" in key else ""
        parts = value if isinstance(value, (list, tuple)) else [value]
        found += [(kind, str(part["type"])) for part in parts if kind and isinstance(part, Mapping) and "type" in part]
    return found
