"""Peak memory of a training run, without torch: states, activations, phases, allocator, intervals."""

from vramlint.memory.estimate import estimate
from vramlint.memory.knowledge import ModelKnowledge, Moment, Workload
from vramlint.memory.model import Component, Estimate, Interval, Verdict

__all__ = ["Component", "Estimate", "Interval", "ModelKnowledge", "Moment", "Verdict", "Workload", "estimate"]
