"""Workers of a sweep on the nodes of a cluster: each is `cnntrain -m run=FOLDER` on one of them (H6).

The cluster's engine places workers and starts them again after a node is lost; which job of the sweep is
trained by whom is decided in the folder, as everywhere.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Protocol

from ..config.sweep import CheckedSweep
from ..errors import UserError
from ..metrics import LOWER_IS_BETTER
from ..runs.signals import StopSignals
from ..runs.sweep_folder import JobResults, SweepFolder

# Seconds between two looks at the folder and at the engine.
POLL = 2.0


class Engine(Protocol):
    """What starts workers on nodes: Slurm or Ray."""

    # Files of the workers' output, below the sweep's folder.
    output: str

    def start(self, command: list[str], folder: Path) -> str:
        """Start the workers; return their name and how they are stopped. Raises ConfigError."""

    def alive(self) -> bool:
        """Return whether any worker is waiting for a node or running."""


def run_on_cluster(sweep: CheckedSweep, folder: SweepFolder, engine: Engine) -> None:
    """Start the workers and wait until nothing is open.

    Raises ConfigError where the engine refuses, UserError if workers end before the sweep, Interrupted after
    a signal.
    """
    path = folder.path.absolute()
    worker = [sys.executable, "-m", "cnntrain", "-m", f"run={path}"]
    overrides = ["search.launcher=local", "search.workers=1", "search.report=false"]
    print(engine.start([*worker, *overrides], path), flush=True)
    plan = sweep.search.plan(sweep.space, sweep.base.trainer.epochs_counted(), sweep.base.seed)
    with StopSignals().caught() as signals:
        while signals.received is None:
            alive = engine.alive()  # before the look at the folder, which they may have changed since
            results = JobResults(folder.jobs(), frozenset(LOWER_IS_BETTER))
            if all(results.closed(task) for task in plan.tasks(results)):
                return
            if not alive:
                raise UserError(
                    f"the workers ended before the sweep (see {folder.path}/{engine.output}); the same "
                    "command starts workers again"
                )
            time.sleep(POLL)
    raise signals.received
