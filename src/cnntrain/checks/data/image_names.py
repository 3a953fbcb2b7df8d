"""How images of a data set are named: by their files, else by their positions in the arrays as stored."""

from __future__ import annotations

from dataclasses import dataclass

from ...data.splits import SPLITS, Splits

NAMED = 3


@dataclass(frozen=True)
class ImageId:
    """An image of a data set: its split, and its index in the split."""

    split: str
    index: int

    def position(self) -> tuple[int, int]:
        """Return by what images are ordered: training before validation and test images."""
        return SPLITS.index(self.split), self.index


def source(one: ImageId, splits: Splits) -> str | int:
    """Return where one image comes from."""
    return splits.parts()[one.split].sources(one.index, one.index + 1)[0]


def images_text(count: int) -> str:
    """Return a number of images as text."""
    return f"{count} image{'' if count == 1 else 's'}"


def listed(names: list[str]) -> str:
    """Return the first names of a list as text, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
