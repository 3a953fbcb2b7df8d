"""Short ways to write a command: a closed list, written out before anything is checked.

cnntrain evaluate run=last        job=evaluate, and the newest run below outputs/
cnntrain data=photos.zip          data=folder data.path=photos.zip; data=arrays.npz: data=npz
cnntrain data=train.csv           data=folder data.csv=train.csv
run=RUN/checkpoints/best.pt       run=RUN
loss=my_losses:focal              loss=custom loss.function=my_losses:focal; likewise data, model, optim, …
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..data.archive import is_archive
from ..errors import DataError
from ..runs import file_names
from ..settings.fields import expanded, settings_of
from ..settings.job_settings import JOBS
from .choice_files import Choices

OUTPUTS = Path("outputs")
LAST = "last"
# The name of a function of the user's own, package.module:name, and the settings that take one.
USER_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
CUSTOM, OF_CUSTOM = "custom", ("factory", "function")


def written_out(overrides: list[str], choices: Choices) -> list[str]:
    """Return overrides with short forms replaced by what they stand for.

    The names of choices come before those of files, and a folder named last before the newest run. Raises
    DataError where there is no run yet.
    """
    found = list[str]()
    for number, text in enumerate(overrides):
        key, _, value = text.partition("=")
        if number == 0 and text in JOBS:
            found.append(f"job={text}")
        elif key == "data" and (form := _form_of_data(value, choices)) is not None:
            found += [f"data={form[0]}", f"data.{form[1]}={value}"]
        elif USER_FUNCTION.fullmatch(value) and (setting := _setting_of_custom(key, choices)) is not None:
            found += [f"{key}={CUSTOM}", f"{key}.{setting}={value}"]
        elif key == "run" and value:
            found.append(f"run={_run(value)}")
        else:
            found.append(text)
    return found


def _form_of_data(value: str, choices: Choices) -> tuple[str, str] | None:
    """Return the data set of a file or folder and its setting that names it, None for anything else."""
    path = expanded(value)
    if not value or "," in value or choices.find("data", value) is not None:
        return None
    if path.is_dir() or is_archive(path):
        return "folder", "path"
    return {".npz": ("npz", "path"), ".csv": ("folder", "csv")}.get(path.suffix.lower())


def _setting_of_custom(group: str, choices: Choices) -> str | None:
    """Return the setting that names a function of the user's own in a group, None where there is none."""
    choice = choices.find(group, CUSTOM)
    if choice is None or choice.schema is None:
        return None
    return next((name for name in OF_CUSTOM if name in settings_of(choice.schema)), None)


def _run(value: str) -> str:
    path = expanded(value)
    if value == LAST and not path.exists():
        return str(newest_run())
    if path.name == file_names.BEST and path.parent.name == file_names.CHECKPOINTS:
        return str(path.parent.parent)
    return value


def newest_run() -> Path:
    """Return the run or ensemble below outputs/ that was started or continued last; jobs of sweeps are none.

    Nor are folders of jobs that train nothing, which have no checkpoints. Raises DataError.
    """
    found = dict[Path, int]()
    for folder, folders, files in os.walk(OUTPUTS):
        of_run = [name for name in (file_names.ENSEMBLE, file_names.CONFIG) if name in files]
        if file_names.SWEEP_FILE in files or "multirun.yaml" in files:
            folders.clear()
        elif of_run:
            if of_run[0] == file_names.ENSEMBLE or file_names.CHECKPOINTS in folders:
                found[Path(folder)] = Path(folder, of_run[0]).stat().st_mtime_ns
            folders.clear()
    if not found:
        raise DataError(f"run={LAST}: there is no run below {OUTPUTS}/ yet")
    return max(found, key=found.__getitem__)
