"""What a classifier makes of a plane: the regions of its classes under the points it learnt from (D9)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .png import write_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Points to a side of the grid on which the classifier is asked.
GRID = 200
# Share of its class's colour in a region where the classifier is certain.
STRENGTH = 0.45
# Points beyond these would hide the regions.
MOST_POINTS = 1000


def draw_boundary(
    path: Path, classify: Callable[[Tensor], Tensor], points: Tensor, labels: Tensor, class_names: list[str]
) -> None:
    """Write the decision regions over the square of -1…1 as one PNG, points on top.

    classify: points (M, 2) → class probabilities (M, K), whose mixture is the colour of each place; lines
    are where the most probable class changes. points (N, 2), labels (N,): the first 1000 are shown.
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
    # The middles of GRID cells a side, from the lower left.
    middles = (torch.arange(GRID) + 0.5) * (2 / GRID) - 1
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    probabilities = classify(torch.stack([x.flatten(), y.flatten()], 1)).float().cpu()
    probabilities = probabilities.view(GRID, GRID, len(class_names))
    shades = 1 - STRENGTH * (1 - torch.tensor(colours))
    axes.imshow(
        (probabilities @ shades).clamp(0, 1).numpy(),
        origin="lower",
        extent=(-1, 1, -1, 1),
        interpolation="nearest",
    )
    for label in range(len(class_names) if len(class_names) > 2 else 1):
        others = torch.cat([probabilities[..., :label], probabilities[..., label + 1 :]], 2)
        lead = probabilities[..., label] - others.amax(2)
        if lead.min() < 0 < lead.max():
            axes.contour(middles, middles, lead.numpy(), levels=[0.0], colors="black", linewidths=1.2)
    shown, shown_labels = points[:MOST_POINTS], labels[:MOST_POINTS]
    for label, (name, colour) in enumerate(zip(class_names, colours, strict=True)):
        chosen = shown[shown_labels == label]
        axes.scatter(
            chosen[:, 0].numpy(),
            chosen[:, 1].numpy(),
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
    """Return a colour for each class, red, green and blue of 0…1."""
    from matplotlib import colormaps

    if classes <= 10:
        listed: Any = colormaps["tab10"]
        return [tuple(colour) for colour in listed.colors[:classes]]
    return [colormaps["hsv"](label / classes)[:3] for label in range(classes)]
