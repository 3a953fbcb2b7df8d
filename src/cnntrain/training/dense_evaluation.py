"""Dense evaluation: the network at every position of images larger than its input, and on crops (E5)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..data.image_set import ImageSet
from ..errors import ConfigError
from ..model.fully_convolutional import SlidingNetwork
from ..preprocessing.preprocess import Preprocess
from ..settings.job_settings import Evaluate
from ..settings.network_input import NetworkInput
from .device import Compute

# Number of images on which dense scores are compared with those of crops.
COMPARED_IMAGES = 2


@dataclass(frozen=True)
class DenseComparison:
    """Positions of a dense evaluation, and the difference of its scores from those of crops at each position.

    The fields are written to the job's JSON file. places: rows and columns of positions. stride: pixels from
    one to the next. seconds, seconds_of_crops: time for one pass over COMPARED_IMAGES images, and for all
    their crops.
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
        reason = ", as crops are zero-padded where the image continues" if self.differs() else ""
        return [
            f"dense: {rows}x{columns} positions of {height}x{width} at stride {self.stride}, scores averaged",
            f"       scores differ from those of crops by {self.mean_difference:.2g} on average, at "
            f"most {self.largest_difference:.2g} (largest score {self.largest_score:.3g}){reason}",
            f"       on {COMPARED_IMAGES} images, one pass took {1000 * self.seconds:.3g} ms, "
            f"the crops {1000 * self.seconds_of_crops:.3g} ms",
        ]

    def differs(self) -> bool:
        """Return whether scores differ by more than rounding errors."""
        return self.largest_difference > 1e-4 * self.largest_score


def slide_network(
    network: nn.Module,
    preprocess: Preprocess,
    network_input: NetworkInput,
    image: tuple[int, int, int],
    settings: Evaluate,
    compute: Compute,
) -> tuple[SlidingNetwork, Preprocess]:
    """Return the network for dense evaluation of images of shape `image`, and their preprocessing.

    Images are scaled by the same factor as in training, or to evaluate.dense_size. Raises ConfigError if the
    result is not larger than the network's input.
    """
    input_size, size = network_input.size, settings.dense_size
    trained_height = (network_input.crop or network_input.image)[0]
    factor = input_size[0] / trained_height if size is None else size / min(image[:2])
    target = (round(image[0] * factor), round(image[1] * factor))
    if target[0] < input_size[0] or target[1] < input_size[1] or target == input_size:
        setting = "dense=true" if size is None else f"dense_size={size}"
        raise ConfigError(
            [
                f"evaluate.{setting}: images resized to {target[0]}x{target[1]} are not larger than the "
                f"network's input of {input_size[0]}x{input_size[1]}; "
                f"write evaluate.dense_size={input_size[0] * 5 // 4} or more"
            ]
        )
    larger = preprocess.for_size(target).to(compute.device)
    return SlidingNetwork(network, (network_input.channels, *input_size), settings.dense_stride), larger


@torch.inference_mode()
def compare_with_crops(
    network: SlidingNetwork, preprocess: Preprocess, images: ImageSet, compute: Compute
) -> DenseComparison:
    """Compare the scores of a few images at each position with those of crops, in float32."""
    inputs = preprocess(next(images.chunks(COMPARED_IMAGES)).to(compute.device))
    network.eval()
    crops = network.crops(inputs)

    def timed(function: Any, *arguments: Any) -> tuple[Tensor, float]:
        if compute.device.type == "cuda":
            torch.cuda.synchronize(compute.device)
        started = time.perf_counter()
        result = function(*arguments).cpu()
        return result, time.perf_counter() - started

    network.score_map(inputs)  # warm-up: in the first pass, libraries select their algorithms
    dense, seconds = timed(network.score_map, inputs)
    crop_scores, crop_seconds = timed(network.convolutional, crops)
    crop_scores = crop_scores.reshape(*dense.shape[2:], *dense.shape[:2]).permute(2, 3, 0, 1)
    difference = (dense - crop_scores).abs()
    return DenseComparison(
        places=(dense.shape[2], dense.shape[3]),
        stride=network.stride,
        input_size=network.input_size,
        mean_difference=difference.mean().item(),
        largest_difference=difference.max().item(),
        largest_score=dense.abs().max().item(),
        seconds=seconds,
        seconds_of_crops=crop_seconds,
    )
