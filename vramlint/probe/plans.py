"""Which sweep the command line asks for."""

from __future__ import annotations

from vramlint.errors import ProbeError
from vramlint.probe.sweep import Plan

QUICK = Plan(models=(("resnet50", 224), ("decoder", 512)), batches=(2, 8, 32), optimizers=("adamw",))
"""36 settings at most."""


def chosen(models: tuple[str, ...], batches: tuple[int, ...], *, quick: bool) -> Plan:
    """The full sweep or the quick one, cut to the models and batches asked for. Raises ProbeError for other names."""
    full = Plan()
    unknown = [name for name in models if name not in dict(full.models)]
    if unknown:
        raise ProbeError(f"the sweep has no model {unknown[0]!r}", help=f"Choose from {', '.join(dict(full.models))}.")
    plan = QUICK if quick else full
    if models:
        plan = plan._replace(models=tuple(pair for pair in full.models if pair[0] in models))
    return plan._replace(batches=tuple(sorted(set(batches)))) if batches else plan
