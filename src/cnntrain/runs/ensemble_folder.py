"""The folder of an ensemble, as job=ensemble writes it."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import DataError
from . import file_names


def is_ensemble(folder: Path) -> bool:
    """Return whether a folder is one that job=ensemble wrote."""
    return (folder / file_names.ENSEMBLE).is_file()


def member_folders(folder: Path) -> list[Path]:
    """Return the folders of the members of an ensemble; raises DataError."""
    file = folder / file_names.ENSEMBLE
    try:
        members = json.loads(file.read_text(encoding="utf-8"))["members"]
        folders = [folder / str(member["folder"]) for member in members]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{file}: is not that of an ensemble ({error}); make it anew by job=ensemble"
        ) from error
    if not folders:
        raise DataError(f"{file}: has no members; make it anew by job=ensemble")
    return folders
