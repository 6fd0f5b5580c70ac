"""GPUs and hosts: the catalogue and the target a plan is checked against."""

from vramlint.hardware.catalogue import find_gpu, gpus
from vramlint.hardware.model import GIB, MIB, Gpu, Host, Target

__all__ = ["GIB", "MIB", "Gpu", "Host", "Target", "find_gpu", "gpus"]
