"""Settings of the data sets (group `data`): the source of the images and their splits (D1, D8).

The test split is that of the data set, or a fixed random subset independent of the seed; the validation
split is a random subset of the training images that depends on the run's seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..settings.fields import expanded, fixed, rule_of, setting, settings_of
from ..settings.option import Option
from .batch_size import LEAST_UPDATES, automatic_batch_size

if TYPE_CHECKING:
    from .splits import LoadedSplit, Splits
    from .table_columns import Columns

ROOT_HELP = "folder of the files; missing files are downloaded into it"
MEMORY_HELP = "size in GB (uint8) up to which images are kept in memory instead of read from files; 0: never"
# Side of the images of a folder in pixels, for networks without pretrained weights.
DEFAULT_IMAGE_SIZE = 64
TARGETS = ("classes", "attributes", "values")
TARGET_HELP = "type of the labels"
# Settings that name a column of data.csv, and what stands for no column.
COLUMNS, NO_COLUMN = ("csv_image", "csv_label", "csv_split", "csv_group"), "none"
WORKERS_HELP = "processes that read images during training if they are not kept in memory; 0: none"
BATCH_SIZE_HELP = (
    "images per training batch; auto: 128, fewer where an epoch would have fewer than "
    f"{LEAST_UPDATES} updates"
)
VAL_FRACTION_HELP = "fraction of the training images used for validation, stratified by class"


@dataclass(frozen=True)
class DatasetInfo:
    """Properties of a data set that are known before its files are read.

    channels, height, width: shape of its images. outputs: number of classes, attributes or values.
    train_images: number of training and validation images together, before `limit`; None if unknown.
    """

    channels: int
    height: int
    width: int
    outputs: int
    train_images: int | None


@dataclass
class Data(Option):
    """Settings and methods common to all data sets."""

    batch_size: int | str = setting("auto", BATCH_SIZE_HELP, ge=1, words=("auto",))
    drop_last: bool = setting(
        False,
        "false: an epoch's images are divided into batches of equal size, or one image fewer, of at most "
        "batch_size; true: batches of batch_size, and what is left over is not used in this epoch",
        former=True,
    )
    val_fraction: float = setting(0.1, VAL_FRACTION_HELP, ge=0, lt=1)
    limit: int | None = setting(
        None, "maximum number of training images, including validation images; null: all", ge=1
    )

    folds: int | None = setting(
        None,
        "cross-validation: divide the training images into so many folds, one of which is the validation "
        "split; null: data.val_fraction",
        ge=2,
        le=1000,
    )
    fold: int = setting(0, "folds: which of them is the validation split, counted from 0", ge=0)

    def problems(self) -> Iterator[str]:
        if self.folds is None:
            if self.fold:
                yield f"data.fold={self.fold}: has no effect without data.folds"
            return
        if self.fold >= self.folds:
            yield f"data.fold={self.fold}: data.folds={self.folds} are counted from 0 to {self.folds - 1}"
        if self.val_fraction != type(self)().val_fraction:
            yield f"data.val_fraction={self.val_fraction:g}: has no effect with data.folds={self.folds}"

    def target_kind(self) -> str:
        """Return the type of the labels: "classes", "attributes" or "values" (D7)."""
        return str(getattr(self, "target", "classes"))

    def info(self) -> DatasetInfo | None:
        """Return what is known before the files are read, or None."""
        return None

    def may_have_validation(self) -> bool:
        """Return whether there may be validation images, split off training images or stored separately."""
        return self.val_fraction > 0 or self.folds is not None

    def validation_images(self, images: int) -> int:
        """Return about how many of so many training images are the validation split."""
        return images // self.folds if self.folds is not None else round(images * float(self.val_fraction))

    def images_per_batch(self, images: int | None, accumulate_steps: int) -> int:
        """Return the batch size for so many training images, None if unknown, and batches per update."""
        if isinstance(self.batch_size, int):
            return self.batch_size
        return automatic_batch_size(images, accumulate_steps)

    def default_augmentation(self) -> str:
        """Return the augmentation used for augmentation=auto: "crop", "crop_flip" or "none"."""
        raise NotImplementedError

    def read(self) -> Splits:
        """Return the splits as stored: `val` is empty unless the data set has a validation split.

        Raises DataError where the files cannot be used.
        """
        raise NotImplementedError

    def load(self, seed: int) -> Splits:
        """Return the splits of a run: training images reduced to `limit`, and validation split off by `seed`.

        Raises DataError where the files cannot be used.
        """
        return self.divided(self.stored(), seed)

    def stored(self) -> Splits:
        """Return the splits as stored, in memory if they fit: the same for all seeds and folds.

        Raises DataError where the files cannot be used.
        """
        return self.read()

    def divided(self, stored: Splits, seed: int) -> Splits:
        """Return the splits of a run, from those as stored."""
        from .splits import Validation, divide

        validation = Validation(self.val_fraction, self.split_rule(), self.folds, self.fold)
        return divide(stored, validation, self.limit, seed)

    def load_split(self, split: str, seed: int) -> LoadedSplit:
        """Return the images of one split, or "all", to evaluate on, and the names of their labels.

        Raises DataError where the files cannot be used.
        """
        from .image_set import concatenated
        from .splits import LoadedSplit

        splits = self.load(seed)
        parts = splits.parts()
        images = concatenated(list(parts.values())) if split == "all" else parts[split]
        return LoadedSplit(images, splits.names, splits.unreadable_notices())

    def source(self) -> str | None:
        """Return the path of the files that the images come from, None where they are built in."""
        for name, entry in settings_of(type(self)).items():
            if rule_of(entry).path == "path" and getattr(self, name):
                return str(getattr(self, name))
        return None

    def split_rule(self) -> str:
        """Return how validation images are chosen: by "hash", "name" or "position"."""
        return "position"


@dataclass
class Digits(Data):
    """1797 grey handwritten digits of 8x8, a data file of the package; a fixed fifth is the test split (UCI,
    Optical Recognition of Handwritten Digits, CC BY 4.0)."""

    name: str = fixed("digits")
    # A tenth would be 144 images, too few for a reliable choice of the best epoch.
    val_fraction: float = setting(0.2, VAL_FRACTION_HELP, ge=0, lt=1)
    target: str = setting(
        "classes",
        f"{TARGET_HELP}; classes: the digit; attributes: even, prime, with a loop, straight; values: the "
        "angle in degrees by which the image was rotated (D7)",
        choices=TARGETS,
    )

    def info(self) -> DatasetInfo:
        outputs = {"classes": 10, "attributes": 4, "values": 1}[self.target]
        return DatasetInfo(channels=1, height=8, width=8, outputs=outputs, train_images=1438)

    def default_augmentation(self) -> str:
        return "crop"

    def read(self) -> Splits:
        from .digits import read_digits

        return read_digits(self.target)


@dataclass
class _Downloaded(Data):
    """Settings common to the data sets that torchvision downloads."""

    root: str = setting("data", ROOT_HELP, resume="free", path="path")

    def info(self) -> DatasetInfo:
        raise NotImplementedError

    def read(self) -> Splits:
        from .torchvision_sets import read_set

        info = self.info()
        return read_set(self.name, self.root, (info.height, info.width, info.channels))


@dataclass
class Mnist(_Downloaded):
    """MNIST: 60 000 + 10 000 grey digits of 28x28 (LeCun et al. 1998)."""

    name: str = fixed("mnist")

    def info(self) -> DatasetInfo:
        return DatasetInfo(channels=1, height=28, width=28, outputs=10, train_images=60000)

    def default_augmentation(self) -> str:
        return "crop"


@dataclass
class FashionMnist(_Downloaded):
    """Fashion-MNIST: 60 000 + 10 000 grey images of clothes of 28x28 (Xiao et al. 2017)."""

    name: str = fixed("fashion_mnist")

    def info(self) -> DatasetInfo:
        return DatasetInfo(channels=1, height=28, width=28, outputs=10, train_images=60000)

    def default_augmentation(self) -> str:
        return "crop_flip"


@dataclass
class Cifar10(_Downloaded):
    """CIFAR-10: 50 000 + 10 000 colour images of 32x32 in ten classes (Krizhevsky 2009)."""

    name: str = fixed("cifar10")

    def info(self) -> DatasetInfo:
        return DatasetInfo(channels=3, height=32, width=32, outputs=10, train_images=50000)

    def default_augmentation(self) -> str:
        return "crop_flip"


@dataclass
class Cifar100(_Downloaded):
    """CIFAR-100: 50 000 + 10 000 colour images of 32x32 in a hundred fine classes (Krizhevsky 2009)."""

    name: str = fixed("cifar100")

    def info(self) -> DatasetInfo:
        return DatasetInfo(channels=3, height=32, width=32, outputs=100, train_images=50000)

    def default_augmentation(self) -> str:
        return "crop_flip"


@dataclass
class Svhn(_Downloaded):
    """SVHN: 73 257 + 26 032 colour house numbers of 32x32, cropped to a digit (Netzer et al. 2011)."""

    name: str = fixed("svhn")

    def info(self) -> DatasetInfo:
        return DatasetInfo(channels=3, height=32, width=32, outputs=10, train_images=73257)

    def default_augmentation(self) -> str:
        return "crop"


@dataclass
class _Files(Data):
    """Settings common to the data sets of image files."""

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

    def stored(self) -> Splits:
        from .image_loading import into_memory

        # Which images of a limited number are read depends on the seed.
        return self.read() if self.limit else into_memory(self.read(), self.memory_limit_gb, self._skips())

    def divided(self, stored: Splits, seed: int) -> Splits:
        from .image_loading import into_memory, without_unreadable

        # Images are left out after the splits are cut, which so do not depend on them.
        divided = super().divided(stored, seed)
        return without_unreadable(into_memory(divided, self.memory_limit_gb, self._skips()))

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
        from .image_folder import read_imagenet

        return read_imagenet(self.root, self.image_size, self.workers)


@dataclass
class Npz(Data):
    """Your own arrays: an .npz file with x_train, y_train, x_test, y_test, and x_val, y_val if any."""

    name: str = fixed("npz")
    path: str = setting("", "the .npz file", resume="free", path="path")
    target: str = setting(
        "classes",
        f"{TARGET_HELP} in y_train and y_test; classes: whole numbers (N,); attributes: 0 or 1 (N, A); "
        "values: numbers (N, V); an optional array `names` contains their names (D7)",
        choices=TARGETS,
    )

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        yield from _path_problems(self.name, self.path)

    def may_have_validation(self) -> bool:
        return True

    def default_augmentation(self) -> str:
        return "crop"

    def read(self) -> Splits:
        from .npz_file import read_npz

        return read_npz(self.path, target=self.target)


@dataclass
class Folder(_Files):
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
    test_fraction: float = setting(
        0.1,
        "fraction of the images used for the test split if there is no test/; independent of the seed",
        gt=0,
        lt=1,
    )
    split_by: str = setting(
        "hash",
        "how test and validation images are chosen where there is no folder of them; hash: by a hash of each "
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
    resize: str = setting(
        "crop",
        "crop: shorter side to image_size, then a center crop; squash: both sides to image_size, distorted; "
        "pad: longer side to image_size, then black borders",
        choices=("crop", "squash", "pad"),
    )
    channels: int = setting(3, "3: colour, 1: grey", choices=(1, 3))

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.target != "classes" and not self.csv:
            yield f"data.target={self.target}: needs a CSV file with them; write data.csv=FILE.csv"
        yield from self._column_problems()
        if not self.csv:
            yield from _path_problems(self.name, self.path)

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

    def may_have_validation(self) -> bool:
        return True

    def default_augmentation(self) -> str:
        return "crop_flip"

    def read(self) -> Splits:
        from .image_folder import read_folder
        from .labelled_images import read_labelled

        options = (self.test_fraction, self.split_by, *self._decoding())
        if self.csv:
            return read_labelled(self.path, self.csv, self.target, self._columns(), *options)
        return read_folder(self.path, *options)

    def load_split(self, split: str, seed: int) -> LoadedSplit:
        from .image_folder import read_part
        from .image_loading import part_into_memory
        from .labelled_images import read_labelled_part

        if self.csv:
            listed = (self.path, self.csv, self.target, self._columns(), self.split_by)
            part = read_labelled_part(*listed, split, *self._decoding())
        else:
            part = read_part(self.path, split, *self._decoding())
        if part is None:
            return super().load_split(split, seed)
        return part_into_memory(*part, self.memory_limit_gb, self._skips())

    def _decoding(self) -> tuple[int, str, int, int]:
        return self.image_size or DEFAULT_IMAGE_SIZE, self.resize, self.channels, self.workers

    def _columns(self) -> Columns:
        from .table_columns import Columns

        split, group = (None if name == NO_COLUMN else name for name in (self.csv_split, self.csv_group))
        if self.split_by != "hash":  # the other rules cut through groups
            group = None
        return Columns(self.csv_image, self.csv_label, split, group)

    def split_rule(self) -> str:
        return self.split_by


@dataclass
class Synthetic(Data):
    """Generated images, a smooth pattern per class plus noise, for experiments and for measuring speed."""

    name: str = fixed("synthetic")
    classes: int = setting(10, "number of classes", ge=2, le=10_000)
    image_size: int = setting(32, "height and width in pixels", ge=1)
    channels: int = setting(3, "number of channels", ge=1)
    train_images: int = setting(2000, "training and validation images together", ge=1)
    test_images: int = setting(500, "test images", ge=1)

    def info(self) -> DatasetInfo:
        return DatasetInfo(self.channels, self.image_size, self.image_size, self.classes, self.train_images)

    def default_augmentation(self) -> str:
        return "none"

    def read(self) -> Splits:
        from .synthetic import make_synthetic

        return make_synthetic(
            self.classes, self.image_size, self.channels, self.train_images, self.test_images
        )


@dataclass
class Toy2d(Data):
    """Points in a plane, each stored as an image of one pixel whose two channels are its coordinates on a
    256x256 grid; at the end of a run decision_boundary.png shows the predicted class at each point of the
    plane (D9)."""

    name: str = fixed("toy2d")
    shape: str = setting(
        "spiral",
        "moons: two interleaving half circles; rings: two concentric circles; spiral: one arm per class",
        choices=("moons", "rings", "spiral"),
    )
    points: int = setting(1000, "training and validation points together", ge=1)
    test_points: int = setting(1000, "test points", ge=1)
    noise: float = setting(
        0.03, "standard deviation of Gaussian noise on each coordinate; coordinates are in [-1, 1]", ge=0
    )
    classes: int = setting(2, "number of classes; moons and rings have 2", ge=2, le=1000)

    def info(self) -> DatasetInfo:
        return DatasetInfo(channels=2, height=1, width=1, outputs=self.classes, train_images=self.points)

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.shape != "spiral" and self.classes != 2:
            yield (
                f"data.classes={self.classes}: data.shape={self.shape} has 2 classes; write data.classes=2 "
                "or data.shape=spiral"
            )

    def default_augmentation(self) -> str:
        return "none"

    def read(self) -> Splits:
        from .toy2d import make_toy2d

        return make_toy2d(self.shape, self.points, self.test_points, self.noise, self.classes)


def _path_problems(name: str, path: str) -> Iterator[str]:
    if not path:
        yield f"data.path: is not set; data={name} needs it; write data.path=…"
