"""cnntrain trains convolutional networks for image classification from configuration alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .trained import TrainedNetwork

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(folder: str | Path) -> TrainedNetwork:
    """Return the best network of the run in `folder`, with its preprocessing and class names.

    Raises DataError where the folder holds no run or its checkpoints are damaged.
    """
    from .trained import load_trained

    return load_trained(Path(folder))
