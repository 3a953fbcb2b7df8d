"""How the processes of a run find each other and say how they end: by keys in a store of torch.distributed.

torchrun keeps its store when it starts the processes again, with the keys of those that have failed. So rank
0 begins a part of the store of its own, and answers each process that has come with the name of that part.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from .process_place import Place

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

# How long a process waits for rank 0, which may be busy with data, a checkpoint or a hook.
PATIENCE = timedelta(hours=6)
# How long it may take until processes are started on all machines.
CONNECTING = timedelta(minutes=10)
# Seconds in which processes notice that one is gone, and say that they are there; between two looks; and in
# which those that have just been started are told that the run has ended already.
ROLL_CALL, LOOK, TOLD = 3.0, 0.02, 30.0
BEGIN, END = "begin", "end"


class Meeting:
    """The part of the store that the processes of one start have in common."""

    def __init__(self, here: Place, store: Store):
        """Waits for rank 0 in the other processes."""
        from torch._C._distributed_c10d import PrefixStore

        self.here = here
        self._whole, own = store, uuid.uuid4().hex
        if here.rank > 0:
            store.set(f"hello/{here.rank}", own)
            own = store.get(f"part/{own}").decode()
        self._name = own
        self.store: Store = PrefixStore(own, store)
        self.store.set(f"process/{here.rank}", f"process {os.getpid()} on {socket.gethostname()}")

    def all_there(self) -> bool:
        """Return whether all processes have come; rank 0 answers those that have come since."""
        for rank in range(1, self.here.size) if self.here.rank == 0 else ():
            if self._whole.check([f"hello/{rank}"]):
                self._whole.set(f"part/{self._whole.get(f'hello/{rank}').decode()}", self._name)
        return bool(self.store.check([f"process/{rank}" for rank in range(self.here.size)]))

    def begin(self) -> None:
        """Let the other processes begin."""
        self.store.set(BEGIN, "")

    def end(self, exit_code: int, seconds: float = TOLD) -> None:
        """Tell the other processes that the run has ended; those that have not come yet within so long."""
        self.store.set(END, str(exit_code))
        self.store.set(BEGIN, "")
        deadline = time.monotonic() + seconds
        while not self.all_there() and time.monotonic() < deadline:
            time.sleep(LOOK)

    def begins(self) -> bool:
        """Return whether to begin, once rank 0 says so; False where the run has ended before."""
        self.store.get(BEGIN)
        return not self.has_ended()

    def has_ended(self) -> bool:
        """Return whether rank 0 has said that the run has ended; False where it cannot be asked."""
        try:
            return bool(self.store.check([END]))
        except (RuntimeError, OSError):
            return False

    def exit_code(self) -> int:
        """Return with what rank 0 ends, once it does; 0 where it was alone in holding the store."""
        try:
            return int(self.store.get(END))
        except (RuntimeError, OSError):
            return 0

    def fail(self, message: str) -> None:
        """Say why this process ends; raises RuntimeError where the store is gone."""
        self.store.set(f"failed/{self.here.rank}", message)

    def call_roll(self, gone: Callable[[], str | None]) -> tuple[list[int], str]:
        """Return the ranks that are gone, and what to say of them.

        gone: says how a process that was started by this one, or has started it, has ended.
        """
        try:
            return self._called_roll(gone)
        except (RuntimeError, OSError):  # the store has ended, and with it rank 0, which held it
            return [0], "rank 0, which wrote the run, has ended without an error"

    def _called_roll(self, gone: Callable[[], str | None]) -> tuple[list[int], str]:
        rank, size = self.here.rank, self.here.size
        self.store.set(f"present/{rank}", "")
        missing, deadline = [other for other in range(size) if other != rank], time.monotonic() + ROLL_CALL
        while missing and time.monotonic() < deadline:
            for other in missing:
                if self.store.check([f"failed/{other}"]):
                    return [other], f"rank {other}: {self.store.get(f'failed/{other}').decode()}"
            if (message := gone()) is not None:
                return missing, message
            missing = [other for other in missing if not self.store.check([f"present/{other}"])]
            time.sleep(LOOK)
        if not missing:
            return [], "the connection between the processes broke"
        names = [f"rank {other} ({self.store.get(f'process/{other}').decode()})" for other in missing]
        return missing, f"{' and '.join(names)} {'has' if len(names) == 1 else 'have'} ended without an error"
