"""From stored images to the network's input: scaled, centred, standardized, enlarged.

The statistics are those of the training split and live in the module's buffers, so that they are
stored in every checkpoint and applied alike in training, evaluation and prediction (D2, D3).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config.preprocessing import Center, Preprocessing, Standardize
from ..errors import ConfigError
from .images import ImageSet


class Preprocess(nn.Module):
    """Images (N, H, W, C) of 0…255 → network input (N, C, H', W') in float32, channels last in memory.

    `crop` (height, width) is what is kept of the middle of larger images; training images come cropped.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        scale: Tensor,
        shift: Tensor,
        size: tuple[int, int] | None,
        crop: tuple[int, int] | None = None,
    ):
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        self.size = size
        self.crop = crop

    def forward(self, images: Tensor) -> Tensor:
        if self.crop is not None:
            images = centre_crop(images, self.crop)
        inputs = torch.addcmul(self.shift, images.float(), self.scale).permute(0, 3, 1, 2)
        if self.size is not None:
            inputs = F.interpolate(inputs, self.size, mode="bilinear", align_corners=False)
        return inputs

    def for_size(self, size: tuple[int, int]) -> Preprocess:
        """Return the same for images of other sizes, resized to `size`.

        Raises ConfigError where each pixel has statistics of its own.
        """
        scale, shift = self.scale[:, :1, :1], self.shift[:, :1, :1]
        if not (
            torch.equal(self.scale, scale.expand_as(self.scale))
            and torch.equal(self.shift, shift.expand_as(self.shift))
        ):
            raise ConfigError(
                [
                    "preprocessing.per=pixel: the run's statistics are those of its own pixels, and do not "
                    "fit larger images; train with preprocessing.per=channel"
                ]
            )
        return Preprocess(scale, shift, size)


def centre_crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the middle (N, height, width, C) of images (N, H, W, C), none of whose sides is shorter."""
    top, left = (round((images.shape[1 + side] - size[side]) / 2) for side in (0, 1))
    return images[:, top : top + size[0], left : left + size[1]]


def build_preprocessing(
    settings: Preprocessing,
    train: ImageSet,
    size: tuple[int, int] | None,
    crop: tuple[int, int] | None = None,
) -> tuple[Preprocess, list[str]]:
    """Return the preprocessing for a training split, and notices.

    `crop` keeps the middle (height, width) of images, then `size` enlarges them to (H', W'); with `crop`,
    statistics are per channel.
    """
    height, width = crop or train.shape[:2]
    channels = train.shape[2]
    shape = (1, height, width, channels)
    if not isinstance(settings, Center | Standardize):
        return Preprocess(torch.full(shape, 1 / 255), torch.zeros(shape), size, crop), []
    mean, deviation = statistics(train)
    if settings.per == "channel":
        # The deviation of a channel's pixels: the mean of squares is averaged, not the deviations.
        squares = (deviation**2 + mean**2).mean((0, 1), keepdim=True)
        mean = mean.mean((0, 1), keepdim=True)
        deviation = (squares - mean**2).clamp(min=0).sqrt()
    notices = []
    if isinstance(settings, Center):
        deviation = torch.full_like(mean, 255.0)
    else:
        constant = deviation < 1e-3
        if constant.any():
            what = "channel" if settings.per == "channel" else "pixel"
            notices.append(
                f"{int(constant.sum())} {what}(s) are constant in the training split: centred only"
            )
        deviation = torch.where(constant, torch.full_like(deviation, 255.0), deviation)
    scale = (1 / deviation).expand(height, width, channels)
    shift = (-mean / deviation).expand(height, width, channels)
    return Preprocess(scale.float()[None].contiguous(), shift.float()[None].contiguous(), size, crop), notices


def statistics(train: ImageSet) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each pixel, (H, W, C) in float64, of values 0…255.

    Sums are of whole numbers, so the result does not depend on threads or on the order of images.
    """
    total = torch.zeros(train.shape, dtype=torch.int64)
    squares = torch.zeros(train.shape, dtype=torch.int64)
    for images in train.chunks(1024):
        whole = images.to(torch.int32)
        total += whole.sum(0, dtype=torch.int64)
        squares += (whole * whole).sum(0, dtype=torch.int64)
    mean = total.double() / len(train)
    variance = squares.double() / len(train) - mean**2
    return mean, variance.clamp(min=0).sqrt()
