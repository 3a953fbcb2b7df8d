"""Differences between splits in brightness, contrast, colours and sizes, and in attributes and values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...data.splits import Splits
from ..check_result import CheckResult, warning
from .image_records import ImageRecords

# A difference of means of half a standard deviation is of medium size (Cohen 1988); one of four standard
# errors is chance once in 16 000 times.
MIN_EFFECT, STANDARD_ERRORS = 0.5, 4.0
# Smaller deviations than one grey level, or a tenth of a doubling of the size, are counted as these.
GREY_LEVEL, DOUBLING = 1.0, 0.1


@dataclass(frozen=True)
class Difference:
    """How the mean of a quantity differs between a split and the training split.

    effect: Cohen's d, the difference of the means over the pooled standard deviation. errors: the same over
    its standard error.
    """

    quantity: str
    split: str
    train: float
    other: float
    effect: float
    errors: float

    def is_large(self) -> bool:
        """Return whether the difference is neither small nor chance."""
        return abs(self.effect) >= MIN_EFFECT and abs(self.errors) >= STANDARD_ERRORS


def check_appearance(records: Mapping[str, ImageRecords]) -> CheckResult:
    """Return the check that images of the other splits look as bright, coloured and large as training images.

    Effect size: Cohen's d of each quantity between training images and those of the other split.
    """
    quantities = {split: appearance(record) for split, record in records.items()}
    return _checked("brightness and colour", quantities, "images of the kind that the network will meet")


def check_label_means(splits: Splits) -> CheckResult:
    """Return the check that attributes and values have about the same means in all splits, by Cohen's d."""
    columns = {
        split: {
            label: (values.numpy(), 0.0)
            for label, values in zip(splits.names, part.labels.unbind(1), strict=True)
        }
        for split, part in splits.parts().items()
    }
    return _checked("label means", columns, "labels of the same range")


def appearance(record: ImageRecords) -> dict[str, tuple[NDArray[np.floating], float]]:
    """Return, of the images that can be read, what is compared: values (N,) and the least deviation of each.

    brightness: mean of all values; contrast: their deviation; red, green, blue: the channel's mean less the
    brightness; size: log2 of the number of pixels as stored.
    """
    read = record.is_read()
    means = record.means[read].astype(np.float64)
    brightness = means.mean(1)
    found = {
        "brightness": (brightness, GREY_LEVEL),
        "contrast": (record.deviations[read].astype(np.float64), GREY_LEVEL),
    }
    if means.shape[1] == 3:
        for channel, colour in enumerate(("red", "green", "blue")):
            found[colour] = (means[:, channel] - brightness, GREY_LEVEL)
    if record.stored is not None:
        pixels = [form.width * form.height for form in record.stored if form is not None]
        found["size"] = (np.log2(np.array(pixels, np.float64)), DOUBLING)
    return found


def difference(
    quantity: str, split: str, train: NDArray[np.floating], other: NDArray[np.floating], least: float
) -> Difference:
    """Return how much the mean of a quantity differs; least: the smallest deviation that is divided by."""
    counts = len(train), len(other)
    squares = float(((train - train.mean()) ** 2).sum() + ((other - other.mean()) ** 2).sum())
    deviation = max(least, float(np.sqrt(squares / max(1, sum(counts) - 2))), 1e-9)
    effect = float(other.mean() - train.mean()) / deviation
    error = float(np.sqrt(1 / counts[0] + 1 / counts[1]))
    return Difference(quantity, split, float(train.mean()), float(other.mean()), effect, effect / error)


def _checked(
    name: str, quantities: Mapping[str, Mapping[str, tuple[NDArray[np.floating], float]]], wanted: str
) -> CheckResult:
    train = quantities["train"]
    found = [
        difference(quantity, split, values, others[quantity][0], least)
        for split, others in quantities.items()
        if split != "train"
        for quantity, (values, least) in train.items()
        if len(values) and len(others[quantity][0])
    ]
    if not found:
        return CheckResult(name, None, "there are no other images")
    details = {split: dict[str, float]() for split in quantities if split != "train"}
    for one in found:
        details[one.split][one.quantity] = round(one.effect, 4)
    large = sorted((one for one in found if one.is_large()), key=lambda one: -abs(one.effect))
    if not large:
        most = max(found, key=lambda one: abs(one.effect))
        least = f"{abs(most.effect):.2f} deviations, {most.quantity} of {most.split}"
        sentence = f"no split differs much (at most {least})"
        return CheckResult(name, True, sentence, {"effects": details})
    named = "; ".join(
        f"{one.quantity} of {one.split} is {one.effect:+.1f} deviations from training" for one in large[:3]
    )
    sentence = f"{named}; divide the images anew, or train on {wanted}"
    return warning(name, sentence, {"effects": details})
