"""The shipped profiles against traces made now: a random 5 % of timm's models, others with every change of the pack."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import random
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from vramlint.memory.knowledge import Workload  # noqa: E402
from vramlint.memory.pack import Pack, pack_key  # noqa: E402
from vramlint.memory.profile import Profile, load_profile  # noqa: E402
from vramlint.memory.profile_catalogue import FOLDER  # noqa: E402
from vramlint.plan import Precision  # noqa: E402
from vramlint.trace.events import Shape  # noqa: E402

Apart = Callable[[Callable[[], Any]], Any]

SHARE = 0.05
EQUAL = 0.005
"""The gate that every profile passed when it was made, at other shapes than this one."""
LOOSE = 0.02
"""Allowed where the profile itself says that it is not exact: its layers round sizes, or take other paths at some."""

PACK = Pack(str(Path(FOLDER, "timm.jsonl")))
SEED = os.environ.get("VRAMLINT_CATALOGUE_SEED") or hashlib.sha256(Path(FOLDER, "timm.jsonl").read_bytes()).hexdigest()
"""The choice is random and the same for everybody until the pack changes: what was green does not turn red by itself.
Set the variable to make another."""

EXACT = 0.0005
"""Residual up to which a profile follows its model's memory in every layer, so that other shapes are as exact."""

CPU_SECONDS = 110
"""Processor time after which no further model is begun; 58 take about 85 s on the machine of 2026-11."""

FEWEST = 20
"""Models that have to be compared in that time."""


def chosen() -> list[Profile]:
    names = PACK.names()
    picked = random.Random(SEED).sample(names, max(1, round(SHARE * len(names))))
    found = [load_profile(PACK.find(pack_key(name)) or {}) for name in picked]
    return [profile for profile in found if "amp" in profile.variants]


def same_timm() -> bool:
    if importlib.util.find_spec("timm") is None:
        return False
    return metadata.version("timm") == PACK.find("resnet50")["built_by"]["timm"]  # type: ignore[index]


@pytest.mark.skipif(not same_timm(), reason="needs the timm that the catalogue was made with")
def test_a_random_share_equals_what_is_shipped(apart: Apart) -> None:
    compared, differences = apart(lambda: compare(chosen()))
    assert compared >= FEWEST
    assert not differences, f"seed {SEED}"


def compare(profiles: list[Profile]) -> tuple[int, list[str]]:
    """How many profiles were compared before the time was up, and what differs."""
    found: list[str] = []
    for number, profile in enumerate(profiles):
        if time.process_time() > CPU_SECONDS:
            return number, found
        found += differing(profile)
    return len(profiles), found


def differing(profile: Profile) -> list[str]:
    """What differs between the shipped profile and one trace under autocast, in words."""
    from vramlint.trace.making import VariantName, trace
    from vramlint.trace.targets import find_target

    height, width = profile.fixed_size or profile.default_size or (224, 224)
    shape = Shape(3, height, width)
    target = find_target(f"timm/{profile.name}")
    recording = trace(target, VariantName("amp", checkpointing=False), shape)
    moments = profile.moments(Workload(3, Precision.BF16, checkpointing=False, height=height, width=width))
    found = []
    for part, phases in (("fresh", ("forward", "backward", "optimizer")), ("evaluation", ("evaluation",))):
        shipped = max(m.activation_bytes + 4 * m.gradient_elements for m in moments if m.phase in phases)
        traced = max(
            level.activation_bytes + 4 * level.gradient_elements
            for level in recording.levels()
            if level.phase.partition(":")[0] == part and level.phase.partition(":")[2] in phases
        )
        exact = profile.size_multiple > 1 and profile.variants["amp"].residual <= EXACT
        allowed = EQUAL if exact else LOOSE
        if abs(shipped / traced - 1) > allowed:
            found.append(f"{profile.name} {part}: shipped {shipped}, traced {traced}")
    if (profile.parameters, profile.buffer_bytes) != (recording.parameters, recording.extra_bytes()):
        found.append(f"{profile.name}: {profile.parameters} parameters shipped, {recording.parameters} traced")
    return found
