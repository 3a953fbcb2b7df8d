"""Workers as an array of jobs of Slurm, which go on without the process that submitted them."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

from ..errors import ConfigError


class SlurmWorkers:
    """The engine of search.launcher=slurm. options: those of sbatch that the user gave."""

    output = "slurm-*.txt"

    def __init__(self, workers: int, options: str):
        self.workers, self.options = workers, options
        self._job = ""

    def start(self, command: list[str], folder: Path) -> str:
        """Submit the workers; raises ConfigError where there is no sbatch or it refuses."""
        if shutil.which("sbatch") is None:
            raise ConfigError(
                ["search.launcher=slurm: there is no sbatch here; start it where Slurm's commands are"]
            )
        submission = [
            "sbatch",
            "--parsable",
            "--requeue",
            f"--array=0-{self.workers - 1}",
            f"--job-name=cnntrain-{folder.name}",
            f"--output={folder}/slurm-%a.txt",
            "--open-mode=append",
            *shlex.split(self.options),
            f"--wrap={shlex.join(command)}",
        ]
        done = subprocess.run(submission, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ConfigError([f"search.launcher=slurm: {' '.join(done.stderr.split())}"])
        self._job = done.stdout.strip().partition(";")[0]
        return f"slurm     job {self._job}, {self.workers} workers; scancel {self._job} stops them"

    def alive(self) -> bool:
        """Return whether Slurm still has workers, waiting or running."""
        queue = ["squeue", "-h", "-j", self._job]
        done = subprocess.run(queue, capture_output=True, text=True, check=False)
        return done.returncode == 0 and bool(done.stdout.strip())
