"""Preprocessing that scales and shifts: centering, standardization, scaling to [-1, 1] (D2, D3)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.image_set import ImageSet
from ..settings.network_input import NetworkInput, Shape, Size
from .preprocess import Preprocess, fixed_size_error
from .statistics import extremes, mean_and_deviation

# Pixels (values 0…255) with a smaller standard deviation count as constant.
MIN_DEVIATION = 1e-3

# Scale and shift of values of 0…255 (value · scale + shift), and messages for the user.
ScaleAndShift = tuple[Tensor, Tensor, list[str]]


class Affine(Preprocess):
    """Values times a scale plus a shift, both (1, H, W, C), or (1, 1, 1, C) for images of any size."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor, size: Size | None, crop: Size | None = None):
        super().__init__(size, crop)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def values(self, images: Tensor) -> Tensor:
        return torch.addcmul(self.shift, images.float(), self.scale).permute(0, 3, 1, 2)

    def for_size(self, size: Size) -> Preprocess:
        scale, shift = self.scale[:, :1, :1], self.shift[:, :1, :1]
        if not (
            torch.equal(self.scale, scale.expand_as(self.scale))
            and torch.equal(self.shift, shift.expand_as(self.shift))
        ):
            raise fixed_size_error("preprocessing.per=pixel", "preprocessing.per=channel")
        return Affine(scale, shift, size)

    def _values_shape(self) -> Shape:
        _, height, width, channels = self.scale.shape
        return channels, height, width


def build_affine(scale: Tensor, shift: Tensor, network_input: NetworkInput) -> Affine:
    """Return the module for a scale and a shift that broadcast to images (H, W, C)."""
    shape = (*(network_input.crop or network_input.image[:2]), network_input.image[2])
    scale, shift = (part.expand(shape).float()[None].contiguous() for part in (scale, shift))
    return Affine(scale, shift, network_input.enlarged, network_input.crop)


def scaled_to_one() -> ScaleAndShift:
    """Return scale and shift that map values of 0…255 to 0…1."""
    return torch.tensor(1 / 255), torch.zeros(()), []


def centered(train: ImageSet, per: str) -> ScaleAndShift:
    """Return scale and shift that map to 0…1 and subtract the mean of each channel or pixel (D2)."""
    mean, _ = _mean_and_deviation(train, per)
    return torch.full_like(mean, 1 / 255), -mean / 255, []


def standardized(train: ImageSet, per: str) -> ScaleAndShift:
    """Return scale and shift that give each channel or pixel mean 0 and standard deviation 1 (D3)."""
    mean, deviation = _mean_and_deviation(train, per)
    return _center_and_divide(mean, deviation, deviation < MIN_DEVIATION, per)


def as_pretrained(mean: list[float], deviation: list[float], channels: int) -> ScaleAndShift:
    """Return scale and shift that subtract the mean and divide by the deviation of pixels in [0, 1].

    For grey images, whose filters are the sums of those for colours, the channels' values are averaged.
    """
    means, deviations = torch.tensor(mean, dtype=torch.float64), torch.tensor(deviation, dtype=torch.float64)
    if channels == 1:
        means, deviations = means.mean(0, keepdim=True), deviations.mean(0, keepdim=True)
    values = (", ".join(f"{value:.3g}" for value in part.tolist()) for part in (means, deviations))
    message = "inputs    mean {} and deviation {}, as of the pretrained weights".format(*values)
    return 1 / (255 * deviations), -means / deviations, [message]


def scaled_to_extremes(train: ImageSet, per: str) -> ScaleAndShift:
    """Return scale and shift that map the minimum and maximum of each channel or pixel to -1 and 1 (D3)."""
    low, high = extremes(train)
    if per == "channel":
        low, high = low.amin((0, 1)), high.amax((0, 1))
    center, half_range = (low + high) / 2, (high - low) / 2
    return _center_and_divide(center, half_range, half_range == 0, per)


def _mean_and_deviation(train: ImageSet, per: str) -> tuple[Tensor, Tensor]:
    mean, deviation = mean_and_deviation(train)
    if per == "pixel":
        return mean, deviation
    # For the deviation over all pixels of a channel, mean squares are averaged, not deviations.
    squares = (deviation**2 + mean**2).mean((0, 1))
    mean = mean.mean((0, 1))
    return mean, (squares - mean**2).clamp(min=0).sqrt()


def _center_and_divide(center: Tensor, divisor: Tensor, constant: Tensor, per: str) -> ScaleAndShift:
    """Return scale and shift that subtract `center` and divide by `divisor`, by 255 for constant values."""
    messages = []
    if constant.any():
        subject = f"{per}{'s are' if constant.sum() > 1 else ' is'}"
        messages.append(
            f"notice    {int(constant.sum())} {subject} constant in the training split: centered only"
        )
    divisor = torch.where(constant, 255.0, divisor)
    return 1 / divisor, -center / divisor, messages
