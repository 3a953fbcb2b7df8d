"""Settings of augmentation (group `augmentation`): applied to training images only, a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass

from .fields import fixed, setting


@dataclass
class Augmentation:
    """What every augmentation has."""

    name: str = ""


@dataclass
class Auto(Augmentation):
    """What suits the data set: crops and flips for photographs, crops alone for digits."""

    name: str = fixed("auto")


@dataclass
class CropFlip(Augmentation):
    """Crops at random places of the image padded with black, then flips left-right (D6)."""

    name: str = fixed("crop_flip")
    crop_padding: int | None = setting(
        None, "pixels of padding on each side before the crop; 0: no crop; null: an eighth of the side", ge=0
    )
    flip: bool = setting(True, "mirror each image left-right with probability ½")
