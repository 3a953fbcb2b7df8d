"""The place of this process among those that were started together, by its environment. Imports no torch."""

from __future__ import annotations

import os
from typing import NamedTuple

# What torchrun sets in the environment of each process, and `jobs/processes.py` for those that it starts.
RANK, SIZE, LOCAL_RANK, LOCAL_SIZE = "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"
ADDRESS, PORT = "MASTER_ADDR", "MASTER_PORT"
RESTARTS = "TORCHELASTIC_RESTART_COUNT"
# Broken connections are reported by us; torch would print the stack of its own functions for each.
TORCH_LOG = ("TORCH_CPP_LOG_LEVEL", "ERROR")
# Of ours: the process that started this one, and with which it ends.
PARENT = "CNNTRAIN_PARENT"


class Place(NamedTuple):
    """The rank of a process among `size`, and its rank among the `local_size` on its machine."""

    rank: int
    size: int
    local_rank: int
    local_size: int

    def environment(self, port: int) -> dict[str, str]:
        """Return what tells a process of its place, in a group whose store is at this port of the machine."""
        numbers = {RANK: self.rank, SIZE: self.size, LOCAL_RANK: self.local_rank, LOCAL_SIZE: self.local_size}
        return {name: str(number) for name, number in numbers.items()} | {
            ADDRESS: "127.0.0.1",
            PORT: str(port),
            PARENT: str(os.getpid()),
        }


def place() -> Place | None:
    """Return the place that the environment gives this process, None where it was started alone."""
    if not all(os.environ.get(name, "") for name in (RANK, SIZE, ADDRESS, PORT)):
        return None
    rank, size = int(os.environ[RANK]), int(os.environ[SIZE])
    local_rank, local_size = os.environ.get(LOCAL_RANK, rank), os.environ.get(LOCAL_SIZE, size)
    return Place(rank, size, int(local_rank), int(local_size)) if size > 1 else None


def parent_is_gone() -> bool:
    """Return whether the process of the run that started this one has ended; False under torchrun."""
    return PARENT in os.environ and os.getppid() != int(os.environ[PARENT])


def restarts() -> int:
    """Return how often torchrun has started the processes again after one had failed."""
    return int(os.environ.get(RESTARTS, "0"))
