"""Decision regions of a classifier of points in a plane, with its training points on top (D9)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .png import write_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Points per side of the grid on which the classifier is evaluated.
GRID = 200
# Fraction of the class's colour, mixed with white, where its probability is 1.
STRENGTH = 0.45
# More points than this would hide the regions.
MAX_POINTS = 1000


def draw_boundary(
    path: Path, classify: Callable[[Tensor], Tensor], points: Tensor, labels: Tensor, class_names: list[str]
) -> None:
    """Write the decision regions over the square of -1…1 as one PNG, points on top.

    classify: points (M, 2) → class probabilities (M, K), which weight the classes' colours; lines are
    where the most probable class changes. points (N, 2), labels (N,): the first 1000 are drawn.
    Raises DataError.
    """
    write_figure(path, boundary_figure(classify, points, labels, class_names))


def boundary_figure(
    classify: Callable[[Tensor], Tensor], points: Tensor, labels: Tensor, class_names: list[str]
) -> Figure:
    """Return the picture of `draw_boundary`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), dpi=120, layout="constrained")
    axes = figure.subplots()
    colours = _colours(len(class_names))
    # Centers of GRID cells per side, starting at the lower left.
    centers = (torch.arange(GRID) + 0.5) * (2 / GRID) - 1
    y, x = torch.meshgrid(centers, centers, indexing="ij")
    probabilities = classify(torch.stack([x.flatten(), y.flatten()], 1)).float().cpu()
    probabilities = probabilities.view(GRID, GRID, len(class_names))
    region_colours = 1 - STRENGTH * (1 - torch.tensor(colours))
    axes.imshow(
        (probabilities @ region_colours).clamp(0, 1).numpy(),
        origin="lower",
        extent=(-1, 1, -1, 1),
        interpolation="nearest",
    )
    for label in range(len(class_names) if len(class_names) > 2 else 1):
        others = torch.cat([probabilities[..., :label], probabilities[..., label + 1 :]], 2)
        margin = probabilities[..., label] - others.amax(2)
        if margin.min() < 0 < margin.max():
            axes.contour(centers, centers, margin.numpy(), levels=[0.0], colors="black", linewidths=1.2)
    points, labels = points[:MAX_POINTS], labels[:MAX_POINTS]
    for label, (name, colour) in enumerate(zip(class_names, colours, strict=True)):
        class_points = points[labels == label]
        axes.scatter(
            class_points[:, 0].numpy(),
            class_points[:, 1].numpy(),
            s=18,
            color=colour,
            edgecolors="white",
            linewidths=0.5,
            label=f"class {name}",
        )
    axes.set_xlim(-1, 1)
    axes.set_ylim(-1, 1)
    axes.set_aspect("equal")
    figure.legend(loc="outside lower center", ncols=min(len(class_names), 5), frameon=False)
    return figure


def _colours(classes: int) -> list[tuple[float, float, float]]:
    """Return a colour for each class as red, green and blue in 0…1."""
    from matplotlib import colormaps

    if classes <= 10:
        tab10: Any = colormaps["tab10"]
        return [tuple(colour) for colour in tab10.colors[:classes]]
    return [colormaps["hsv"](label / classes)[:3] for label in range(classes)]
