"""The CUDA card of this machine, through torch and NVML."""

from __future__ import annotations

import gc
import importlib
import importlib.util
from typing import Any

import torch

from vramlint.errors import ProbeError, TraceError
from vramlint.probe.backend import Card, Meters, NotHere, OutOfMemory, Setting
from vramlint.probe.workloads import job_of, train

_MIB = 2**20


def require_cuda() -> None:
    """Raises ProbeError, in one line, where there is no card to measure."""
    if not torch.cuda.is_available():
        raise ProbeError(
            "no CUDA card here: probe measures a real one", help="Run `vramlint probe` on the machine that trains."
        )
    if importlib.util.find_spec("pynvml") is None:
        raise ProbeError("probe needs NVML", help="Install it with: pip install 'vramlint[probe]'")


class CudaBackend:
    """One card. ``device_bytes`` are NVML's for the whole card, so measure on a card that nobody else uses."""

    def __init__(self, index: int = 0) -> None:
        require_cuda()
        self._nvml: Any = importlib.import_module("pynvml")
        self._nvml.nvmlInit()
        self._index = index
        self._device = torch.device("cuda", index)
        # CUDA_VISIBLE_DEVICES renumbers torch's cards and not NVML's: the UUID is the same in both.
        uuid = str(torch.cuda.get_device_properties(index).uuid)
        self._handle = self._nvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")

    def card(self) -> Card:
        """The card, its driver and the software."""
        properties = torch.cuda.get_device_properties(self._index)
        return Card(
            name=properties.name,
            capability=f"{properties.major}.{properties.minor}",
            total_bytes=int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).total),
            driver=_text(self._nvml.nvmlSystemGetDriverVersion()),
            torch=torch.__version__,
            cuda=str(torch.version.cuda),
        )

    def idle_bytes(self) -> int:
        """Bytes in use on the card, by whoever."""
        return int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used)

    def start(self) -> Meters:
        """Context and first tensor."""
        torch.ones(1, device=self._device)
        return self._meters()

    def multiply(self) -> Meters:
        """cuBLAS with its workspace."""
        for dtype in (torch.float16, torch.float32):
            matrix = torch.ones(1024, 1024, device=self._device, dtype=dtype)
            matrix @ matrix
        return self._meters()

    def convolve(self) -> Meters:
        """cuDNN, forward and backward."""
        layer = torch.nn.Conv2d(64, 64, 3, padding=1).to(self._device)
        layer(torch.ones(8, 64, 64, 64, device=self._device)).sum().backward()
        return self._meters()

    def communicate(self) -> Meters | None:
        """NCCL between this card and another, in this one process: a communicator has the same buffers in many."""
        others = [index for index in range(torch.cuda.device_count()) if index != self._index]
        if not others:
            return None
        nccl: Any = importlib.import_module("torch.cuda.nccl")
        tensors = [torch.ones(2**20, device=torch.device("cuda", index)) for index in (self._index, others[0])]
        nccl.all_reduce(tensors)
        torch.cuda.synchronize(others[0])
        return self._meters()

    def largest_bytes(self) -> int:
        """Allocates in steps of 64 MiB until the card refuses; gives all of it back."""
        torch.cuda.empty_cache()
        held: list[torch.Tensor] = []
        size = 64 * _MIB
        while size >= 2 * _MIB:
            try:
                held.append(torch.empty(size, dtype=torch.uint8, device=self._device))
            except torch.cuda.OutOfMemoryError:
                size //= 2
        total = sum(item.numel() for item in held)
        held.clear()
        torch.cuda.empty_cache()
        return total

    def train(self, setting: Setting, steps: int) -> Meters:
        """The peaks of the steps, from an empty cache."""
        gc.collect()
        torch.cuda.empty_cache()
        try:
            job = job_of(setting, self._device)
            torch.cuda.reset_peak_memory_stats(self._device)  # building may take more than training
            train(job, setting, self._device, steps)
            torch.cuda.synchronize(self._device)
        except torch.cuda.OutOfMemoryError as error:
            raise OutOfMemory from error
        except TraceError as error:
            raise NotHere(error.message) from error
        except Exception as error:  # a model's package of another version must not end the sweep
            lines = str(error).strip().splitlines() or [""]
            raise NotHere(f"{type(error).__name__}: {lines[0][:200]}") from error
        return Meters(
            torch.cuda.max_memory_allocated(self._device),
            torch.cuda.max_memory_reserved(self._device),
            self.idle_bytes(),  # the cache is still held, so this is the highest the driver has seen
        )

    def _meters(self) -> Meters:
        torch.cuda.synchronize(self._device)
        return Meters(
            torch.cuda.memory_allocated(self._device), torch.cuda.memory_reserved(self._device), self.idle_bytes()
        )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
