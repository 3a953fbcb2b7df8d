"""The other processes with which a run trains its network: started here, or by torchrun.

The process of the run, rank 0, assembles the run alone. It then hands the others its configuration and its
state, and they assemble the same from these, as a continued run does: nothing is drawn, fitted or read twice.
"""

from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import torch

from ..assemble.run import Assembled
from ..config import stored_config
from ..data.batches import Batches
from ..errors import ConfigError
from ..settings.config_tree import Config
from ..training.device import share_cores
from ..training.evaluate_split import Evaluation, evaluate_split
from ..training.process_group import ALONE, ProcessGroup, SeveralProcesses
from ..training.process_meeting import CONNECTING, PATIENCE
from ..training.process_place import Place, place
from ..training.stop_rule import StopRule
from ..training.sync_batch_norm import separate_batch_norm, synchronize_batch_norm
from ..training.training_step import TrainingStep

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

# Seconds that the others get to end by themselves.
ENDING = 10.0


class Processes:
    """The processes of a run, as rank 0 sees them."""

    def __init__(self) -> None:
        self.group: ProcessGroup = ALONE
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, config: Config) -> None:
        """Start the other processes, which prepare themselves while the run is assembled."""
        here = place()
        if here is not None:
            self.group = started_by_torchrun(here)
        elif config.trainer.processes > 1:
            here = Place(0, config.trainer.processes, 0, config.trainer.processes)
            store, port = _own_store()
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
            for rank in range(1, here.size):
                self._children.append(_started(here._replace(rank=rank, local_rank=rank), port))
            self.group = SeveralProcesses(here, lambda: store, self._gone)
        else:
            return
        share_cores(here.local_size)
        take_device(config, here)

    def begin(self, config: Config, assembled: Assembled, folder: str, stop_rule: StopRule) -> None:
        """Hand the run to the other processes, which train with this one from here on."""
        if not isinstance(self.group, SeveralProcesses):
            return
        self.group.meeting.begin()
        self.group.enter()
        work = {"config": stored_config.to_yaml(config), "folder": folder, "stop_rule": stop_rule}
        self.group.broadcast(work | {"state": assembled.trainer.state()})
        train_with(self.group, config, assembled)

    def _gone(self) -> str | None:
        """Return how one of the processes that were started here has ended, None while all are there."""
        for rank, child in enumerate(self._children, 1):
            if (code := child.poll()) is not None:
                how = (
                    f"was killed by signal {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
                )
                return f"rank {rank} (process {child.pid}) {how}"
        return None

    def end(self) -> None:
        """Let the other processes end."""
        if not isinstance(self.group, SeveralProcesses):
            return
        if self._children:
            self.group.meeting.end(0, seconds=0)
        seconds = ENDING if self.group.leave() else 0  # those that have not come yet need no time
        share_cores(1)
        for child in self._children:
            try:
                child.wait(seconds)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.group, self._children = ALONE, []


def take_device(config: Config, here: Place) -> None:
    """Let "cuda" be the CUDA device of this process's own."""
    if config.trainer.device != "cpu" and torch.cuda.is_available():
        torch.cuda.set_device(here.local_rank)


def train_with(group: ProcessGroup, config: Config, assembled: Assembled) -> None:
    """Let an assembled run be trained with the processes of a group."""
    step, batches = assembled.trainer.step, assembled.trainer.train_batches
    smallest = len(batches.images) // len(batches)
    if not batches.drop_last and smallest < group.size * step.accumulate_steps:
        of_parts = f" in trainer.accumulate_steps={step.accumulate_steps} parts"
        raise ConfigError(
            [
                f"trainer.processes={group.size}: there are batches of {smallest} images{of_parts}, fewer "
                "than one for each; write a larger data.batch_size, or fewer processes"
            ]
        )
    step.group = group
    if config.trainer.sync_batch_norm:
        synchronize_batch_norm(step.network, group)


def work_alone(step: TrainingStep) -> None:
    """Let a step be used by rank 0 alone, once the others have nothing more to do."""
    step.group = ALONE
    separate_batch_norm(step.network)


def evaluate_together(step: TrainingStep, batches: Batches) -> Evaluation:
    """Return loss and metrics of the network of rank 0 over a split, evaluated by all processes."""
    if step.group.size > 1:
        step.network.load_state_dict(step.group.broadcast(step.network.state_dict()))
    return evaluate_split(
        step.network, step.preprocess, step.criterion, batches, step.compute, group=step.group
    )


@functools.cache
def started_by_torchrun(here: Place) -> SeveralProcesses:
    """Return the group of the processes that the environment tells of, which is one for this process."""
    return SeveralProcesses(here, lambda: store_of(here), lambda: None)


def store_of(here: Place) -> Store:
    """Return the store by which the processes that the environment tells of find each other."""
    from torch._C._distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://", here.rank, here.size, timeout=CONNECTING))
    store.set_timeout(PATIENCE)
    return PrefixStore("cnntrain", store)


def _own_store() -> tuple[Store, int]:
    """Return a store at a free port of this machine, which no other machine can reach."""
    from torch._C._distributed_c10d import PrefixStore, TCPStore

    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    store = TCPStore(
        "127.0.0.1",
        port,
        is_master=True,
        wait_for_workers=False,
        timeout=CONNECTING,
        master_listen_fd=listening.detach(),
    )
    return PrefixStore("cnntrain", store), port


def _started(here: Place, port: int) -> subprocess.Popen[bytes]:
    """Start a process that a terminal's signals do not reach: rank 0 decides what all of them do."""
    return subprocess.Popen(
        [sys.executable, "-m", "cnntrain"],
        env=os.environ | here.environment(port),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        process_group=0,
    )
