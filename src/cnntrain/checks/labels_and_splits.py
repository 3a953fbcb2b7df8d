"""Labels and splits of a data set: what makes learning or its measurement meaningless."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

from ..data.image_set import FileImages, ImageSet, MemoryImages
from ..data.splits import Splits
from .check_result import CheckResult

# Copies of training images in so small a part of a split hardly change its metrics.
MAX_COPIES = 0.01
# Images of fewer values, such as the points of toy2d, are equal by chance.
MIN_VALUES = 16


def check_labels(splits: Splits) -> CheckResult:
    """Return the check that training labels are not constant and no class is missing from a split."""
    name = "labels"
    labels = splits.train.labels
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
    if any(missing.values()):
        split = next(split for split, names in missing.items() if names)
        listed = ", ".join(missing[split][:5]) + (", …" if len(missing[split]) > 5 else "")
        return CheckResult(name, False, f"no {split} images of {listed}", details)
    sentence = f"{len(splits.names)} classes with {counts.min()} to {counts.max()} training images"
    return CheckResult(name, True, sentence, details)


def constant_labels(splits: Splits) -> list[str]:
    """Return the attributes or values that are the same in all training images, or their only class."""
    labels = splits.train.labels
    if labels.ndim == 1:
        return [splits.names[int(labels[0])]] if (labels == labels[0]).all() else []
    same = (labels == labels[:1]).all(0).tolist()
    return [label for label, is_constant in zip(splits.names, same, strict=True) if is_constant]


def check_copies(splits: Splits) -> CheckResult:
    """Return the check that few validation and test images are exact copies of training images."""
    name = "copies between splits"
    if math.prod(splits.train.shape) < MIN_VALUES:
        return CheckResult(
            name, None, f"images of {math.prod(splits.train.shape)} values are equal by chance"
        )
    copies = copies_of_training_images(splits)
    counts = {split: len(found) for split, found in copies.items()}
    parts = splits.parts()
    listed = ", ".join(f"{count} of {len(parts[split])} {split}" for split, count in counts.items())
    if not counts:
        return CheckResult(name, None, "there are no other images")
    if any(count > MAX_COPIES * len(parts[split]) for split, count in counts.items()):
        sentence = f"{listed} images are copies of training images, which flatters the metrics; remove them"
        return CheckResult(name, False, sentence, {"copies": copies})
    return CheckResult(name, True, f"{listed} images are copies of training images", {"copies": copies})


def copies_of_training_images(splits: Splits) -> dict[str, list[int]]:
    """Return the indices of the images, by split, whose content is exactly that of a training image.

    Content: the pixels of images in memory, the bytes of files.
    """
    training = set(content_hashes(splits.train))
    return {
        split: [index for index, digest in enumerate(content_hashes(part)) if digest in training]
        for split, part in splits.parts().items()
        if split != "train" and len(part)
    }


def content_hashes(images: ImageSet) -> Iterator[bytes]:
    """Yield a hash of the content of each image."""
    if isinstance(images, MemoryImages):
        pixels = images.images.flatten(1).numpy()
        for image in pixels:
            yield hashlib.blake2b(image, digest_size=16).digest()
    else:
        assert isinstance(images, FileImages)
        for path in images.paths:
            yield hashlib.blake2b(Path(path).read_bytes(), digest_size=16).digest()
