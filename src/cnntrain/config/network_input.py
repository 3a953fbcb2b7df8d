"""How an image comes to the network: cut by augmentation, preprocessed, enlarged (no data are needed)."""

from __future__ import annotations

from dataclasses import dataclass

from .model import enlarged
from .root import Config

Shape = tuple[int, int, int]
Size = tuple[int, int]


@dataclass(frozen=True)
class NetworkInput:
    """The shapes (height, width, channels) of an image as stored, and as the network gets it.

    crop: the size cut out of it, None for the whole. enlarged: that to which it is brought last, or None.
    """

    image: Shape
    crop: Size | None
    enlarged: Size | None
    shape: Shape

    @property
    def size(self) -> Size:
        """(height, width) at the network's input."""
        return self.shape[0], self.shape[1]

    @property
    def channels(self) -> int:
        """Channels at the network's input."""
        return self.shape[2]

    def notices(self) -> list[str]:
        """Return what the user should know of the way."""
        if self.enlarged is None:
            return []
        height, width = self.crop or self.image[:2]
        larger = "x".join(map(str, self.enlarged))
        return [f"images are enlarged from {height}x{width} to {larger} for the network"]


def network_input(config: Config, image: Shape) -> NetworkInput:
    """Return the way of images of this shape under a configuration that fits them."""
    shown = config.augmentation.cropped((image[0], image[1]))
    height, width, channels = config.preprocessing.input_shape(*shown, image[2])
    larger = enlarged(config.model, (height, width))
    crop = None if shown == (image[0], image[1]) else shown
    return NetworkInput(image, crop, larger, (*(larger or (height, width)), channels))


def input_problems(config: Config, image: Shape) -> list[str]:
    """Return a line for each setting that does not fit images of this shape."""
    problems: list[str] = config.augmentation.misfits(*image)
    if problems:
        return problems
    shown = config.augmentation.cropped((image[0], image[1]))
    found: list[str] = config.preprocessing.problems(*shown, image[2])
    return found
