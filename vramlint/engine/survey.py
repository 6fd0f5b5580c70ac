"""A look at a repository, for ``vramlint init``: what trains here, on how many GPUs, on which card."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from vramlint.engine.check import check
from vramlint.engine.options import CheckOptions
from vramlint.errors import TargetError
from vramlint.hardware.catalogue import find_gpu
from vramlint.plan import Origin
from vramlint.results import CheckResult


class Survey(NamedTuple):
    """What was found. ``gpu_source`` says where the card's name comes from; both are empty where nobody names one."""

    result: CheckResult
    files_seen: int
    dialects: Counter[str]
    gpu: str
    gpu_source: str
    gpus: int | None
    gpus_source: str


def survey(paths: Sequence[str], options: CheckOptions) -> Survey:
    """Look at ``paths``. Raises as ``check`` does."""
    result = check(paths, options)
    dialects = Counter(run.reading.plan.dialect for run in result.runs)
    gpu, gpu_source = _card(result)
    gpus, gpus_source = _gpus(result)
    return Survey(result, result.files_seen, dialects, gpu, gpu_source, gpus, gpus_source)


def _card(result: CheckResult) -> tuple[str, str]:
    """The card that most runs name themselves, else that of this machine."""
    named = Counter((run.target.gpu.name, run.target.source) for run in result.runs if run.target.gpu is not None)
    if named:
        ((name, source), _) = named.most_common(1)[0]
        return name, source
    found = local_card()
    return (found, "nvidia-smi on this machine") if found else ("", "")


def _gpus(result: CheckResult) -> tuple[int | None, str]:
    """GPUs per node as most launch lines have it."""
    counts: Counter[int] = Counter()
    for run in result.runs:
        world, nodes = run.reading.plan.world_size, run.reading.plan.nodes.value or 1
        if world.value and world.origin is Origin.LAUNCH and world.value % nodes == 0:
            counts[world.value // nodes] += 1
    if not counts:
        return None, ""
    ((most, number),) = counts.most_common(1)
    return most, f"{number} of {counts.total()} launch lines"


def local_card() -> str | None:
    """The name of this machine's first card, as the catalogue has it; None without one or with one it lacks."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True, env=os.environ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    name, _, mib = told.partition("\n")[0].rpartition(",")
    bare = re.sub(r"(?i)\b(nvidia|geforce|tesla|quadro|laptop gpu|generation)\b", "", name).strip()
    size = f"{round(int(mib) / 1024)}gb" if mib.strip().isdigit() else ""
    for word in (f"{bare} {size}", bare):
        try:
            return find_gpu(word.strip()).name
        except TargetError:
            continue
    return None
