"""The peak of a process's memory beside what the machine has."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

# The limit of a container, by version of Linux's control groups.
CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory_row(device: torch.device) -> dict[str, float]:
    """Return peak_memory_gb of this process and memory_gb, all there is, in 1e9 bytes; {} if unknown.

    On a CUDA device that of torch's allocator there, elsewhere the resident memory, and the smaller of the
    machine's memory and the container's limit.
    """
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        return _row(torch.cuda.max_memory_allocated(device), total)
    if not sys.platform.startswith("linux"):
        return {}
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return _row(peak, min([machine, *_container_limits()]))


def _row(peak: int, memory: int) -> dict[str, float]:
    return {"peak_memory_gb": round(peak / 1e9, 2), "memory_gb": round(memory / 1e9, 2)}


def _container_limits() -> list[int]:
    limits = []
    for file in CONTAINER_LIMITS:
        try:
            limits.append(int(file.read_text()))
        except (OSError, ValueError):  # there is none, or it is "max"
            continue
    return limits
