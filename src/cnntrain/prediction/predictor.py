"""What predicts: a network of a run, an ensemble or an exported file, seen alike by job=predict."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ..training.device import Compute

NONE_OF_THEM = "none of them"
# An attribute is predicted present where its probability is above this, which is where its score is positive.
THRESHOLD = 0.5


class Predictor(Protocol):
    """A trained network with all that is needed to prepare images for it and to word its results."""

    @property
    def names(self) -> list[str]:
        """The names of the classes, attributes or values."""

    @property
    def target(self) -> str:
        """What is predicted: "classes", "attributes" or "values"."""

    @property
    def rejects(self) -> bool:
        """Whether the probabilities of an image's classes may add up to less than 1.

        What is left is the probability of "none of them" (loss=rejecting_softmax).
        """

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images that `predict` takes."""

    @property
    def resize(self) -> str:
        """How other images are brought to this height and width: "crop", "squash" or "pad"."""

    @property
    def threads(self) -> int | None:
        """The number of CPU threads that the run used, None where it is not known."""

    # Images per forward pass; job=predict may set it.
    batch_size: int

    def use(self, compute: Compute) -> None:
        """Predict on a device and in a precision; those that cannot be chosen are ignored."""

    def predict(self, images: Tensor) -> Tensor:
        """Return probabilities of classes (N, K) or attributes (N, A), or values (N, V), float32 on the CPU.

        images: uint8 (N, height, width, channels) of `image_shape`, on the CPU.
        """

    def gradient_map(self, pixels: Tensor, index: int) -> Tensor:
        """Return the gradient map (H, W) of one image for the class, attribute or value at an index.

        Raises ValueError where the predictor has no gradients.
        """


def with_none_of_them(predictor: Predictor, results: Tensor) -> tuple[list[str], Tensor]:
    """Return the names of the possible answers and their probabilities (N, K) for predicted classes (N, K).

    Where the predictor rejects, "none of them" is the last one.
    """
    if not predictor.rejects:
        return predictor.names, results
    none = (1 - results.sum(1, keepdim=True)).clamp(min=0)
    return [*predictor.names, NONE_OF_THEM], torch.cat([results, none], 1)
