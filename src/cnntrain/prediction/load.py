"""Reads whatever predicts: a run, a checkpoint, an ensemble, an exported or published network."""

from __future__ import annotations

import os
from pathlib import Path

from ..config import stored_config
from ..config.short_forms import LAST, newest_run
from ..config.what_is_named import CHECKPOINT, has_images, no_run
from ..errors import DataError
from ..runs.ensemble_folder import is_ensemble
from ..runs.file_names import MODEL
from ..settings.fields import expanded, shorten
from ..user_code import kind_of
from .ensemble import Ensemble, load_ensemble
from .exported import SUFFIXES, ExportedNetwork, is_published, load_exported
from .hub import HUB, download
from .trained import TrainedNetwork, load_trained


def load_for_python(source: object) -> TrainedNetwork | Ensemble | ExportedNetwork:
    """Return what `cnntrain.load` returns for its argument; raises as `load_network`, and TypeError."""
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"cnntrain.load: takes one path, or 'hf:user/name', got {kind_of(source)}")
    named = os.fspath(source)
    if named.startswith(HUB):
        return load_network(named)
    path = expanded(named)
    if named == LAST and not path.exists():
        path = newest_run()
    try:
        wrong = _no_network(path)
    except OSError as error:  # a name that is too long, a folder that cannot be entered
        wrong = f"cannot be read ({error.strerror})"
    if wrong is not None:
        raise DataError(f"cnntrain.load({shorten(named)!r}): {wrong}")
    return load_network(path)


def _no_network(path: Path) -> str | None:
    """Return what is wrong with a path that names no network, None for one that does."""
    if path.is_file() and path.suffix.lower() in (CHECKPOINT, *SUFFIXES):
        return None
    if is_published(path) or is_ensemble(path):
        return None
    if (wrong := no_run(path)) is None:
        made = stored_config.trains_nothing(stored_config.read(path))
        return None if made is None else f"{made}; name the folder of a training"
    return (
        f"{wrong}, and give the images to its methods: load(RUN).classify(…)" if has_images(path) else wrong
    )


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
