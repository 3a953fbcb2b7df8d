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
    memory = all_memory(device)
    if memory is None:
        return {}
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
    else:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"peak_memory_gb": round(peak / 1e9, 2), "memory_gb": round(memory / 1e9, 2)}


def all_memory(device: torch.device) -> int | None:
    """Return the bytes of memory that a device has, within the container's limit; None if unknown."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if not sys.platform.startswith("linux"):
        return None
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_container_limits()])


def _container_limits() -> list[int]:
    limits = []
    for file in CONTAINER_LIMITS:
        try:
            limits.append(int(file.read_text()))
        except (OSError, ValueError):  # there is none, or it is "max"
            continue
    return limits
