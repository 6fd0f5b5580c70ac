"""GPUs, hosts and the target a plan is checked against."""

from __future__ import annotations

from typing import NamedTuple

GIB = 2**30
MIB = 2**20


class Gpu(NamedTuple):
    """One GPU model (or MIG slice) of the catalogue.

    ``total_bytes`` is what the driver reports (``nvidia-smi``); ``usable_bytes`` what a process can get before its own
    CUDA context; ``capability`` the CUDA compute capability as (major, minor), (0, 0) where only the size is known.
    ``source`` says where these come from. ``context_bytes`` is the CUDA context as measured on the card, 0 where only
    the table's interval is known.
    """

    name: str
    title: str
    total_bytes: int
    usable_bytes: int
    capability: tuple[int, int]
    source: str
    context_bytes: int = 0

    @property
    def has_bf16(self) -> bool:
        """Native bf16 arithmetic: compute capability 8.0 (Ampere) and later; an unknown card passes."""
        return self.capability >= (8, 0) or not self.known_capability

    @property
    def has_fast_fp16(self) -> bool:
        """Tensor cores or double-rate fp16: compute capability 7.0 (Volta) and later; an unknown card passes."""
        return self.capability >= (7, 0) or not self.known_capability

    @property
    def known_capability(self) -> bool:
        """False for a generic card, given by its size alone."""
        return self.capability > (0, 0)


class Host(NamedTuple):
    """One machine: logical cores, memory, shared memory and free disk in bytes; None where nobody said."""

    cores: int | None = None
    ram_bytes: int | None = None
    shm_bytes: int | None = None
    disk_bytes: int | None = None


class Target(NamedTuple):
    """What a plan is checked against. ``gpus`` is the number per node. Every part may be unknown (None).

    ``source`` says who chose the GPU: ``--gpu``, a comment in the file, the settings, the job file.
    """

    gpu: Gpu | None = None
    gpus: int | None = None
    nodes: int | None = None
    host: Host = Host()
    source: str = ""

    @property
    def world_size(self) -> int | None:
        """Ranks over all nodes, None where the GPU count is unknown."""
        return None if self.gpus is None else self.gpus * (self.nodes or 1)
