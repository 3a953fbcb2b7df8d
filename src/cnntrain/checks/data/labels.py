"""Labels: what is constant, missing or rare, and how their proportions differ between splits."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from ...data.splits import Splits
from ..check_result import CheckResult, warning

# How many times more images than another class the largest may have before that is reported.
IMBALANCE = 8.0
# A difference of proportions of medium size (Cohen 1988), which chance gives in one of a hundred data sets.
MIN_EFFECT, MAX_PROBABILITY = 0.3, 0.01
NAMED = 5


def check_labels(splits: Splits) -> CheckResult:
    """Return the check that training labels are not constant and no class is missing from a split.

    Training needs each class in its own split, to learn it, and in the validation split, which chooses the
    best epoch. A class without test images is not measured, which is a warning.
    """
    name = "labels"
    labels = splits.train.labels
    if not len(labels):
        return CheckResult(name, False, "there are no training images")
    constant = constant_labels(splits)
    if constant and labels.ndim == 1:
        return CheckResult(name, False, f"all training images are of class {constant[0]}")
    if constant:
        return CheckResult(name, False, f"constant in the training split: {', '.join(constant[:10])}")
    if labels.ndim > 1:
        return CheckResult(name, True, f"{labels.shape[1]} for each image, none of them constant")
    missing = splits.missing_classes()
    counts = labels.bincount(minlength=len(splits.names))
    details = {"training_images": dict(zip(splits.names, counts.tolist(), strict=True)), "missing": missing}
    lacking = "; ".join(f"no {split} images of {_listed(names)}" for split, names in missing.items() if names)
    if missing["train"] or missing.get("val"):
        needed = "a class is learned from its training images, and the best epoch chosen by validation images"
        return CheckResult(name, False, f"{lacking}; {needed}: add some, or remove it", details)
    if lacking:
        return warning(name, f"{lacking}; how well it is recognized will not be known: add some", details)
    least, most = int(counts.min()), int(counts.max())
    numbers = f"{least} training images each" if least == most else f"{least} to {most} training images"
    return CheckResult(name, True, f"{len(splits.names)} classes with {numbers}", details)


def constant_labels(splits: Splits) -> list[str]:
    """Return the attributes or values that are the same in all training images, or their only class."""
    labels = splits.train.labels
    if labels.ndim == 1:
        return [splits.names[int(labels[0])]] if (labels == labels[0]).all() else []
    same = (labels == labels[:1]).all(0).tolist()
    return [label for label, is_constant in zip(splits.names, same, strict=True) if is_constant]


def check_class_sizes(splits: Splits) -> CheckResult:
    """Return the check that no class has IMBALANCE times as many training images as another one."""
    name = "class sizes"
    counts = splits.train.labels.bincount(minlength=len(splits.names)).tolist()
    present = {label: count for label, count in zip(splits.names, counts, strict=True) if count}
    if not present:
        return CheckResult(name, None, "there are no training images")
    largest, smallest = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
    ratio = present[largest] / present[smallest]
    details = {"largest": largest, "smallest": smallest, "ratio": round(ratio, 3)}
    if ratio < IMBALANCE:
        return CheckResult(
            name, True, f"the largest class has {ratio:.1f} times as many images as the smallest", details
        )
    return warning(
        name,
        f"{largest} has {present[largest]} training images, {smallest} {present[smallest]}; add images of "
        "rare classes, or write loss.balanced=true, and watch the recall of each class",
        details,
    )


def check_class_proportions(splits: Splits) -> CheckResult:
    """Return the check that validation and test images have about the class proportions of training images.

    Effect size: Cohen's w, √Σ (q - p)²/p over the classes, p in the training split, q in the other one. Test:
    Pearson's χ² of homogeneity. A warning needs MIN_EFFECT and a probability below MAX_PROBABILITY.
    """
    name = "class proportions"
    counts = class_counts(splits)
    train = counts.pop("train")
    details: dict[str, Any] = {}
    skewed = []
    for split, other in counts.items():
        if not sum(other) or not sum(train):
            continue
        effect, probability = proportion_difference(train, other)
        details[split] = {"effect": round(effect, 4), "probability": float(f"{probability:.3g}")}
        if effect >= MIN_EFFECT and probability < MAX_PROBABILITY:
            skewed.append(f"{_largest_difference(train, other, splits.names, split)} (w = {effect:.2f})")
    if not details:
        return CheckResult(name, None, "there are no other images")
    if skewed:
        sentence = f"{'; '.join(skewed)}; divide the images anew, or report the recall of each class"
        return warning(name, sentence, details)
    return CheckResult(name, True, f"about the same in {' and '.join(details)} as in training", details)


def class_counts(splits: Splits) -> dict[str, list[int]]:
    """Return the number of images of each class, by split."""
    return {
        split: part.labels.bincount(minlength=len(splits.names)).tolist()
        for split, part in splits.parts().items()
    }


def proportion_difference(train: list[int], other: list[int]) -> tuple[float, float]:
    """Return Cohen's w between two splits' counts of classes, and the probability of Pearson's χ² test.

    Classes that the training split does not have are left out, as they are missing labels.
    """
    from scipy.special import chdtrc

    pairs = [(one, two) for one, two in zip(train, other, strict=True) if one]
    totals = [sum(column) for column in zip(*pairs, strict=True)]
    if len(pairs) < 2 or not totals[1]:
        return 0.0, 1.0
    effect = math.sqrt(
        sum((two / totals[1] - one / totals[0]) ** 2 / (one / totals[0]) for one, two in pairs)
    )
    statistic = 0.0
    for pair in pairs:
        for count, total in zip(pair, totals, strict=True):
            expected = total * sum(pair) / sum(totals)
            statistic += (count - expected) ** 2 / expected
    return effect, float(chdtrc(len(pairs) - 1, statistic))


def label_text(labels: Tensor, names: list[str]) -> str:
    """Return the label of one image as text: its class, its attributes, or its values."""
    if labels.ndim == 0:
        return names[int(labels)]
    values = labels.tolist()
    if set(values) <= {0.0, 1.0}:
        present = [name for name, value in zip(names, values, strict=True) if value]
        return ", ".join(present) if present else "none"
    return ", ".join(f"{name} {value:.4g}" for name, value in zip(names, values, strict=True))


def _largest_difference(train: list[int], other: list[int], names: list[str], split: str) -> str:
    differences = [two / sum(other) - one / sum(train) for one, two in zip(train, other, strict=True)]
    most = max(range(len(names)), key=lambda label: abs(differences[label]))
    before, after = train[most] / sum(train), other[most] / sum(other)
    return f"{names[most]} is {after:.0%} of the {split} images and {before:.0%} of the training images"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
