"""TensorBoard event files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from .sink import Row


class TensorBoardSink:
    """Writes each number of a record as a scalar under its own name, each histogram as a histogram.

    Events of earlier processes from `purge_step` on are hidden, because those steps are repeated.
    """

    def __init__(self, folder: Path, purge_step: int | None):
        self._writer = SummaryWriter(str(folder), purge_step=purge_step)

    def write(self, row: Row) -> None:
        for name, value in row.items():
            if isinstance(value, int | float) and name != "step":
                self._writer.add_scalar(name, value, row["step"])
            elif isinstance(value, dict):
                self._add_histogram(name, value, row["step"])

    def _add_histogram(self, name: str, histogram: dict[str, Any], step: int) -> None:
        """Write low, high and counts of bins of equal width, as instruments.histograms records them."""
        low, high, counts = histogram["low"], histogram["high"], np.asarray(histogram["counts"])
        edges = np.linspace(low, high, len(counts) + 1)
        middles = (edges[1:] + edges[:-1]) / 2
        self._writer.add_histogram_raw(
            name,
            min=low,
            max=high,
            num=int(counts.sum()),
            sum=float((counts * middles).sum()),
            sum_squares=float((counts * middles**2).sum()),
            bucket_limits=edges[1:].tolist(),
            bucket_counts=counts.tolist(),
            global_step=step,
        )

    def close(self) -> None:
        self._writer.close()
