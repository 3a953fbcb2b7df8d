"""Data sets of Hugging Face's package `datasets`."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...settings.fields import expanded, fixed, setting
from .base import RESIZE_HELP, RESIZES, Data

if TYPE_CHECKING:
    from ..splits import Splits

MISSING = "data=huggingface: needs the package datasets; pip install 'cnntrain[hf]'"


@dataclass
class HuggingFace(Data):
    """Classes of images from the Hugging Face hub, or from a folder of parquet files or of save_to_disk.

    They are downloaded once, below ~/.cache/huggingface, and read into memory.
    """

    # That of the images.
    usual_image_size: ClassVar[int | None] = None

    name: str = fixed("huggingface")
    dataset: str = setting("", "name of the data set on the hub, such as ylecun/mnist")
    subset: str | None = setting(None, "name of a part of it, for data sets that have several")
    revision: str | None = setting(
        None, "commit, tag or branch on the hub; null: the newest, so that a run may not be continued later"
    )
    path: str = setting("", "folder of the data set, in place of the hub", resume="free", path="path")
    image: str = setting("", "column of the images; empty: the only one with images")
    label: str = setting(
        "",
        "column of the classes; empty: the only one with classes, or that of a usual name (label, class, …)",
    )
    test_fraction: float = setting(
        0.1,
        "fraction of the training images used for the test split if there is none; independent of the seed",
        gt=0,
        lt=1,
    )
    image_size: int | None = setting(
        None,
        "height and width to which all images are resized, in pixels; null: those with which the network's "
        "pretrained weights were trained, else those of the images if these are squares of one size up to "
        "64, else 64",
        ge=1,
    )
    resize: str = setting("crop", RESIZE_HELP, choices=RESIZES)
    channels: int | None = setting(
        None, "3: colour, 1: grey; null: 1 if the first images are grey, else 3", choices=(1, 3)
    )
    memory_limit_gb: float = setting(
        4.0, "size in GB (uint8) up to which images are read into memory", gt=0, resume="free"
    )

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if importlib.util.find_spec("datasets") is None:
            yield MISSING
        if not self.dataset and not self.path:
            yield "data.dataset: is not set; write data.dataset=NAME of the hub, or data.path=FOLDER"
        if self.dataset and self.path:
            yield f"data.path={self.path}: data.dataset={self.dataset} is set too; keep one of the two"
        if self.revision is not None and self.path:
            yield f"data.revision={self.revision}: has no effect with data.path, which is not of the hub"
        if self.path and not expanded(self.path).is_dir():
            yield f"data.path={self.path}: is no folder; name one of parquet files, or of save_to_disk"
        if self.image and self.image == self.label:
            yield f"data.label={self.label}: is the column of the images too; name different ones"

    def may_have_validation(self) -> bool:
        return True

    def default_augmentation(self) -> str:
        return "crop"

    def read(self) -> Splits:
        from ..hugging_face import HubSource, read_hugging_face

        source = HubSource(self.dataset, self.subset, self.revision, self.path)
        decoding = (self.image_size, self.resize, self.channels)
        return read_hugging_face(
            source, self.image, self.label, decoding, self.test_fraction, self.memory_limit_gb
        )
