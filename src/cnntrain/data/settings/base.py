"""Settings of the data sets (group `data`): the source of the images and their splits (D1, D8).

The test split is that of the data set, or a fixed random subset independent of the seed; the validation
split is a random subset of the training images that depends on the run's seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...settings.fields import rule_of, setting, settings_of
from ...settings.option import Option
from ..batch_size import ENOUGH_UPDATES, automatic_batch_size

if TYPE_CHECKING:
    from ..splits import LoadedSplit, Splits

TARGETS = ("classes", "attributes", "values")
TARGET_HELP = "type of the labels"
BATCH_SIZE_HELP = (
    "images per training batch; auto: 128, fewer where an epoch would have fewer than "
    f"{ENOUGH_UPDATES} updates"
)
# How images of files are brought to a size.
RESIZES = ("crop", "squash", "pad")
RESIZE_HELP = (
    "crop: shorter side to image_size, then a center crop; squash: both sides to image_size, distorted; "
    "pad: longer side to image_size, then black borders"
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
        from ..splits import Validation, divide

        validation = Validation(self.val_fraction, self.split_rule(), self.folds, self.fold)
        return divide(stored, validation, self.limit, seed)

    def load_split(self, split: str, seed: int) -> LoadedSplit:
        """Return the images of one split, or "all", to evaluate on, and the names of their labels.

        Raises DataError where the files cannot be used.
        """
        from ..image_set import concatenated
        from ..splits import LoadedSplit

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

    def caches(self) -> Path | None:
        """Return the folder of caches of decoded images, None for no cache."""
        return None

    def split_rule(self) -> str:
        """Return how validation images are chosen: by "hash", "name" or "position"."""
        return "position"


def path_problems(name: str, path: str) -> Iterator[str]:
    if not path:
        yield f"data.path: is not set; data={name} needs it; write data.path=…"
