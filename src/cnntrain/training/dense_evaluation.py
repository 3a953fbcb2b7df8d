"""A network slid over images larger than its own input, compared with crops (E5)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..data.images import ImageSet
from ..errors import ConfigError
from ..model.dense import SlidingNetwork
from ..preprocessing.preprocess import Preprocess
from ..settings.network_input import NetworkInput
from ..settings.tree import Evaluate
from .device import Compute

# The number of images on which scores are compared with those of crops.
COMPARED_IMAGES = 2


@dataclass(frozen=True)
class DenseComparison:
    """How the network was slid, and how its scores differ from those of crops cut out at each position.

    places: rows and columns of positions. stride: pixels from one to the next. seconds, seconds_of_crops:
    for one pass over a few images, and for all their crops.
    """

    places: tuple[int, int]
    stride: int
    input_size: tuple[int, int]
    mean_difference: float
    largest_difference: float
    largest_score: float
    seconds: float
    seconds_of_crops: float

    def lines(self) -> list[str]:
        """Return the comparison as printed."""
        rows, columns = self.places
        height, width = self.input_size
        why = ", as crops are padded with zeros where the image continues" if self.differs() else ""
        return [
            f"dense: {rows}x{columns} positions of {height}x{width} at stride {self.stride}, scores averaged",
            f"       scores differ from those of crops by {self.mean_difference:.2g} in the mean, at "
            f"most {self.largest_difference:.2g} (largest score {self.largest_score:.3g}){why}",
            f"       on {COMPARED_IMAGES} images, one pass took {1000 * self.seconds:.3g} ms, "
            f"the crops {1000 * self.seconds_of_crops:.3g} ms",
        ]

    def differs(self) -> bool:
        """Return whether scores differ by more than rounding."""
        return self.largest_difference > 1e-4 * self.largest_score


def slide_network(
    network: nn.Module,
    preprocess: Preprocess,
    network_input: NetworkInput,
    image: tuple[int, int, int],
    settings: Evaluate,
    compute: Compute,
) -> tuple[SlidingNetwork, Preprocess]:
    """Return the network slid over images of shape `image`, and the preprocessing for images of that size.

    Images are enlarged by the same factor as those of training, or to evaluate.dense_size. Raises
    ConfigError where they are not larger than the network's own input.
    """
    own, size = network_input.size, settings.dense_size
    trained_height = (network_input.crop or network_input.image)[0]
    factor = own[0] / trained_height if size is None else size / min(image[:2])
    target = (round(image[0] * factor), round(image[1] * factor))
    if target[0] < own[0] or target[1] < own[1] or target == own:
        written = "dense=true" if size is None else f"dense_size={size}"
        raise ConfigError(
            [
                f"evaluate.{written}: images of {target[0]}x{target[1]} at the network's input are not "
                f"larger than its own {own[0]}x{own[1]}; write evaluate.dense_size={own[0] * 5 // 4} or more"
            ]
        )
    larger = preprocess.for_size(target).to(compute.device)
    return SlidingNetwork(network, (network_input.channels, *own), settings.dense_stride), larger


@torch.inference_mode()
def compare_with_crops(
    network: SlidingNetwork, preprocess: Preprocess, images: ImageSet, compute: Compute
) -> DenseComparison:
    """Return how a few images' scores at each position compare with those of crops, in float32."""
    inputs = preprocess(next(images.chunks(COMPARED_IMAGES)).to(compute.device))
    network.eval()
    crops = network.crops(inputs)

    def timed(function: Any, *arguments: Any) -> tuple[Tensor, float]:
        if compute.device.type == "cuda":
            torch.cuda.synchronize(compute.device)
        started = time.perf_counter()
        result = function(*arguments).cpu()
        return result, time.perf_counter() - started

    network.score_map(inputs)  # in the first pass, libraries choose their algorithms
    dense, seconds = timed(network.score_map, inputs)
    of_crops, seconds_of_crops = timed(network.convolutional, crops)
    of_crops = of_crops.reshape(*dense.shape[2:], *dense.shape[:2]).permute(2, 3, 0, 1)
    difference = (dense - of_crops).abs()
    return DenseComparison(
        places=(dense.shape[2], dense.shape[3]),
        stride=network.stride,
        input_size=network.input_size,
        mean_difference=difference.mean().item(),
        largest_difference=difference.max().item(),
        largest_score=dense.abs().max().item(),
        seconds=seconds,
        seconds_of_crops=seconds_of_crops,
    )
