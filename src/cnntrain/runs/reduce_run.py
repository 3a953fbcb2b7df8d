"""A finished run without what only a continued training needs (trainer.keep=model)."""

from __future__ import annotations

from typing import Any

from ..errors import DataError
from . import file_names
from .run_folder import RunFolder
from .status import FINISHED

# In summary.json of a run so reduced.
KEPT, MODEL = "kept", "model"


def reduce_run(folder: RunFolder) -> tuple[int, int]:
    """Remove last.pt and previous.pt of a finished run; return the bytes of its checkpoints before and after.

    best.pt, which all jobs but training read, has to be whole. The summary says first that the run was
    reduced, so that a run whose checkpoints are lost is never taken for one. Raises DataError.
    """
    summary = folder.read_summary() or {}
    assert summary.get("status") == FINISHED, "a run that goes on needs its newest checkpoint"
    folder.checkpoints.load_best()
    before = _size(folder)
    folder.write_summary(summary | {KEPT: MODEL})
    for name in (file_names.PREVIOUS, file_names.LAST):
        file = folder.checkpoints.folder / name
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"{file}: cannot be removed ({error.strerror})") from error
    return before, _size(folder)


def is_reduced(summary: dict[str, Any] | None) -> bool:
    """Return whether the summary of a run says that it was reduced."""
    return summary is not None and summary.get(KEPT) == MODEL


def _size(folder: RunFolder) -> int:
    """Return the bytes of a run's checkpoints on disk, those with several names counted once."""
    files = {file.stat().st_ino: file.stat() for file in folder.checkpoints.folder.glob("*.pt")}
    return sum(state.st_size for state in files.values())
