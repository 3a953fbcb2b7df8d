"""The shapes of an image on its way to the network: as stored, cropped, preprocessed, enlarged."""

from __future__ import annotations

from dataclasses import dataclass

Shape = tuple[int, int, int]
Size = tuple[int, int]


@dataclass(frozen=True)
class NetworkInput:
    """The shape (height, width, channels) of an image as stored, and as the network receives it.

    crop: the (height, width) that augmentation cuts out, None for the whole image. enlarged: the
    (height, width) to which the preprocessed image is resized last, None where it is not.
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
        """Return a line where images are enlarged for the network."""
        if self.enlarged is None:
            return []
        height, width = self.crop or self.image[:2]
        enlarged = "x".join(map(str, self.enlarged))
        return [f"images are enlarged from {height}x{width} to {enlarged} for the network"]
