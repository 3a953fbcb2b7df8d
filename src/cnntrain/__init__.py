"""cnntrain trains convolutional networks for image classification from configuration alone."""

from __future__ import annotations

from .version import __version__

TYPE_CHECKING = False  # importing typing takes longer than all else here
if TYPE_CHECKING:
    from pathlib import Path

    from .prediction.ensemble import Ensemble
    from .prediction.trained import TrainedNetwork

__all__ = ["__version__", "load"]


def load(folder: str | Path) -> TrainedNetwork | Ensemble:
    """Return the best network of the run in `folder`, with its preprocessing and class names.

    Of a folder that job=ensemble wrote, the networks whose predictions are averaged. folder: may also be a
    checkpoint, such as best.pt, which holds all that is needed.

    Raises DataError where the folder holds no run or its checkpoints are damaged.
    """
    from .prediction.load import load_network
    from .settings.fields import expanded

    return load_network(expanded(folder))
