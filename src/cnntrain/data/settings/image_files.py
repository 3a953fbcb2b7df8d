"""Image files: ImageNet, and a folder or a table of your own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ...settings.fields import expanded, fixed, setting
from .base import RESIZE_HELP, RESIZES, TARGET_HELP, TARGETS, Data, DatasetInfo, path_problems

if TYPE_CHECKING:
    from ..splits import LoadedSplit, Splits
    from ..table_columns import Columns

MEMORY_HELP = "size in GB (uint8) up to which images are kept in memory instead of read from files; 0: never"
# Side of the images of a folder in pixels, for networks without pretrained weights.
DEFAULT_IMAGE_SIZE = 64
# Settings that name a column of data.csv, and what stands for no column.
COLUMNS, NO_COLUMN = ("csv_image", "csv_label", "csv_split", "csv_group"), "none"
# Values of data.cache that are no folders.
NO_CACHE, DISK_CACHE = "none", "disk"
# What is written for yes and no, which would be the name of a folder.
NO_FOLDERS = {"", "true", "false", "yes", "no", "on", "off", NO_CACHE, DISK_CACHE}
WORKERS_HELP = "processes that read images during training if they are not kept in memory; 0: none"


@dataclass
class _Files(Data):
    """Settings common to the data sets of image files."""

    usual_image_size: ClassVar[int | None] = DEFAULT_IMAGE_SIZE

    memory_limit_gb: float = setting(4.0, MEMORY_HELP, ge=0, resume="free")
    workers: int = setting(2, WORKERS_HELP, ge=0, le=256, resume="free")
    on_bad: str = setting(
        "error",
        "images that cannot be read; error: stop, and name them; skip: leave them out, the same in every "
        "epoch, and list them in unreadable_images.txt, at most 1 % of all; images beyond memory_limit_gb "
        "are decoded once more for it, before training",
        choices=("error", "skip"),
        resume="free",
    )
    cache: str = setting(
        NO_CACHE,
        "decoded images in files that later runs read; disk: below ~/.cache/cnntrain/images; or a folder; "
        "none: images are decoded in every run, beyond memory_limit_gb in every epoch",
        resume="free",
    )

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        yield from self._cache_problems()

    def _cache_problems(self) -> Iterator[str]:
        """Yield an error where data.cache cannot be the folder of a cache, or is none that was meant."""
        if (folder := self.caches()) is None:
            return
        given = f"data.cache={self.cache}"
        if self.cache != DISK_CACHE and (self.cache.lower() in NO_FOLDERS or "://" in self.cache):
            yield f"{given}: must be none, disk or a folder, such as ./cache"
        elif folder.exists() and not folder.is_dir():
            yield f"{given}: {folder} is a file; write a folder, disk or none"
        images = getattr(self, "path", None) or getattr(self, "root", None)
        if images and expanded(images).resolve() in (folder.resolve(), *folder.resolve().parents):
            yield f"{given}: lies in the folder of the images, {images}; write another folder, or disk"

    def store_absolute_paths(self) -> None:
        super().store_absolute_paths()
        if self.cache not in (NO_CACHE, DISK_CACHE):
            self.cache = str(expanded(self.cache).absolute())

    def caches(self) -> Path | None:
        from ...settings.cache_folder import cache_folder

        if self.cache == NO_CACHE:
            return None
        return cache_folder("images") if self.cache == DISK_CACHE else expanded(self.cache)

    def stored(self) -> Splits:
        # Which images of a limited number are read depends on the seed.
        return self.read() if self.limit else self._loaded(self.read())

    def divided(self, stored: Splits, seed: int) -> Splits:
        from ..image_loading import without_unreadable

        # Images are left out after the splits are cut, which so do not depend on them.
        return without_unreadable(self._loaded(super().divided(stored, seed)))

    def _loaded(self, splits: Splits) -> Splits:
        from ..image_loading import into_memory

        return into_memory(splits, self.memory_limit_gb, self._skips(), self.caches())

    def _skips(self) -> bool:
        return self.on_bad == "skip"


@dataclass
class ImageNet(_Files):
    """ImageNet with 1000 classes, read from the folders train/ and val/; val/ is the test split (Russakovsky
    et al. 2015)."""

    name: str = fixed("imagenet")
    root: str = setting(
        "data/imagenet",
        "folder with train/ and val/, each with one folder per class",
        resume="free",
        path="path",
    )
    image_size: int = setting(
        224,
        "height and width in pixels: the shorter side is resized to it and a center crop taken; 256 for "
        "random crops of 224x224 (augmentation.crop_size=224)",
        ge=1,
    )

    def info(self) -> DatasetInfo:
        side = self.image_size
        return DatasetInfo(channels=3, height=side, width=side, outputs=1000, train_images=None)

    def default_augmentation(self) -> str:
        return "crop_flip"

    def read(self) -> Splits:
        from ..image_folder import read_imagenet

        return read_imagenet(self.root, self.image_size, self.workers)


@dataclass
class OwnFiles(_Files):
    """Settings common to images of your own."""

    test_fraction: float = setting(
        0.1,
        "fraction of the images used for the test split if there are none; independent of the seed",
        gt=0,
        lt=1,
    )
    split_by: str = setting(
        "hash",
        "how test and validation images are chosen where there are none; hash: by a hash of each "
        "file's path in the folder, and at least one of each class; an image that was trained on stays a "
        "training image when the folder grows; name: likewise, whatever the classes; position: the exact "
        "fraction of each class, drawn anew when the folder changes",
        choices=("hash", "name", "position"),
        former="position",
    )
    image_size: int | None = setting(
        None,
        "height and width to which all images are resized, in pixels; null: those with which the network's "
        "pretrained weights were trained, else 64",
        ge=1,
    )
    resize: str = setting("crop", RESIZE_HELP, choices=RESIZES)
    channels: int = setting(3, "3: colour, 1: grey", choices=(1, 3))

    def may_have_validation(self) -> bool:
        return True

    def default_augmentation(self) -> str:
        return "crop_flip"

    def split_rule(self) -> str:
        return self.split_by

    def _decoding(self) -> tuple[int, str, int, int]:
        return self.image_size or DEFAULT_IMAGE_SIZE, self.resize, self.channels, self.workers


@dataclass
class Folder(OwnFiles):
    """Your own images: one folder per class, or train/, val/ and test/ with one folder per class in each; or
    a CSV file that lists them."""

    name: str = fixed("folder")
    path: str = setting(
        "",
        "folder with one folder per class, or with train/, val/ and test/ of such folders (in any case; also "
        "training, valid, validation, dev, testing, eval); or a .zip or .tar of it, unpacked once below "
        "~/.cache/cnntrain; may be left out with data.csv in the folder of its images",
        resume="free",
        path="path",
    )
    target: str = setting(
        "classes",
        f"{TARGET_HELP}; classes: the image's folder, or a column of data.csv; attributes or values: the "
        "columns of data.csv (D7)",
        choices=TARGETS,
    )
    csv: str = setting(
        "",
        "CSV file that lists the images with their labels: a first line with the names of its columns, then "
        "one per image; paths of images are relative to data.path, else to the file's own folder",
        resume="free",
    )
    csv_image: str = setting(
        "",
        "column with the path of each image, whose ending may be left out; empty: of classes, by its usual "
        "names (image, file, path, image_id, …), else the first",
    )
    csv_label: str = setting(
        "",
        "column with the class of each image; empty: by its usual names (label, class, category, target, …), "
        "else the only one left",
    )
    csv_split: str = setting(
        "",
        "column with the split of each image: train, val, test, or other names of such folders; empty: of "
        "classes, by its usual names (split, subset, set, …); none: no column",
    )
    csv_group: str = setting(
        "",
        "column with the group of each image, such as its patient or video, which is in one split and fold "
        "as a whole; empty: of classes, by its usual names (group, patient, subject, video, …); none: no "
        "column",
    )

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.target != "classes" and not self.csv:
            yield f"data.target={self.target}: needs a CSV file with them; write data.csv=FILE.csv"
        yield from self._column_problems()
        if not self.csv:
            yield from path_problems(self.name, self.path)

    def _column_problems(self) -> Iterator[str]:
        """Yield an error for each column that cannot have an effect."""
        given = {name: value for name in COLUMNS if (value := getattr(self, name))}
        for name, column in given.items():
            if not self.csv:
                yield f"data.{name}={column}: has no effect without data.csv"
            elif list(given.values()).count(column) > 1 and column != NO_COLUMN:
                yield f"data.{name}={column}: is the column of another setting too; name different ones"
        for name in ("csv_image", "csv_label"):
            if given.get(name) == NO_COLUMN:
                yield f"data.{name}={NO_COLUMN}: images and classes need a column; write its name"
        if self.target != "classes" and self.csv_label:
            yield (
                f"data.csv_label={self.csv_label}: has no effect with data.target={self.target}, whose "
                "labels are all columns that have no other meaning"
            )
        if self.csv_group not in ("", NO_COLUMN) and self.split_by != "hash":
            yield f"data.csv_group={self.csv_group}: needs data.split_by=hash"

    def store_absolute_paths(self) -> None:
        super().store_absolute_paths()
        table = expanded(self.csv)
        if self.csv and table.is_file() and not (self.path and (Path(self.path) / self.csv).is_file()):
            self.csv = str(table.absolute())

    def source(self) -> str | None:
        if not self.csv:
            return super().source()
        in_folder = Path(self.path) / self.csv
        return str(in_folder if self.path and in_folder.is_file() else self.csv)

    def read(self) -> Splits:
        from ..image_folder import read_folder
        from ..labelled_images import read_labelled

        options = (self.test_fraction, self.split_by, *self._decoding())
        if self.csv:
            return read_labelled(self.path, self.csv, self.target, self._columns(), *options)
        return read_folder(self.path, *options)

    def load_split(self, split: str, seed: int) -> LoadedSplit:
        from ..image_folder import read_part
        from ..image_loading import part_into_memory
        from ..labelled_images import read_labelled_part

        if self.csv:
            listed = (self.path, self.csv, self.target, self._columns(), self.split_by)
            part = read_labelled_part(*listed, split, *self._decoding())
        else:
            part = read_part(self.path, split, *self._decoding())
        if part is None:
            return super().load_split(split, seed)
        return part_into_memory(*part, self.memory_limit_gb, self._skips(), self.caches())

    def _columns(self) -> Columns:
        from ..table_columns import Columns

        split, group = (None if name == NO_COLUMN else name for name in (self.csv_split, self.csv_group))
        if self.split_by != "hash":  # the other rules cut through groups
            group = None
        return Columns(self.csv_image, self.csv_label, split, group)
