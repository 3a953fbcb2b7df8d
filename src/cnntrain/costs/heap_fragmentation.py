"""Heap size of a run in the C library, including fragmentation.

On glibc a freed block stays in the heap for the next step (device.keep_freed_memory), but a block does not
always fit into the hole that another of its size left: torch requests aligned memory, for which glibc
searches for 112 bytes more than it then uses, and small objects are allocated in between. The heap becomes
25% to 50% larger than the peak of live memory in it, and differs by 10% between starts of the same run.
No formula gives that number, so it is measured: blocks of the same sizes are allocated in the same order,
among the small objects of a real forward and backward pass. Nothing is written to them, so they use address
space but no memory.
"""

from __future__ import annotations

import bisect
import ctypes
import sys

ALIGNMENT = 64  # torch's, on CPUs


class Heap:
    """Blocks in the heap of this process; covered: bytes of address space ever occupied by any of them."""

    def __init__(self, library: ctypes.CDLL):
        self._library = library
        self._library.malloc_trim(0)
        self._blocks: dict[int, int] = {}
        self._areas: list[tuple[int, int]] = []  # disjoint, sorted by address
        self._pending: list[tuple[int, int]] = []
        self.covered = 0

    def allocate(self, block: int, size: int) -> None:
        """Queue the allocation of a block, made by `flush`."""
        self._pending.append((block, size))

    def free(self, block: int) -> None:
        """Queue the release of a block, made by `flush`."""
        self._pending.append((block, -1))

    def flush(self) -> None:
        """Make the queued allocations and releases in order.

        Called between operations, when the temporary objects of tracking the last one have been freed.
        """
        pending, self._pending = self._pending, []
        for block, size in pending:
            if size < 0:
                self._library.free(self._blocks.pop(block, None))
            elif size > 0:
                address = ctypes.c_void_p()
                if self._library.posix_memalign(ctypes.byref(address), ALIGNMENT, size) == 0:
                    assert address.value is not None
                    self._blocks[block] = address.value
                    self._cover(address.value, address.value + size)

    def clear(self) -> None:
        """Free all blocks."""
        self._pending.clear()
        for address in self._blocks.values():
            self._library.free(address)
        self._blocks.clear()
        self._library.malloc_trim(0)

    def _cover(self, start: int, stop: int) -> None:
        """Merge addresses start to stop into the covered areas."""
        areas = self._areas
        first = bisect.bisect_left(areas, (start, 0))
        if first and areas[first - 1][1] >= start:
            first -= 1
            start = areas[first][0]
        last = first
        while last < len(areas) and areas[last][0] <= stop:
            stop = max(stop, areas[last][1])
            self.covered -= areas[last][1] - areas[last][0]
            last += 1
        areas[first:last] = [(start, stop)]
        self.covered += stop - start


def glibc() -> ctypes.CDLL | None:
    """Return the C library if it is glibc, else None."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL("libc.so.6")
        library.posix_memalign.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t, ctypes.c_size_t]
        library.free.argtypes = [ctypes.c_void_p]
        library.malloc_trim.argtypes = [ctypes.c_size_t]
    except (OSError, AttributeError):
        return None
    return library
