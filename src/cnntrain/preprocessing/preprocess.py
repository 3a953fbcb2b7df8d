"""Preprocessing from stored images to the network's input: crop, normalization, resizing.

Statistics are those of the training split and are held in the module's buffers, so that they are stored in
every checkpoint and applied identically in training, evaluation and prediction (D2 to D5).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..settings.network_input import Shape, Size


class Preprocess(nn.Module):
    """Images (N, H, W, C) of 0…255 → network input (N, C', H', W') in float32, channels last in memory.

    crop: (height, width) of the center crop of larger images, from which training takes random crops of that
    size. size: (H', W') to which the result is resized. None: no change.
    """

    def __init__(self, size: Size | None, crop: Size | None = None):
        super().__init__()
        self.size = size
        self.crop = crop

    @property
    def output_shape(self) -> Shape:
        """(C', H', W') of the network's input."""
        channels, height, width = self._values_shape()
        return (channels, *(self.size or (height, width)))

    def forward(self, images: Tensor) -> Tensor:
        inputs = self.values(images if self.crop is None else center_crop(images, self.crop))
        if self.size is not None:
            inputs = F.interpolate(inputs, self.size, mode="bilinear", align_corners=False)
        return inputs

    def values(self, images: Tensor) -> Tensor:
        """Return the network's input before resizing."""
        raise NotImplementedError

    def for_size(self, size: Size) -> Preprocess:
        """Return the same preprocessing for images of other sizes, resized to `size`.

        Raises ConfigError if the statistics are per pixel.
        """
        raise NotImplementedError

    def _values_shape(self) -> Shape:
        raise NotImplementedError


def center_crop(images: Tensor, size: Size) -> Tensor:
    """Return the center crop (N, height, width, C) of images (N, H, W, C), which are at least as large."""
    top, left = (round((images.shape[1 + side] - size[side]) / 2) for side in (0, 1))
    return images[:, top : top + size[0], left : left + size[1]]


def fixed_size_error(setting: str, alternative: str) -> ConfigError:
    """Return the error for per-pixel statistics applied to images of another size."""
    return ConfigError(
        [
            f"{setting}: the run's statistics are per pixel and do not fit larger images; "
            f"train with {alternative}"
        ]
    )
