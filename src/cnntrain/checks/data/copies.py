"""Exact copies: images of the same content, in one split, across splits, and with labels that contradict."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from ...data.image_set import FileImages, ImageSet, MemoryImages
from ...data.splits import Splits
from ...data.tar_member import content_of
from ..check_result import CheckResult, warning
from .image_names import ImageId, images_text, listed, source
from .labels import label_text

# Images of fewer values, such as the points of toy2d, are equal by chance.
MIN_VALUES = 16
# Copies of training images in so small a part of a split hardly change its metrics.
MAX_COPIES = 0.01
# Values of copies contradict each other from this part of their deviation on.
MAX_VALUE_DIFFERENCE = 0.1

Group = list[ImageId]


def content_hashes(images: ImageSet) -> Iterator[bytes]:
    """Yield a hash of the content of each image: the pixels of images in memory, the bytes of files."""
    if isinstance(images, MemoryImages):
        for image in images.images.flatten(1).numpy():
            yield hash_of(image)
    else:
        assert isinstance(images, FileImages)
        for path in images.paths:
            yield hash_of(content_of(path))


def hash_of(content: Any) -> bytes:
    """Return a hash of 16 bytes of a buffer."""
    return hashlib.blake2b(content, digest_size=16).digest()


def copies_of_training_images(splits: Splits) -> dict[str, list[int]]:
    """Return the indices of the images, by split, whose content is exactly that of a training image."""
    training = set(content_hashes(splits.train))
    return {
        split: [index for index, digest in enumerate(content_hashes(part)) if digest in training]
        for split, part in splits.parts().items()
        if split != "train" and len(part)
    }


def groups_of_copies(contents: Mapping[str, Sequence[bytes | None]]) -> list[Group]:
    """Return the groups of two or more images of equal content, by split and index.

    contents: the hash of each image by split, None for one that cannot be read.
    """
    found: dict[bytes, Group] = {}
    for split, digests in contents.items():
        for index, digest in enumerate(digests):
            if digest is not None:
                found.setdefault(digest, []).append(ImageId(split, index))
    return [group for group in found.values() if len(group) > 1]


def check_copies_between_splits(groups: list[Group], splits: Splits, tolerated: float) -> CheckResult:
    """Return the check that no image is an exact copy of one in another split, which flatters the metrics.

    Counted are validation images with a copy in the training split, and test images with one in either. It
    fails where they are more than the fraction `tolerated` of their split; fewer are a warning.
    """
    name = "copies between splits"
    if too_few_values(splits):
        return CheckResult(name, None, _BY_CHANCE.format(math.prod(splits.train.shape)))
    parts = splits.parts()
    counted = [split for split in ("val", "test") if len(parts[split])]
    if not counted:
        return CheckResult(name, None, "there are no other images")
    copied = copied_from_other_splits(groups)
    counts = {split: len(copied[split]) for split in counted}
    numbers = ", ".join(f"{count} of {len(parts[split])} {split}" for split, count in counts.items())
    details = {"copies": {split: copied[split] for split in counted}}
    if not any(counts.values()):
        return CheckResult(name, True, f"{numbers} images are copies of images in another split", details)
    named = listed([pair_text(one, splits) for one in pairs_across(groups)])
    sentence = f"{numbers} images are copies of images in another split ({named})"
    if any(count > tolerated * len(parts[split]) for split, count in counts.items()):
        return CheckResult(name, False, f"{sentence}, which flatters the metrics; remove them", details)
    return warning(name, f"{sentence}; so few hardly change the metrics", details)


def check_copies_in_a_split(groups: list[Group], splits: Splits) -> CheckResult:
    """Return the check that no split has an image twice, with one label."""
    name = "copies in a split"
    if too_few_values(splits):
        return CheckResult(name, None, _BY_CHANCE.format(math.prod(splits.train.shape)))
    pairs = list[tuple[ImageId, ImageId]]()
    for group in groups:
        one_label = not labels_contradict(group, splits)
        first: dict[Any, ImageId] = {}
        for one in group:
            kind = one.split, None if one_label else str(_label(one, splits).tolist())
            if first.setdefault(kind, one) != one:
                pairs.append((first[kind], one))
    if not pairs:
        return CheckResult(name, True, "no split has an image twice")
    named = listed([pair_text(pair, splits) for pair in pairs])
    sentence = f"{images_text(len(pairs))} repeated ({named}), counting more than the others; remove copies"
    return warning(name, sentence, {"surplus": len(pairs)})


def check_contradictory_labels(groups: list[Group], splits: Splits, tolerated: float) -> CheckResult:
    """Return the check that images of equal content have equal labels, in one split or across splits.

    It fails where the images of such groups are more than the fraction `tolerated` of all; fewer are a
    warning.
    """
    name = "contradictory labels"
    if too_few_values(splits):
        return CheckResult(name, None, _BY_CHANCE.format(math.prod(splits.train.shape)))
    wrong = [group for group in groups if labels_contradict(group, splits)]
    if not wrong:
        return CheckResult(name, True, "copies of an image have the same label")
    named = listed([" = ".join(_with_label(one, splits) for one in group[:2]) for group in wrong])
    images = sum(map(len, wrong))
    sentence = f"{images} images with copies of another label ({named}); keep one with the right label"
    total = sum(len(part) for part in splits.parts().values())
    if images > tolerated * total:
        return CheckResult(name, False, sentence, {"images": images, "groups": len(wrong)})
    return warning(name, sentence, {"images": images, "groups": len(wrong)})


def too_few_values(splits: Splits) -> bool:
    """Return whether images have so few values that they are equal by chance."""
    return math.prod(splits.train.shape) < MIN_VALUES


def copied_from_other_splits(groups: list[Group]) -> dict[str, list[int]]:
    """Return the indices of validation and test images that an earlier split has too, by split."""
    found: dict[str, list[int]] = {"val": [], "test": []}
    for group in groups:
        present = {one.split for one in group}
        for one in group:
            earlier = {"train": set(), "val": {"train"}, "test": {"train", "val"}}[one.split]
            if present & earlier:
                found[one.split].append(one.index)
    return {split: sorted(indices) for split, indices in found.items()}


def pairs_across(groups: list[Group]) -> list[tuple[ImageId, ImageId]]:
    """Return, of each group with images of several splits, an image and the first one of another split."""
    pairs = []
    for group in groups:
        other = next((one for one in group if one.split != group[0].split), None)
        if other is not None:
            pairs.append((group[0], other))
    return pairs


def labels_contradict(group: Group, splits: Splits) -> bool:
    """Return whether the images of a group have different labels: classes, attributes, or distant values."""
    labels = [_label(one, splits) for one in group]
    first = labels[0]
    if first.ndim == 0 or _are_attributes(splits):
        return any(not label.equal(first) for label in labels[1:])
    allowed = MAX_VALUE_DIFFERENCE * splits.train.labels.std(0)
    return any(bool(((label - first).abs() > allowed).any()) for label in labels[1:])


def pair_text(pair: tuple[ImageId, ImageId], splits: Splits) -> str:
    """Return two images as text."""
    return " = ".join(image_text(one, splits) for one in pair)


def image_text(one: ImageId, splits: Splits) -> str:
    """Return an image as text: its file or its position in the stored arrays, and its split."""
    name = source(one, splits)
    if isinstance(name, int):
        return f"{one.split} image {name}"
    return name if name.lower().startswith(f"{one.split}/") else f"{name} of {one.split}"


def _with_label(one: ImageId, splits: Splits) -> str:
    return f"{image_text(one, splits)}: {label_text(_label(one, splits), splits.names)}"


def _label(one: ImageId, splits: Splits) -> Tensor:
    return splits.parts()[one.split].labels[one.index]


def _are_attributes(splits: Splits) -> bool:
    labels = splits.train.labels
    return bool(((labels == 0) | (labels == 1)).all())


_BY_CHANCE = "images of {} values are equal by chance"
