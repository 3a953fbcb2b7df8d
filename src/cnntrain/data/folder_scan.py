"""Which files lie in a folder of class folders: the images of each class, and what is not used."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
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
# What is done with an entry of a folder that cannot be used.
Refuse = Callable[["NoImage"], None]
# What systems and programs leave in folders, beside names that begin with a dot.
OF_SYSTEMS = ("__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information")


class NoImage(DataError):
    """An entry of a folder that cannot be used; reason: what it is, and what to do."""

    def __init__(self, path: str, reason: str):
        self.path = path
        self.reason = reason
        super().__init__(f"{shorten(path, 300)}: {reason}")

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.path, self.reason)


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
    return name.startswith(".") or name.lower() in OF_SYSTEMS


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
    if not files and any(root.glob("*.tar")):
        raise DataError(f"{root}: has tar files, and no folders; write data=webdataset data.path={root}")
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


def images_and_others_below(root: Path) -> Iterator[str | NoImage]:
    """Yield the sorted paths of all image files in a folder and its subfolders, and what cannot be used.

    Names need not be UTF-8. Raises DataError where the folder itself cannot be read.
    """
    others = deque[NoImage]()
    for path in _image_files(root, NotUsed(), others.append, any_name=True):
        while others:
            yield others.popleft()
        yield path
    yield from others


def _raise(error: NoImage) -> None:
    raise error


def _image_files(
    folder: Path, not_used: NotUsed, refuse: Refuse = _raise, any_name: bool = False
) -> Iterator[str]:
    """Yield the sorted paths of the image files in a folder and its subfolders, without hidden ones.

    Not more than the names in the folders on the way to a file are held in memory. refuse: called with what
    cannot be used. any_name: whether names need not be UTF-8.
    """
    pending = [iter(_entries(folder, folder, not_used, refuse, any_name))]
    while pending:
        entry = next(pending[-1], None)
        if entry is None:
            pending.pop()
        elif entry.endswith(os.sep):
            not_used.nested.append(os.path.relpath(entry, folder.parent))
            pending.append(iter(_entries(Path(entry), folder, not_used, refuse, any_name)))
        else:
            yield entry


def _entries(parent: Path, root: Path, not_used: NotUsed, refuse: Refuse, any_name: bool) -> list[str]:
    """Return the sorted paths of the images and the folders in a folder, those of folders with a / behind.

    So they are in the order of the paths below them.
    """
    found, refused = [], []
    try:
        with os.scandir(parent) as entries:
            for entry in entries:
                try:
                    if (path := _used(entry, root, not_used, any_name)) is not None:
                        found.append(path)
                except NoImage as error:
                    refused.append(error)
    except OSError as error:
        refused.append(_unreadable(Path(error.filename or parent), error))
        if parent == root:
            raise refused[-1] from error
    for problem in sorted(refused, key=lambda one: one.path):
        refuse(problem)
    return sorted(found)


def _used(entry: os.DirEntry[str], root: Path, not_used: NotUsed, any_name: bool) -> str | None:
    """Return the path of an image or a folder, that of a folder with a / behind; None for what is not used.

    Raises NoImage.
    """
    if not any_name:
        _check_name(entry)
    if is_hidden(entry.name):
        not_used.hidden[entry.name] += 1
    elif entry.is_dir():
        _check_link(entry, root)
        return entry.path + os.sep
    elif is_image_name(entry.name):
        _check_is_file(entry)
        return entry.path
    else:
        not_used.others[os.path.splitext(entry.name)[1]] += 1
    return None


def is_image_name(name: str) -> bool:
    """Return whether a file is an image by its ending, and not hidden."""
    return not is_hidden(name) and name.lower().endswith(EXTENSIONS)


def _check_name(entry: os.DirEntry[str]) -> None:
    """Raise NoImage for a name that is not UTF-8, which no file of a run could hold."""
    try:
        entry.name.encode()
    except UnicodeEncodeError as error:
        raise NoImage(entry.path, "this name is not UTF-8; rename it") from error


def _check_link(entry: os.DirEntry[str], root: Path) -> None:
    """Raise NoImage for a link to a folder whose images are counted already, above, beside or below it."""
    if not entry.is_symlink():
        return
    target, real_root = Path(entry.path).resolve(), root.resolve()
    if target == real_root or target in real_root.parents or real_root in target.parents:
        raise NoImage(
            entry.path, f"is a link to {target}, whose images would be counted twice; remove the link"
        )


def _check_is_file(entry: os.DirEntry[str]) -> None:
    """Raise NoImage for what only looks like an image: a named pipe, a device, a link to nothing."""
    if not entry.is_file():
        raise NoImage(entry.path, "is no file but a pipe, a device or a link to nothing; remove it")


def _unreadable(path: Path, error: OSError) -> NoImage:
    if isinstance(error, FileNotFoundError):
        return NoImage(str(path), "does not exist; specify a folder of images")
    if isinstance(error, NotADirectoryError):
        return NoImage(str(path), "is a file; specify a folder of images")
    return NoImage(str(path), f"cannot be read ({error.strerror}); {remedy(error)}")


def _first(names: list[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (", …" if len(names) > MAX_NAMED else "")
