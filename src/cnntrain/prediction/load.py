"""Reads whatever predicts: a run, a checkpoint, an ensemble, an exported network."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError
from ..runs.ensemble_folder import is_ensemble
from ..runs.file_names import EXPORTED
from .ensemble import Ensemble, load_ensemble
from .trained import TrainedNetwork, load_trained


def load_network(path: Path) -> TrainedNetwork | Ensemble:
    """Return the network of a run or of a checkpoint, or the networks of an ensemble; raises DataError."""
    if path.suffix in EXPORTED and path.is_file():
        raise DataError(f"{path}: is an exported network, which this version cannot read; name the run")
    return load_ensemble(path) if is_ensemble(path) else load_trained(path)
