"""Paths over a surface: a contour map for each path, and the heights of all over the steps (O12)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .png import write_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID = 200
COLUMNS = 3
# Smaller heights are drawn at this value: they would take up most of a logarithmic axis.
LOWEST = 1e-8


@dataclass(frozen=True)
class View:
    """Settings of a picture: the part of the plane, the contour lines, and the scale of heights.

    window: the smallest and largest x, then y. goal: a point to mark.
    """

    title: str
    window: tuple[float, float, float, float]
    levels: list[float]
    log_heights: bool
    goal: tuple[float, float]


def draw_landscape(
    path: Path, view: View, height: Callable[[Tensor], Tensor], paths: dict[str, Tensor]
) -> None:
    """Write a contour map for each path, and the heights of all over their steps, as one PNG.

    height: points (…, 2) → heights (…); paths: name → points (steps + 1, 2) from the start on. Raises
    DataError.
    """
    write_figure(path, landscape_figure(view, height, paths))


def landscape_figure(view: View, height: Callable[[Tensor], Tensor], paths: dict[str, Tensor]) -> Figure:
    """Return the picture of `draw_landscape`."""
    from matplotlib.figure import Figure

    rows = -(-len(paths) // COLUMNS)
    figure = Figure(figsize=(12, 2.6 * rows + 3.6), dpi=110, layout="constrained")
    figure.suptitle(view.title)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(2.6 * rows, 3.6))[:, 0]
    panels = upper.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).flatten()
    heights = lower.subplots()
    for number, (panel, (name, points)) in enumerate(zip(panels, paths.items(), strict=False)):
        _map(panel, view, height, name, points, f"C{number}")
        values = height(points)
        heights.plot(values.clamp(min=LOWEST) if view.log_heights else values, color=f"C{number}", label=name)
    for panel in panels[len(paths) :]:
        panel.set_axis_off()
    heights.set_xlabel("step")
    heights.set_ylabel("f")
    heights.set_xlim(left=0)
    heights.grid(alpha=0.3)
    if view.log_heights:
        heights.set_yscale("log")
    else:
        heights.set_ylim(view.levels[0], view.levels[-1])
    heights.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def _map(
    panel: Any, view: View, height: Callable[[Tensor], Tensor], name: str, points: Tensor, colour: str
) -> None:
    left, right, bottom, top = view.window
    x, y = torch.linspace(left, right, GRID), torch.linspace(bottom, top, GRID)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), 2)
    panel.contour(x, y, height(grid), levels=view.levels, colors="0.75", linewidths=0.7, linestyles="solid")
    panel.plot(*view.goal, marker="+", markersize=12, color="black")
    panel.plot(points[:, 0], points[:, 1], color=colour, linewidth=1, marker=".", markersize=5)
    panel.plot(*points[0], marker="o", markersize=6, markerfacecolor="white", markeredgecolor=colour)
    panel.set_xlim(left, right)
    panel.set_ylim(bottom, top)
    panel.set_title(name, fontsize=10)
