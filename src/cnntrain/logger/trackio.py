"""Trackio: a local database with a dashboard in the browser."""

from __future__ import annotations

import itertools
import shlex
import sys
import warnings
from typing import Any

import numpy as np
import trackio

from ..runs.metrics_file import Row
from .sink import End, LoggedRun, flat, numbers


class Trackio:
    """A run of Trackio, which knows runs by their names: a name that is taken gets a number."""

    def __init__(self, run: LoggedRun):
        self._failures: list[str] = []
        warnings.showwarning = self._on_warning
        settings = run.settings
        self._checkpoint = settings["checkpoint"]
        project = settings["project"]
        self._run = trackio.init(
            project,
            name=run.ids.get("name") or _free_name(run.name, project),
            group=run.group,
            config={**flat(run.config), "command": " ".join(run.command), "tags": settings["tags"]},
            resume="allow" if run.ids else "never",
            embed=False,
        )
        self.ids = {"name": self._run.name}
        self.where = f"trackio show --project {shlex.quote(project)}"

    def write(self, row: Row, of_epoch: bool) -> None:
        self._run.log(dict(numbers(row)), step=row["step"])

    def write_histograms(self, row: Row) -> None:
        histograms = {name: value for name, value in row.items() if isinstance(value, dict)}
        self._run.log({name: _histogram(value) for name, value in histograms.items()}, step=row["step"])

    def flush(self) -> None:
        """Raise RuntimeError for rows that could not be written; a thread of the package writes them."""
        if self._failures:
            raise RuntimeError(self._failures[0])

    def _on_warning(self, message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        """Take down what the package warns of: it raises no errors."""
        print(f"{category.__name__}: {message}", file=sys.stderr)
        if category is UserWarning and "trackio" in str(message).lower():
            self._failures.append(str(message))

    def close(self, end: End) -> None:
        files: dict[str, Any] = {f"pictures/{path.stem}": trackio.Image(path) for path in end.pictures}
        files |= {f"pages/{path.stem}": trackio.Html(path) for path in end.pages}
        self._run.log({**end.results(), **files, "status": end.status}, step=end.step)
        if end.checkpoint is not None and self._checkpoint:
            name = f"model-{self._run.id}"
            self._run.log_artifact(end.checkpoint, name=name, type="model", aliases=["best"])
        trackio.finish()  # type: ignore[no-untyped-call]
        self.flush()


def _free_name(name: str, project: str) -> str:
    """Return a name that no run of a project has."""
    try:
        taken = {run.name for run in trackio.Api().runs(project)}
    except ValueError:  # there is no such project yet
        taken = set()
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return name if name not in taken else next(entry for entry in numbered if entry not in taken)


def _histogram(histogram: dict[str, Any]) -> trackio.Histogram:
    """Return a histogram of instruments.histograms as Trackio has it."""
    counts = histogram["counts"]
    edges = np.linspace(histogram["low"], histogram["high"], len(counts) + 1)
    return trackio.Histogram(np_histogram=(counts, edges))
