"""What a path is that should be that of a run, in words, and what to write in its place."""

from __future__ import annotations

from pathlib import Path

from ..data.archive import is_archive
from ..data.folder_scan import is_image_name
from ..runs import file_names
from ..settings.nearest_name import nearest

# What a run printed in its first line.
WRITE_RUN = "name the folder that a run printed"
CHECKPOINT = ".pt"


def no_run(path: Path) -> str | None:
    """Return what is wrong with a path that is not the folder of a run, None for one that is."""
    try:
        if path.is_file():
            return _no_folder(path)
        if not path.is_dir():
            near = nearest(path.name, [entry.name for entry in path.parent.glob("*") if entry.is_dir()])
            kind = "file" if path.suffix in (CHECKPOINT, *file_names.EXPORTED) else "folder"
            return f"there is no such {kind}" + (f"; did you mean {path.parent / near}?" if near else "")
        if is_sweep(path):
            jobs = sorted(file.parent for file in path.glob(f"*/{file_names.CONFIG}"))
            job = jobs[0] if jobs else path / "0000"
            return (
                f"is the folder of a sweep; name one of its jobs, as {job}, or go on with it by -m, compare "
                "its jobs by job=report"
            )
        return None if (path / file_names.CONFIG).is_file() else _no_run_in(path)
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def is_sweep(folder: Path) -> bool:
    """Return whether a folder is that of a sweep: of jobs, and no run itself."""
    files = (file_names.SWEEP_FILE, file_names.HYDRA_SWEEP)
    return not (folder / file_names.CONFIG).exists() and any((folder / name).is_file() for name in files)


def has_images(path: Path) -> bool:
    """Return whether a path is that of images by its name: an image, arrays or an archive."""
    return is_image_name(path.name) or path.suffix.lower() == ".npz" or is_archive(path)


def _no_folder(file: Path) -> str:
    """Return what a file is that was named in place of a folder."""
    for folder in list(file.parents)[:3]:
        if (folder / file_names.CONFIG).is_file():
            return f"is a file; write the folder of the run, {folder}"
    what = "has images" if has_images(file) else "is a file"
    return f"{what} and no trained network; {WRITE_RUN}"


def _no_run_in(folder: Path) -> str:
    """Return what a folder is that is none of a run."""
    found = (checkpoints.parent for checkpoints in folder.glob(f"*/{file_names.CHECKPOINTS}"))
    if runs := sorted(run for run in found if (run / file_names.CONFIG).is_file()):
        return f"holds no run itself (no {file_names.CONFIG}) but folders of runs, as {runs[-1]}; name one"
    is_empty = next(folder.iterdir(), None) is None
    what = "is an empty folder" if is_empty else f"holds no run (no {file_names.CONFIG})"
    return f"{what}; {WRITE_RUN}"
