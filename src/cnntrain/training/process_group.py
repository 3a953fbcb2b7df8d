"""The processes that train one network together, on torch.distributed.

Each holds the whole network and takes its share of every batch. The first, rank 0, is the run: it decides,
writes and prints, and hands the others what they start from. A process that trains alone is a group of one,
for which nothing here does anything.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..data.share import Share
from ..errors import UserError
from .process_meeting import LOOK, PATIENCE, Meeting
from .process_place import Place
from .process_watch import Watch

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store


class LostProcess(UserError):
    """A process of the group has ended, so the others cannot go on.

    is_told: whether this process is the one to say it, among those that are left.
    """

    is_told = True


class ProcessGroup:
    """A group of one process; `SeveralProcesses` is one of more."""

    rank, size = 0, 1

    @property
    def share(self) -> Share:
        """The share of this process in every batch."""
        return Share(self.rank, self.size)

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that decides, writes and prints."""
        return self.rank == 0

    @property
    def seed_parts(self) -> tuple[str | int, ...]:
        """What distinguishes the seeds of this process; those of the first are those of one that is alone."""
        return ("rank", self.rank) if self.rank else ()

    def add_up(self, tensors: list[Tensor]) -> None:
        """Replace tensors by their sums over all processes, which are the same to the bit in each."""

    def add_up_training(self, network: nn.Module, tensors: list[Tensor]) -> None:
        """Replace tensors by their sums, and the running statistics that a step has changed by their means.

        In one exchange: its latency counts more than its bytes.
        """
        if self.size > 1:
            statistics = running_statistics(network)
            self.add_up([*tensors, *statistics])
            for statistic in statistics:
                statistic.div_(self.size)

    def broadcast(self, value: Any) -> Any:
        """Return the value that rank 0 passes."""
        return value

    def gather(self, values: list[Any]) -> list[Any]:
        """Return the values of all processes by rank, in rank 0; in others an empty list."""
        return values

    def largest(self, number: int) -> int:
        """Return the largest of the numbers that the processes pass."""
        return number

    def have_same(self, tensors: Iterable[Tensor]) -> bool:
        """Return whether tensors of float32 are the same in all processes, by the sum of their bits."""
        bits = sum(int(tensor.detach().view(torch.int32).sum()) for tensor in tensors)
        largest, smallest = self.largest(bits), -self.largest(-bits)
        return smallest == largest


ALONE = ProcessGroup()


class SeveralProcesses(ProcessGroup):
    """Processes connected by torch.distributed: by gloo for tensors on the CPU, by NCCL for those on CUDA.

    Every method is called by all of them in the same order; each raises LostProcess where one is gone.
    """

    def __init__(self, here: Place, connect: Callable[[], Store], gone: Callable[[], str | None]):
        """connect: returns the store by which the processes find each other. gone: see `Watch`."""
        self.rank, self.size = here.rank, here.size
        self._watch = Watch(gone)
        self._entered = False
        self.meeting = Meeting(here, connect())

    def enter(self) -> None:
        """Connect with the others; waits for them."""
        import torch.distributed as dist

        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        with self._watched():
            while not self.meeting.all_there():
                if self._watch.gone() is not None:
                    raise self._lost()
                time.sleep(LOOK)
            store, hook = self.meeting.store, sys.excepthook
            dist.init_process_group(
                backend, store=store, rank=self.rank, world_size=self.size, timeout=PATIENCE
            )
            sys.excepthook = hook  # torch's would put the rank before each line of a traceback
        self._entered = True

    def leave(self) -> bool:
        """Give the connections back; return whether there were any."""
        import torch.distributed as dist

        self._watch.end()
        entered, self._entered = self._entered, False
        if entered:
            with suppress(RuntimeError):
                dist.destroy_process_group()
        return entered

    def add_up(self, tensors: list[Tensor]) -> None:
        import torch.distributed as dist

        for group in _by_kind(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in group])
            with self._watched():
                dist.all_reduce(flat)
            parts = torch.split(flat, [tensor.numel() for tensor in group])
            torch._foreach_copy_(group, [part.view_as(one) for part, one in zip(parts, group, strict=True)])

    def broadcast(self, value: Any) -> Any:
        import torch.distributed as dist

        values = [_packed(value) if self.is_first else None]
        with self._watched():
            dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return value if self.is_first else _unpacked(values[0])

    def gather(self, values: list[Any]) -> list[Any]:
        import torch.distributed as dist

        gathered: list[Any] | None = [None] * self.size if self.is_first else None
        with self._watched():
            dist.gather_object(_packed(values), gathered, dst=0)
        return [value for part in gathered or [] for value in _unpacked(part)]

    def largest(self, number: int) -> int:
        import torch.distributed as dist

        value = torch.tensor(number)
        with self._watched():
            dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Raise LostProcess where a connection breaks in the context."""
        try:
            yield
        except (RuntimeError, OSError) as error:
            raise self._lost() from error

    def _lost(self) -> LostProcess:
        """Return the error for a broken connection."""
        self._watch.end()
        missing, message = self.meeting.call_roll(self._watch.gone)
        lost = LostProcess(message)
        lost.is_told = self.rank == next(rank for rank in range(self.size) if rank not in missing)
        return lost


def running_statistics(network: nn.Module) -> list[Tensor]:
    """Return the running statistics of batch normalization that a forward pass in training mode changes."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.training]
    pairs = [(norm.running_mean, norm.running_var) for norm in norms]
    return [buffer for pair in pairs for buffer in pair if buffer is not None]


def _by_kind(tensors: list[Tensor]) -> Iterable[list[Tensor]]:
    """Return the tensors, in order, in groups of one type and device."""
    groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    return groups.values()


def _packed(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def _unpacked(content: Any) -> Any:
    """Return a packed value, with its tensors on the CPU."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)
