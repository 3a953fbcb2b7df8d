"""The peak of a process's memory beside what the machine has."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

# The limit of a container, by version of Linux's control groups.
CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
# Beside each limit: the file of what is used of it, and the files kept in memory in memory.stat.
CONTAINER_USE = ("memory.current", "memory.usage_in_bytes")
KEPT_FILES = ("inactive_file", "total_inactive_file")
MEMORY = Path("/proc/meminfo")


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


def available_memory() -> int | None:
    """Return the bytes that a process can still take without others giving any back; None if unknown.

    Within the container's limit; files that the system keeps in memory can be given up.
    """
    try:
        fields = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines())
        available = 1024 * int(fields["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError, IndexError):
        return None
    return max(0, min([available, *_left_in_containers()]))


def _left_in_containers() -> list[int]:
    left = []
    for limit, used, kept in zip(CONTAINER_LIMITS, CONTAINER_USE, KEPT_FILES, strict=True):
        try:
            lines = limit.with_name("memory.stat").read_text().splitlines()
            files = next((int(line.split()[1]) for line in lines if line.split()[0] == kept), 0)
            free = int(limit.read_text()) - int(limit.with_name(used).read_text()) + files
        except (OSError, ValueError):  # there is none, or the limit is "max"
            continue
        left.append(free)
    return left


def _container_limits() -> list[int]:
    limits = []
    for file in CONTAINER_LIMITS:
        try:
            limits.append(int(file.read_text()))
        except (OSError, ValueError):  # there is none, or it is "max"
            continue
    return limits
