"""Which files lie in a folder of class folders: the images of each class, and what is not used."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import DataError
from ..machine_errors import remedy
from ..settings.fields import has_control_characters, shorten

EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm"),
)
# Photos that Pillow does not read.
TO_CONVERT = (".heic", ".heif", ".hif")
MAX_NAMED = 5
# What systems and programs leave in folders, beside names that begin with a dot.
OF_SYSTEMS = ("__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information")


@dataclass
class NotUsed:
    """Files and folders that a user may expect to be used otherwise, relative to the folder of the data.

    beside: images beside the class folders. others: number of files in class folders that are no images, by
    extension. hidden: number of hidden files and those of systems. nested: folders in class folders, whose
    images count for the class.
    """

    beside: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    hidden: Counter[str] = field(default_factory=Counter)
    nested: list[str] = field(default_factory=list)

    def notices(self) -> list[str]:
        """Return a line for each kind that there is."""
        notices = []
        if self.beside:
            notices.append(
                f"not used, as they lie beside the class folders: {len(self.beside)} images "
                f"({_first(self.beside)})"
            )
        if self.others:
            kinds = ", ".join(
                f"{count} {ending or 'without extension'}" for ending, count in self.others.items()
            )
            notices.append(f"not used, as their names are not those of images: {kinds}{self.to_convert()}")
        if self.hidden:
            kinds = _first([name for name, _ in self.hidden.most_common()])
            notices.append(
                f"not used: {self.hidden.total()} hidden files and folders, and those of systems ({kinds})"
            )
        if self.nested:
            notices.append(f"images in folders of a class folder belong to its class: {_first(self.nested)}")
        return notices

    def to_convert(self) -> str:
        """Return what to do about photos of a kind that is not read, where there are some."""
        kinds = sorted(ending for ending in self.others if ending.lower() in TO_CONVERT)
        return f"; {', '.join(kinds)} files are not read: convert them to JPEG" if kinds else ""


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or left by a system or a program."""
    return name[0] == "." or name.lower() in OF_SYSTEMS


def folders_in(root: Path) -> list[str]:
    """Return the sorted names of the folders in a folder, without hidden ones; raises DataError."""
    try:
        with os.scandir(root) as entries:
            found = [entry for entry in entries if not is_hidden(entry.name) and entry.is_dir()]
            for entry in found:
                _check_link(entry, root)
                if has_control_characters(entry.name):
                    raise DataError(
                        f"{shorten(entry.path, 300)}: this name of a class has characters that cannot be "
                        "printed, such as line breaks; rename it"
                    )
            return sorted(entry.name for entry in found)
    except OSError as error:
        raise _unreadable(root, error) from error


def images_of_classes(
    root: Path, not_used: NotUsed, least: int = 2, all_needed: bool = True
) -> dict[str, list[str]]:
    """Return the image files of each class folder in `root`, including those in its subfolders.

    What is not used is added to `not_used`. Raises DataError if there are fewer than `least` classes, or if
    all of them need images and one has none.
    """
    note_images_beside(root, not_used)
    files = {name: list(_image_files(root / name, not_used)) for name in folders_in(root)}
    if not files:
        raise DataError(f"{root}: has no folders in it; put the images of each class into a separate folder")
    empty = [name for name, paths in files.items() if not paths]
    if empty and (all_needed or len(empty) == len(files)):
        more = f" and {len(empty) - 10} more" if len(empty) > 10 else ""
        raise DataError(
            f"{root}: no images in {', '.join(empty[:10])}{more}; remove these folders, or put images in "
            f"them ({' '.join(ending[1:] for ending in EXTENSIONS)}){not_used.to_convert()}"
        )
    if len(files) < least:
        raise DataError(
            f"{root}: has only one class ({next(iter(files))}); at least two are needed, in a folder each"
        )
    return files


