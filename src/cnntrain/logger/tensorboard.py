"""TensorBoard event files."""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from .sink import Row


class TensorBoardSink:
    """Writes each number of a record as a scalar under its own name.

    Events of earlier processes from `purge_step` on are hidden, because those steps are repeated.
    """

    def __init__(self, folder: Path, purge_step: int | None):
        self._writer = SummaryWriter(str(folder), purge_step=purge_step)

    def write(self, row: Row) -> None:
        for name, value in row.items():
            if isinstance(value, int | float) and name != "step":
                self._writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        self._writer.close()
