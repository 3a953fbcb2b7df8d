"""What the C library's heap makes of a run's memory: blocks come and go, and leave holes.

On glibc a freed block stays in the heap for the next step (device.keep_freed_memory), but not every block
fits a hole that another of its size has left: torch asks for aligned memory, for which glibc looks for
112 bytes more than it then uses, and small objects settle in between. The heap ends a quarter to a half
larger than what is ever alive in it, and the same run differs by a tenth from one start to the next.
No rule gives that number, so the library itself is asked: blocks of the same sizes, in the same order,
among the small objects of a real forward and backward pass. Nothing is written into them, so they take
addresses and no memory.
"""

from __future__ import annotations

import bisect
import ctypes
import sys

ALIGNMENT = 64  # torch's, on CPUs


class Heap:
    """Blocks in the heap of this process; `covered` is how many bytes any of them has ever lain on."""

    def __init__(self, library: ctypes.CDLL):
        self._library = library
        self._library.malloc_trim(0)
        self._blocks: dict[int, int] = {}
        self._areas: list[tuple[int, int]] = []  # disjoint, in order
        self._waiting: list[tuple[int, int]] = []
        self.covered = 0

    def allocate(self, block: int, size: int) -> None:
        """Ask for a block, which `settle` makes."""
        self._waiting.append((block, size))

    def free(self, block: int) -> None:
        """Give a block back, which `settle` does."""
        self._waiting.append((block, -1))

    def settle(self) -> None:
        """Make and give back what was asked for since.

        Between two operations, when the objects are gone that only watching the first one needed.
        """
        waiting, self._waiting = self._waiting, []
        for block, size in waiting:
            if size < 0:
                self._library.free(self._blocks.pop(block, None))
            elif size > 0:
                address = ctypes.c_void_p()
                if self._library.posix_memalign(ctypes.byref(address), ALIGNMENT, size) == 0:
                    assert address.value is not None
                    self._blocks[block] = address.value
                    self._cover(address.value, address.value + size)

    def clear(self) -> None:
        """Give all blocks back."""
        self._waiting.clear()
        for address in self._blocks.values():
            self._library.free(address)
        self._blocks.clear()
        self._library.malloc_trim(0)

    def _cover(self, start: int, stop: int) -> None:
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
    """Return the C library where it is glibc, else None."""
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
