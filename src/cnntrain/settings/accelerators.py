"""Accelerators of this machine, queried from the driver: importing torch for this would take seconds."""

import ctypes
import platform
import sys
from functools import cache


@cache
def cuda_devices() -> int:
    """Return the number of CUDA devices that torch will find; torch counts ROCm devices as CUDA."""
    import importlib.metadata  # takes 15 ms to import

    if "rocm" in importlib.metadata.version("torch"):
        import torch

        return torch.cuda.device_count()
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def has_mps() -> bool:
    """Return whether this is a Mac with an Apple processor (arm64), which has MPS."""
    return sys.platform == "darwin" and platform.machine() == "arm64"
