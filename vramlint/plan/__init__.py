"""What a run will really do: facts with origins, and effective-batch arithmetic. Names no framework, reads no file."""

from vramlint.plan.batch import (
    CeiledAccumulation,
    DividedAccumulation,
    FlooredAccumulation,
    NominalAccumulation,
    PerRank,
    SharedAccumulation,
    close_batch,
    rederive,
    revise,
)
from vramlint.plan.facts import Fact, Location, Origin, default, derived, unknown
from vramlint.plan.model import (
    FACT_NAMES,
    PLAN_FACTS,
    BatchInputs,
    BatchPolicy,
    BatchResult,
    DecoderShape,
    ImageSize,
    Precision,
    TrainingPlan,
)
from vramlint.plan.tree import ModelTree

__all__ = [
    "FACT_NAMES",
    "PLAN_FACTS",
    "BatchInputs",
    "BatchPolicy",
    "BatchResult",
    "CeiledAccumulation",
    "DecoderShape",
    "DividedAccumulation",
    "Fact",
    "FlooredAccumulation",
    "ImageSize",
    "Location",
    "ModelTree",
    "NominalAccumulation",
    "Origin",
    "PerRank",
    "Precision",
    "SharedAccumulation",
    "TrainingPlan",
    "close_batch",
    "default",
    "derived",
    "rederive",
    "revise",
    "unknown",
]
