"""The loss over the learning rate in a range test."""

from __future__ import annotations

from pathlib import Path

from .png import write_figure


def draw_lr_range(
    path: Path, lrs: list[float], losses: list[float], smoothed: list[float], suggestion: float | None
) -> None:
    """Write the losses over the learning rate, on a logarithmic axis, as PNG. Raises DataError."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.plot(lrs, losses, color="0.8", label="loss of each step")
    axes.plot(lrs, smoothed, color="tab:blue", label="smoothed")
    if suggestion is not None:
        axes.axvline(suggestion, color="tab:orange", linestyle="--", label=f"suggestion {suggestion:g}")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    low, high = min(smoothed), max(smoothed[0], min(smoothed))
    axes.set_ylim(low - 0.1 * (high - low) - 1e-9, high + 0.6 * (high - low) + 1e-9)
    axes.grid(alpha=0.3)
    axes.legend()
    write_figure(path, figure)
