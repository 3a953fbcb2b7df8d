"""Image shapes from the data set to the network: stored, cropped, preprocessed, enlarged."""

from __future__ import annotations

from dataclasses import dataclass

Shape = tuple[int, int, int]
Size = tuple[int, int]


@dataclass(frozen=True)
class NetworkInput:
    """The shape of a stored image, the changes made to it, and the shape at the network's input.

    image, shape: (height, width, channels) as stored and at the network's input. crop: (height, width) of
    the crops that augmentation takes, None for whole images. enlarged: (height, width) to which
    preprocessed images are resized, None where they are not.
    """

    image: Shape
    crop: Size | None
    enlarged: Size | None
    shape: Shape

    @property
    def size(self) -> Size:
        """Height and width at the network's input."""
        return self.shape[0], self.shape[1]

    @property
    def channels(self) -> int:
        """Number of channels at the network's input."""
        return self.shape[2]

    def notices(self) -> list[str]:
        """Return a message if images are enlarged for the network, else no messages."""
        if self.enlarged is None:
            return []
        height, width = self.crop or self.image[:2]
        enlarged = "x".join(map(str, self.enlarged))
        return [f"images are enlarged from {height}x{width} to {enlarged} for the network"]


@dataclass(frozen=True)
class TrainedInput:
    """The input with which weights were trained: (height, width), and mean and deviation of each channel.

    Mean and deviation are those of pixels in [0, 1].
    """

    size: tuple[int, int]
    mean: list[float]
    std: list[float]
