"""The learning rate over a run, and the momentum of optimizers that have one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .png import write_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATE, MOMENTUM = "tab:blue", "tab:orange"


def draw_rates(path: Path, lrs: list[float], momenta: list[float] | None, steps_per_epoch: float) -> None:
    """Write learning rate (left axis) and momentum (right axis) of every update over epochs as one PNG.

    lrs[i], momenta[i]: of the update after i updates. momenta: None for an optimizer without momentum.
    Raises DataError.
    """
    write_figure(path, schedule_figure(lrs, momenta, steps_per_epoch))


def schedule_figure(lrs: list[float], momenta: list[float] | None, steps_per_epoch: float) -> Figure:
    """Return the picture of `draw_rates`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    epochs = [step / steps_per_epoch for step in range(len(lrs))]
    axes.plot(epochs, lrs, color=RATE, label="learning rate")
    axes.set_xlabel("epoch")
    axes.set_ylabel("learning rate", color=RATE)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, len(lrs) / steps_per_epoch)
    axes.grid(alpha=0.3)
    if momenta is not None:
        right = axes.twinx()
        right.plot(epochs, momenta, color=MOMENTUM, linestyle="--", label="momentum")
        right.set_ylabel("momentum", color=MOMENTUM)
        right.set_ylim(0, 1)
    return figure
