"""An exported file compared with the run it was made from, image by image over the validation split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.image_set import ImageSet
from ..data.splits import Splits
from ..prediction.exported import ExportedNetwork
from ..prediction.predictor import THRESHOLD, with_none_of_them
from ..prediction.trained import TrainedNetwork

# Training images on which files are compared where there are no validation images.
TRAINING_IMAGES = 1000


@dataclass(frozen=True)
class Limit:
    """What an exported file may differ by: the results of an image, and the share of equal predictions."""

    difference: float
    equal: float


# By number format. Of int8, a single image between two classes may change by much, so the share decides.
LIMITS = {None: Limit(1e-3, 0.0), "fp16": Limit(5e-2, 0.0), "int8": Limit(float("inf"), 0.95)}


@dataclass(frozen=True)
class Comparison:
    """How an exported file differs from its run on the images of a split.

    difference: the largest absolute difference of a probability; of values, in units of the standard
    deviation of the run's own predictions. equal: the share of predicted classes or attributes that are
    equal; of values, those that differ by less than a tenth of that deviation. metric: the accuracy, of
    values the mean absolute error, of the run (in fp32) and of the file.
    """

    split: str
    images: int
    difference: float
    equal: float
    metric_name: str
    metric_of_run: float
    metric_of_file: float

    def problem(self, quantize: str | None) -> str | None:
        """Return in words what is above the limit of a number format, None if nothing is."""
        limit = LIMITS[quantize]
        if not self.difference <= limit.difference:
            return f"differs from the run by {self.difference:.2g}, more than {limit.difference:g}"
        if self.equal < limit.equal:
            return f"agrees with the run on {self.equal:.1%} of the images, less than {limit.equal:.0%}"
        return None


def compared_images(splits: Splits) -> tuple[str, ImageSet]:
    """Return the name of the split that files are compared on, and its images."""
    if len(splits.val):
        return "val", splits.val
    train = splits.train
    return "train", train.subset(torch.arange(min(TRAINING_IMAGES, len(train))))


def results_of(predict: Callable[[Tensor], Tensor], images: ImageSet, batch_size: int) -> Tensor:
    """Return what a network predicts for all images of a split, (N, K)."""
    return torch.cat([predict(chunk) for chunk in images.chunks(batch_size)])


def predict_function(
    network: TrainedNetwork | ExportedNetwork, run: TrainedNetwork
) -> Callable[[Tensor], Tensor]:
    """Return the function from uint8 images to results of an exported file.

    Of one without preprocessing, the run preprocesses the images and interprets the scores.
    """
    if isinstance(network, TrainedNetwork) or network.metadata.preprocessing:
        return network.predict

    @torch.inference_mode()
    def predict(images: Tensor) -> Tensor:
        scores = network.run(run.preprocess(images).contiguous())
        return run.criterion.probabilities(scores.float())

    return predict


def compare(run: TrainedNetwork, expected: Tensor, found: Tensor, split: str, labels: Tensor) -> Comparison:
    """Compare the results of an exported file with those of its run on the same images, both (N, K)."""
    name, metric_of_run = metric(run, expected, labels)
    _, metric_of_file = metric(run, found, labels)
    difference = (found - expected).abs()
    if run.target == "values":
        difference = difference / expected.std(0, correction=0).clamp(min=1e-6)
        equal = (difference < 0.1).float()
    elif run.target == "attributes":
        equal = ((found > THRESHOLD) == (expected > THRESHOLD)).float()
    else:
        answers = [with_none_of_them(run, results)[1].argmax(1) for results in (expected, found)]
        equal = (answers[0] == answers[1]).float()
    largest = float(difference.nan_to_num(nan=float("inf")).max())
    return Comparison(split, len(labels), largest, float(equal.mean()), name, metric_of_run, metric_of_file)


def metric(run: TrainedNetwork, results: Tensor, labels: Tensor) -> tuple[str, float]:
    """Return the name and the value of the metric of a network's results (N, K) on images with these labels.

    It is the accuracy, and the mean absolute error of values.
    """
    if run.target == "values":
        return "mean_absolute_error", float((results - labels).abs().mean())
    if run.target == "attributes":
        return "accuracy", float(((results > THRESHOLD) == (labels > THRESHOLD)).float().mean())
    return "accuracy", float((results.argmax(1) == labels).float().mean())
