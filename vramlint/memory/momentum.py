"""Momentum contrast (MoCo): traced as a whole, or composed around a backbone whose memory is known."""

from __future__ import annotations

from typing import NamedTuple

from vramlint.memory.knowledge import ModelKnowledge, Moment, Workload, Wrapped
from vramlint.memory.profile import Profile

_HIDDEN = 4096
"""Hidden width of projector and predictor (facebookresearch/moco-v3 ``main_moco.py --moco-mlp-dim``, default 4096)."""

_FEATURES = {"resnet18": 512, "resnet34": 512}
_FEATURES_DEFAULT = 2048
"""Width of the backbone's pooled output: 2048 for ResNet-50 and larger."""


class MomentumPair(NamedTuple):
    """A trained encoder with projector and predictor, a momentum encoder without gradients, and a queue.

    ``views`` of every sample pass through each encoder: two in MoCo v3 (facebookresearch/moco-v3 ``moco/builder.py``),
    one in MoCo v1 and v2. The queue holds ``queue_size`` keys of ``dimension`` in fp32.
    """

    backbone: ModelKnowledge
    views: int
    dimension: int
    queue_size: int

    @property
    def name(self) -> str:
        return f"MoCo with {self.backbone.name}"

    @property
    def source(self) -> str:
        return f"two encoders around the {self.backbone.source}"

    @property
    def spread(self) -> float:
        return self.backbone.spread

    @property
    def parameters(self) -> int:
        return self.trainable + self._momentum_parameters

    @property
    def trainable(self) -> int:
        predictor = 2 * self.dimension * _HIDDEN
        return self._momentum_parameters + predictor

    @property
    def _momentum_parameters(self) -> int:
        """Backbone and a projector of two layers; the predictor belongs to the trained encoder alone."""
        features = _FEATURES.get(self.backbone.name, _FEATURES_DEFAULT)
        return self.backbone.trainable + features * _HIDDEN + _HIDDEN * self.dimension

    @property
    def buffer_bytes(self) -> int:
        return 2 * self.backbone.buffer_bytes + 4 * self.dimension * self.queue_size

    def moments(self, workload: Workload) -> tuple[Moment, ...]:
        """The backbone's moments with all views in the batch, and the momentum pass beside the kept activations."""
        all_views = workload._replace(micro_batch=workload.micro_batch * self.views)
        found = [moment for moment in self.backbone.moments(all_views) if moment.phase != "evaluation"]
        if not found:
            return ()
        logits = 4 * workload.micro_batch * self.views * (self.queue_size + workload.micro_batch)
        found = [moment._replace(activation_bytes=moment.activation_bytes + 2 * logits) for moment in found]
        kept = max((m.activation_bytes for m in found if m.phase in ("forward", "loss")), default=0)
        transient = self._momentum_pass_bytes(workload)
        done = self.trainable if workload.gradients_kept else 0
        return (*found, Moment("momentum encoder", kept + transient, done))

    def _momentum_pass_bytes(self, workload: Workload) -> int:
        if not isinstance(self.backbone, Profile):
            return 0
        return self.backbone.forward_without_graph_bytes(workload) or 0


TRACED_QUEUE = 65536
"""Keys of the queue in the shipped MoCo profiles, which name it among their assumptions."""


class Requeued(Wrapped):
    """A traced MoCo whose queue has another length or width than the trace's ``traced_dimension`` x TRACED_QUEUE.

    The logits against the queue stay those of the traced length.
    """

    def __init__(self, profile: Profile, traced_dimension: int, dimension: int, queue_size: int) -> None:
        super().__init__(profile)
        self.traced_dimension = traced_dimension
        self.dimension = dimension
        self.queue_size = queue_size

    @property
    def buffer_bytes(self) -> int:
        traced = 4 * self.traced_dimension * TRACED_QUEUE
        return self.inside.buffer_bytes - traced + 4 * self.dimension * self.queue_size


class OneSegment(Wrapped):
    """MoCo v3 whose checkpointing wraps each encoder pass as a whole, so that one view is recomputed at a time.

    The states are those of ``whole``, the activations those of ``single_view`` (MoCo v2) without checkpointing.
    """

    def __init__(self, whole: Requeued, single_view: Requeued) -> None:
        super().__init__(whole)
        self.single_view = single_view

    def moments(self, workload: Workload) -> tuple[Moment, ...]:
        """One view's moments, every activation kept; none where nothing is checkpointed."""
        if not workload.checkpointing:
            return ()
        found = self.single_view.moments(workload._replace(checkpointing=False))
        if not workload.gradients_kept:
            return found
        return tuple(moment._replace(gradient_elements=self.trainable) for moment in found)
