"""Reads whatever predicts: a run, a checkpoint, an ensemble, an exported or published network."""

from __future__ import annotations

from pathlib import Path

from ..runs.ensemble_folder import is_ensemble
from ..runs.file_names import MODEL
from ..settings.fields import expanded
from .ensemble import Ensemble, load_ensemble
from .exported import SUFFIXES, ExportedNetwork, is_published, load_exported
from .hub import HUB, download
from .trained import TrainedNetwork, load_trained


def load_network(source: str | Path) -> TrainedNetwork | Ensemble | ExportedNetwork:
    """Return the network of a run, a checkpoint or an export, or the networks of an ensemble.

    source: a path, or hf:user/name. Raises DataError, and ConfigError where a package is missing.
    """
    if str(source).startswith(HUB):
        source = download(str(source).removeprefix(HUB))
    path = expanded(source)
    if is_published(path):
        return load_exported(path / MODEL)
    if path.suffix.lower() in SUFFIXES:
        return load_exported(path)
    return load_ensemble(path) if is_ensemble(path) else load_trained(path)