def holds_only_a_folder(root: Path) -> Path | None:
    """Return the folder of folders in a folder that has nothing else in it but what is hidden, else None."""
    with os.scandir(root) as entries:
        found = [entry for entry in entries if not is_hidden(entry.name)]
    if len(found) != 1 or not found[0].is_dir(follow_symlinks=False):
        return None
    inner = Path(found[0].path)
    return inner if folders_in(inner) else None


def note_images_beside(root: Path, not_used: NotUsed) -> None:
    """Add what lies directly in a folder and is not used, images and hidden files; raises DataError."""
    try:
        with os.scandir(root) as entries:
            names = [entry.name for entry in entries]
        not_used.beside += sorted(name for name in names if is_image_name(name))
        not_used.hidden.update(name for name in names if is_hidden(name))
    except OSError as error:
        raise _unreadable(root, error) from error


def images_below(root: Path) -> Iterator[str]:
    """Yield the sorted paths of all image files in a folder and its subfolders; raises DataError."""
    return _image_files(root, NotUsed())


def _image_files(folder: Path, not_used: NotUsed) -> Iterator[str]:
    """Yield the sorted paths of the image files in a folder and its subfolders, without hidden ones.

    Not more than the names in the folders on the way to a file are held in memory.
    """
    pending = [iter(_entries(folder, folder, not_used))]
    while pending:
        entry = next(pending[-1], None)
        if entry is None:
            pending.pop()
        elif entry.endswith(os.sep):
            not_used.nested.append(os.path.relpath(entry, folder.parent))
            pending.append(iter(_entries(Path(entry), folder, not_used)))
        else:
            yield entry


def _entries(parent: Path, root: Path, not_used: NotUsed) -> list[str]:
    """Return the sorted paths of the images and the folders in a folder, those of folders with a / behind.

    So they are in the order of the paths below them.
    """
    found = []
    try:
        with os.scandir(parent) as entries:
            for entry in entries:
                _check_name(entry)
                if is_hidden(entry.name):
                    not_used.hidden[entry.name] += 1
                elif entry.is_dir():
                    _check_link(entry, root)
                    found.append(entry.path + os.sep)
                elif is_image_name(entry.name):
                    _check_is_file(entry)
                    found.append(entry.path)
                else:
                    not_used.others[os.path.splitext(entry.name)[1]] += 1
    except OSError as error:
        raise _unreadable(Path(error.filename or parent), error) from error
    return sorted(found)


def is_image_name(name: str) -> bool:
    """Return whether a file is an image by its ending, and not hidden."""
    return not is_hidden(name) and name.lower().endswith(EXTENSIONS)


def _check_name(entry: os.DirEntry[str]) -> None:
    """Raise DataError for a name that is not UTF-8, which no file of a run could hold."""
    try:
        entry.name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{shorten(entry.path, 300)}: this name is not UTF-8; rename it") from error


def _check_link(entry: os.DirEntry[str], root: Path) -> None:
    """Raise DataError for a link to a folder whose images are counted already, above, beside or below it."""
    if not entry.is_symlink():
        return
    target, real_root = Path(entry.path).resolve(), root.resolve()
    if target == real_root or target in real_root.parents or real_root in target.parents:
        raise DataError(
            f"{entry.path}: is a link to {target}, whose images would be counted twice; remove the link"
        )


def _check_is_file(entry: os.DirEntry[str]) -> None:
    """Raise DataError for what only looks like an image: a named pipe, a device, a link to nothing."""
    if not entry.is_file():
        raise DataError(f"{entry.path}: is no file but a pipe, a device or a link to nothing; remove it")


def _unreadable(path: Path, error: OSError) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: does not exist; specify a folder of images")
    if isinstance(error, NotADirectoryError):
        return DataError(f"{path}: is a file; specify a folder of images")
    return DataError(f"{path}: cannot be read ({error.strerror}); {remedy(error)}")


def _first(names: list[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (", …" if len(names) > MAX_NAMED else "")
