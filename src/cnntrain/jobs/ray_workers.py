"""Workers as tasks of Ray, which end with the process that started them."""

from __future__ import annotations

import ctypes
import importlib
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any


class RayWorkers:
    """The engine of search.launcher=ray: the cluster of RAY_ADDRESS or of this machine, else a new one.

    threads: CPUs of each worker; it has a GPU as well where the cluster has any.
    """

    output = "ray-*.txt"

    def __init__(self, workers: int, threads: int):
        self.workers, self.threads = workers, threads
        self._tasks: list[Any] = []

    def start(self, command: list[str], folder: Path) -> str:
        """Start the workers; Ray starts one again whose node is lost."""
        ray = importlib.import_module("ray")
        ray.init(log_to_driver=False, logging_level="error", ignore_reinit_error=True)
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        # A process for each worker, which holds its GPU until it ends.
        work = ray.remote(num_cpus=self.threads, num_gpus=gpus, max_retries=-1, max_calls=1)(run_worker)
        self._tasks = [
            work.remote(command, str(folder / f"ray-{number}.txt")) for number in range(self.workers)
        ]
        nodes = sum(node["Alive"] for node in ray.nodes())
        return f"ray       {self.workers} workers on {nodes} node{'' if nodes == 1 else 's'}"

    def alive(self) -> bool:
        """Return whether Ray still has workers, waiting or running."""
        ray = importlib.import_module("ray")
        _, running = ray.wait(self._tasks, num_returns=len(self._tasks), timeout=0)
        return bool(running)


def run_worker(command: list[str], output: str) -> int:
    """Run a worker's command on this node, its output appended to a file; return its exit code.

    On Linux, the worker saves and stops when this process, which is Ray's, ends.
    """
    # PR_SET_PDEATHSIG; looked up before the copy of this process, in which only signal-safe calls may be made
    end_with_ray = partial(ctypes.CDLL(None).prctl, 1, signal.SIGTERM) if sys.platform == "linux" else None
    with Path(output).open("ab") as file:
        return subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, check=False, preexec_fn=end_with_ray
        ).returncode
