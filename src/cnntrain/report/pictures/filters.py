"""The filters of a network's first layer as a picture (W4): smooth where it has learned, else noisy."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from .image_grid import save_sheet

MAX_FILTERS, COLUMNS, MIN_SIDE = 64, 16, 3


def first_layer_filters(network: nn.Module) -> Tensor | None:
    """Return up to 64 filters of the first convolution, (n, F, F, C) in 0…1, each rescaled by itself.

    None where it sees other than 1 or 3 channels, or its filters are smaller than 3x3.
    """
    convolution = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    if convolution is None or convolution.weight.shape[1] not in (1, 3):
        return None
    filters = convolution.weight.detach().float().cpu()[:MAX_FILTERS].permute(0, 2, 3, 1).contiguous()
    if min(filters.shape[1:3]) < MIN_SIDE:
        return None
    values = filters.flatten(1)
    low, high = values.min(1).values, values.max(1).values
    scale = (high - low).clamp(min=1e-12)
    return (filters - low[:, None, None, None]) / scale[:, None, None, None]


def draw_filters(path: Path, network: nn.Module) -> bool:
    """Write the first layer's filters as PNG; return whether there were any to draw. Raises DataError."""
    filters = first_layer_filters(network)
    if filters is None:
        return False
    rows = {
        f"{start} to {min(start + COLUMNS, len(filters)) - 1}": filters[start : start + COLUMNS]
        for start in range(0, len(filters), COLUMNS)
    }
    save_sheet(path, rows)
    return True
