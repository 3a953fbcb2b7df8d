"""The configuration of job=predict, on whatever was trained: a run, a checkpoint, an ensemble, an export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import DataError
from ..runs import file_names
from ..runs.ensemble_folder import is_ensemble, member_folders
from ..settings.config_tree import Config
from . import stored_config
from .choice_files import Choices
from .pipeline import configure
from .resume_overrides import changed
from .what_is_named import CHECKPOINT, has_images, no_run


def prediction_config(run: Path, overrides: list[str], choices: Choices) -> Config | None:
    """Return the configuration of a run, or of an ensemble's first member, with a user's overrides.

    Of an exported file, that of the defaults. Of a checkpoint outside of a run, which torch has to read,
    None, and overrides are checked against the defaults. Raises ConfigError for settings that are wrong,
    DataError where `run` names nothing that predicts.
    """
    stored = _stored(run)
    base = configure([], choices).config if stored is None else stored
    config = with_overrides(base, overrides, choices)
    is_checkpoint = stored is None and run.suffix == CHECKPOINT
    return None if is_checkpoint else config


def with_overrides(stored: Config, overrides: list[str], choices: Choices) -> Config:
    """Return the configuration of a run with a user's overrides; raises ConfigError.

    Unless they name a precision, it is fp32, whatever the run was trained in: so job=predict, `cnntrain.load`
    and an exported file give the same answers.
    """
    in_fp32 = replace(stored, trainer=replace(stored.trainer, precision="fp32"))
    return changed(in_fp32, overrides, choices)


def _stored(run: Path) -> Config | None:
    """Return the stored configuration, None where there is none but in a file; raises DataError."""
    if run.suffix in (CHECKPOINT, *file_names.EXPORTED) and not run.exists():
        raise DataError(f"run={run}: {no_run(run)}")
    if run.suffix in file_names.EXPORTED and not run.is_dir():
        return None
    folder = run
    if run.suffix == CHECKPOINT:
        folder = run.parent.parent
        if run.parent.name != file_names.CHECKPOINTS or not (folder / file_names.CONFIG).is_file():
            return None
    if is_ensemble(run):
        folder = member_folders(run)[0]
    if folder == run and has_images(run) and (wrong := no_run(run)) is not None:
        raise DataError(f"run={run}: {wrong}, and the images by predict.images={run}")
    config = stored_config.read(folder)
    if (wrong := stored_config.trains_nothing(config)) is not None:
        raise DataError(f"run={run}: {wrong}; name a training's run")
    return config
