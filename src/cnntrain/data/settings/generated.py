"""Generated images and points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...settings.fields import fixed, setting
from .base import Data, DatasetInfo

if TYPE_CHECKING:
    from ..splits import Splits


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
        from ..synthetic import make_synthetic

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
        from ..toy2d import make_toy2d

        return make_toy2d(self.shape, self.points, self.test_points, self.noise, self.classes)
