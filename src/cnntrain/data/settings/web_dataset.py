"""Images of your own in tar files, as the package webdataset writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...settings.fields import fixed, setting, shorten
from .base import path_problems
from .image_files import OwnFiles

if TYPE_CHECKING:
    from ..splits import Splits


# Commands and addresses that the package webdataset reads from.
STREAM = re.compile(r"(pipe|https?|s3|gs|hdfs|hf|ais|az):")


@dataclass
class WebDataset(OwnFiles):
    """Your own images in tar files, for sets of more files than a disk manages well: members of one name are
    an image and its class (0001.jpg, 0001.cls)."""

    name: str = fixed("webdataset")
    path: str = setting(
        "",
        "folder of .tar files, or a pattern of them such as shards/train-{000..099}.tar, in quotes; with "
        "train, val or test in their names they are of these splits",
        resume="free",
        path="path",
    )
    image: str = setting("", "ending of the members that are images, such as jpg; empty: the only one")
    label: str = setting(
        "",
        "ending of the members that have the class, or json:FIELD; empty: cls, else the field cls, label or "
        "class of json",
    )
    classes: str = setting(
        "",
        "text file with the name of a class in each line, the first that of number 0; empty: the classes of "
        "the samples, in order",
        resume="free",
        path="path",
    )

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        yield from path_problems(self.name, self.path)
        if stream := STREAM.match(self.path):
            yield (
                f"data.path={shorten(self.path, 100)}: {stream[0]} is read from begin to end only, images "
                "are read in the order of a run; copy the tar files to a disk, and name their folder"
            )

    def read(self) -> Splits:
        from ..web_dataset import TarSource, read_web_dataset

        source = TarSource(self.path, self.image, self.label, self.classes)
        return read_web_dataset(source, self.test_fraction, self.split_by, *self._decoding())
