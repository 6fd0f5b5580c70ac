"""Memory of a CUDA process outside torch's allocator, and library workspaces inside it."""

from __future__ import annotations

from vramlint.memory.model import Interval

MIB = 2**20

CONTEXT = Interval(274 * MIB, 430 * MIB, 640 * MIB)
"""CUDA context and loaded kernels.

Measured by others: 287,047,680 bytes after one operation with lazy loading and 666,632,192 without (pytorch/pytorch
PR 86509); 426 MiB on an RTX 6000 Ada with torch 2.10 and CUDA 13 (unslothai/unsloth-zoo PR 1053); "around 400 MB"
(pytorch/pytorch issue 109888). It grows as kernels are first used and differs between cards; until ``vramlint probe``
has measured a card, one interval serves for all.
"""

EAGER_CONTEXT = Interval(540 * MIB, 636 * MIB, 900 * MIB)
"""The same before CUDA 11.7, which loads every kernel at start: 666,632,192 bytes (pytorch/pytorch PR 86509)."""

NCCL = Interval(0, 128 * MIB, 256 * MIB)
"""Buffers of one NCCL communicator: 4 MiB a channel (NCCL_BUFFSIZE's default) to send and to receive, 16 channels for
the value and 32 for the upper bound."""

_WORKSPACE_BYTES = {True: 32 * MIB, False: 8320 * 1024}


def cublas_workspace_bytes(capability: tuple[int, int] | None, *, deterministic: bool = False) -> int:
    """cuBLAS workspaces, which torch takes from its own allocator: one for forward, one for the backward thread.

    Each is 4096 KiB x 2 + 16 KiB x 8 = 8320 KiB, and 4096 KiB x 8 = 32 MiB on Hopper (torch 2.13,
    ``CUDABlas.cpp``/``CublasHandlePool.cpp``, ``CUBLAS_WORKSPACE_CONFIG``).
    ``deterministic`` algorithms need that variable, and ``:4096:8``, which people set, is 32 MiB on every card.
    """
    return 2 * _WORKSPACE_BYTES[deterministic or (capability is not None and capability[0] == 9)]


def transformer_engine_workspace_bytes(capability: tuple[int, int] | None) -> int:
    """Transformer Engine's own cuBLAS workspace: 4 MiB, and 32 MiB and 1 KiB from Hopper on.

    TransformerEngine 2.x ``pytorch/module/base.py`` ``get_cublas_workspace_size_bytes``.
    """
    return 32 * MIB + 1024 if capability is not None and capability >= (9, 0) else 4 * MIB
