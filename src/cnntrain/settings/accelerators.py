"""Which accelerators this machine has, asked of the driver: importing torch for it would take seconds."""

import ctypes
import platform
import sys
from functools import cache


@cache
def cuda_devices() -> int:
    """Return the number of CUDA devices that torch will find (ROCm's count as CUDA there)."""
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
    """Return whether this is a Mac with Apple's own processor."""
    return sys.platform == "darwin" and platform.machine() == "arm64"
