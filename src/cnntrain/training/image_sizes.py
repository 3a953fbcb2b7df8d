"""Smaller training images in the first part of a run (progressive resizing; Howard 2018, Tan & Le 2021)."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..settings.network_input import Size

# Pixels by which the shorter side grows.
INCREMENT = 4


class ImageSizes:
    """The size of training images as a function of the step.

    The shorter side rises from `initial` by 4 pixels at equal intervals, so that it is that of the `full`
    size (height, width) from step `until` on.
    """

    def __init__(self, initial: int, full: Size, until: int):
        self.initial = initial
        self.full = full
        self.until = until

    def size(self, step: int) -> Size:
        """Return (height, width) of the images of the step that follows `step` steps."""
        if step >= self.until:
            return self.full
        shorter = min(self.full)
        levels = -(-(shorter - self.initial) // INCREMENT)
        side = self.initial + INCREMENT * (step * levels // self.until)
        return (round(self.full[0] * side / shorter), round(self.full[1] * side / shorter))

    def resized(self, inputs: Tensor, step: int) -> Tensor:
        """Return the network's inputs (N, C, H, W) of a step at the size of that step."""
        size = self.size(step)
        if size == inputs.shape[2:]:
            return inputs
        return F.interpolate(inputs, size, mode="bilinear", align_corners=False, antialias=True)


def check_accepted(network: nn.Module, channels: int, size: Size) -> None:
    """Raise ConfigError if a network does not accept images of (height, width) = `size`."""
    tried = copy.deepcopy(network).to("meta").eval()
    try:
        with torch.no_grad():
            tried(torch.empty(1, channels, *size, device="meta"))
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            [
                f"trainer.initial_size={min(size)}: the network takes no images of {size[0]}x{size[1]} "
                f"({str(error).splitlines()[0]}); write a larger one, or null"
            ]
        ) from error
