"""From stored images to the network's input: cropped, preprocessed, enlarged.

The statistics are those of the training split and live in the module's buffers, so that they are stored
in every checkpoint and applied equally in training, evaluation and prediction (D2 to D5).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..settings.network_input import Shape, Size


class Preprocess(nn.Module):
    """Images (N, H, W, C) of 0…255 → network input (N, C', H', W') in float32, channels last in memory.

    `crop` keeps the centre (height, width) of larger images, where training cuts windows of that size;
    `size` resizes to (H', W') at the end. None leaves the size.
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
        """Return the network's input at the images' own size."""
        raise NotImplementedError

    def for_size(self, size: Size) -> Preprocess:
        """Return the same preprocessing for images of other sizes, resized to `size`.

        Raises ConfigError where the statistics are those of single pixels.
        """
        raise NotImplementedError

    def _values_shape(self) -> Shape:
        raise NotImplementedError


def center_crop(images: Tensor, size: Size) -> Tensor:
    """Return the centre (N, height, width, C) of images (N, H, W, C), none of whose sides is shorter."""
    top, left = (round((images.shape[1 + side] - size[side]) / 2) for side in (0, 1))
    return images[:, top : top + size[0], left : left + size[1]]


def for_own_size_only(written: str, instead: str) -> ConfigError:
    """Return the error for statistics of single pixels on images of another size."""
    return ConfigError(
        [
            f"{written}: the run's statistics are those of its own pixels, and do not fit larger images; "
            f"train with {instead}"
        ]
    )
