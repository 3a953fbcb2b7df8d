"""Weights & Biases, online or in a folder that `wandb sync` uploads later."""

from __future__ import annotations

import shlex
import sys
import uuid
from typing import Any

import numpy as np
import wandb

from ..runs.metrics_file import Row
from ..runs.status import FINISHED
from .sink import End, LoggedRun, numbers

# After so many seconds without an answer of the server, the run is written offline.
INIT_SECONDS = 20.0


class WeightsAndBiases:
    """A run of Weights & Biases, whose x-axis is the step of training.

    wandb has a step of its own, at which a second row is merged into the first, and which has to rise. So it
    counts the histograms, the step, the epoch and the files of each step of training.
    """

    def __init__(self, run: LoggedRun):
        settings = run.settings
        self.ids = run.ids or {"id": uuid.uuid4().hex[:8]}
        self._checkpoint = settings["checkpoint"]
        try:
            self._run = self._init(run, settings["wandb_mode"])
        except wandb.errors.CommError as error:
            print(f"{error}; the run is written offline", file=sys.stderr)
            wandb.teardown()  # its process holds the run's id
            self._run = self._init(run, "offline")
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        # Offline, each process of a continued run has a folder of its own.
        self.where = self._run.url or f"wandb sync {shlex.quote(str(run.folder))}/wandb/offline-run-*"

    def _init(self, run: LoggedRun, mode: Any) -> wandb.Run:
        settings = run.settings
        return wandb.init(
            id=self.ids["id"],
            resume="allow" if run.ids else "never",
            project=settings["project"],
            entity=settings["wandb_entity"],
            name=run.name,
            group=run.group,
            tags=settings["tags"] or None,
            job_type=run.config["job"],
            mode=mode,
            dir=str(run.folder),
            config=run.config,
            allow_val_change=True,  # a continued run may be longer
            settings=wandb.Settings(
                console="off",
                silent=True,
                init_timeout=INIT_SECONDS,
                x_stats_pid=run.process,
                # Seconds for which rows are buffered offline, 15 if it is not set.
                x_transaction_log_flush_interval=1.0,
            ),
        )

    def write(self, row: Row, of_epoch: bool) -> None:
        self._log(row["step"], 1 + of_epoch, dict(numbers(row)))

    def write_histograms(self, row: Row) -> None:
        values = {
            name: wandb.Histogram(np_histogram=_counts_and_edges(value))
            for name, value in row.items()
            if isinstance(value, dict)
        }
        self._log(row["step"], 0, values)

    def _log(self, step: int, kind: int, values: dict[str, Any]) -> None:
        self._run.log({"step": step, **values}, step=4 * step + kind, commit=True)

    def flush(self) -> None:
        """Do nothing: rows are written by a process of the package at once."""

    def close(self, end: End) -> None:
        files: dict[str, Any] = {f"pictures/{path.stem}": wandb.Image(str(path)) for path in end.pictures}
        files |= {f"pages/{path.stem}": wandb.Html(str(path)) for path in end.pages}
        if files:
            self._log(end.step, 3, files)
        self._run.summary.update({**end.results(), "status": end.status})
        if end.checkpoint is not None and self._checkpoint:
            artifact = wandb.Artifact(f"model-{self._run.id}", type="model", metadata=end.results())
            artifact.add_file(str(end.checkpoint))
            self._run.log_artifact(artifact, aliases=["best"])
        self._run.finish(exit_code=0 if end.status == FINISHED else 1)


def _counts_and_edges(histogram: dict[str, Any]) -> tuple[Any, Any]:
    """Return a histogram of instruments.histograms as numpy has it."""
    counts = histogram["counts"]
    return counts, np.linspace(histogram["low"], histogram["high"], len(counts) + 1)
