"""Workers of a sweep as jobs of Slurm: each is `cnntrain -m run=FOLDER` on a node that sees the folder (H6).

Slurm places workers and starts them again after a node is lost; which job of the sweep is trained by whom is
decided in the folder, as everywhere.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from ..config.sweep import CheckedSweep
from ..errors import ConfigError, UserError
from ..metrics import LOWER_IS_BETTER
from ..runs.signals import StopSignals
from ..runs.sweep_folder import JobResults, SweepFolder

# Seconds between two looks at the folder and at Slurm's queue.
POLL = 2.0


def run_on_slurm(sweep: CheckedSweep, folder: SweepFolder) -> None:
    """Submit the workers and wait until nothing is open.

    Raises ConfigError where sbatch refuses, UserError if workers end before the sweep, Interrupted after a
    signal, which leaves the workers at work.
    """
    number = _submit(sweep, folder.path.absolute())
    print(f"slurm     job {number}, {sweep.search.workers} workers; scancel {number} stops them", flush=True)
    plan = sweep.search.plan(sweep.space, sweep.base.trainer.epochs, sweep.base.seed)
    with StopSignals().caught() as signals:
        while signals.received is None:
            results = JobResults(folder.jobs(), frozenset(LOWER_IS_BETTER))
            if all(results.closed(task) for task in plan.tasks(results)):
                return
            if not _in_queue(number):
                raise UserError(
                    f"Slurm's job {number} ended before the sweep (see {folder.path}/slurm-*.txt); the same "
                    "command submits workers again"
                )
            time.sleep(POLL)
    raise signals.received


def _submit(sweep: CheckedSweep, folder: Path) -> str:
    """Submit an array of workers; return its number."""
    if shutil.which("sbatch") is None:
        raise ConfigError(
            ["search.launcher=slurm: there is no sbatch here; start it where Slurm's commands are"]
        )
    worker = [
        sys.executable,
        "-m",
        "cnntrain",
        "-m",
        f"run={folder}",
        "search.launcher=local",
        "search.workers=1",
    ]
    command = [
        "sbatch",
        "--parsable",
        "--requeue",
        f"--array=0-{sweep.search.workers - 1}",
        f"--job-name=cnntrain-{folder.name}",
        f"--output={folder}/slurm-%a.txt",
        "--open-mode=append",
        *shlex.split(sweep.search.slurm),
        f"--wrap={shlex.join([*worker, 'search.report=false'])}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConfigError([f"search.launcher=slurm: {' '.join(done.stderr.split())}"])
    return done.stdout.strip().partition(";")[0]


def _in_queue(number: str) -> bool:
    """Return whether Slurm still has workers of a job, waiting or running."""
    done = subprocess.run(["squeue", "-h", "-j", number], capture_output=True, text=True, check=False)
    return done.returncode == 0 and bool(done.stdout.strip())
