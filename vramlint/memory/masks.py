"""A query detector with a mask head of the project's own, which may hold every query's mask at full resolution."""

from __future__ import annotations

from typing import NamedTuple

from vramlint.memory.knowledge import ModelKnowledge, Moment, Workload

COPIES = 12
"""Full-size fp32 masks alive at the loss: three decoder layers and the encoder's proposals (deep supervision, as in
DETR and MaskFormer), each with logits, probabilities and the gradient of the logits.

Read off the structure and held against the second-stage table of field report D, which grows by 18.9 kB a pixel; the
package's own head grows by 4 kB, the rest is 12 masks of 300 queries.
"""


class FullSizeMasks(NamedTuple):
    """``detector`` with masks of all ``queries`` at the size of the image, as the upper bound of an unknown head."""

    detector: ModelKnowledge
    queries: int

    @property
    def name(self) -> str:
        return self.detector.name

    @property
    def source(self) -> str:
        return f"{COPIES} full-size masks of {self.queries} queries beside the {self.detector.source}"

    @property
    def spread(self) -> float:
        return self.detector.spread

    @property
    def parameters(self) -> int:
        return self.detector.parameters

    @property
    def trainable(self) -> int:
        return self.detector.trainable

    @property
    def buffer_bytes(self) -> int:
        return self.detector.buffer_bytes

    def moments(self, workload: Workload) -> tuple[Moment, ...]:
        """The detector's moments, the masks alive in forward, loss and backward."""
        masks = COPIES * 4 * workload.micro_batch * self.queries * workload.height * workload.width
        return tuple(
            moment._replace(activation_bytes=moment.activation_bytes + masks) if moment.phase != "optimizer" else moment
            for moment in self.detector.moments(workload)
        )
