"""Near duplicates: images that differ in size, compression or brightness, but not in what they show.

Two images are near duplicates if their perceptual hashes of 64 bits differ in at most MAX_BITS. Photographs
saved anew as JPEG, scaled, with noise or in grey differ in 0 to 4 bits, unrelated ones in about 32;
docs/data.md has the measurements. Drawings of strokes on an empty ground, such as the digits of MNIST, agree
in all bits by chance. So the number of pairs is compared with the number to be expected by chance; a distance
at which chance would give more than a tenth of them is not used, and if none is left, near duplicates are not
reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...data.splits import Splits
from ..check_result import CheckResult, warning
from .copies import Group, image_text, labels_contradict
from .image_names import ImageId, listed
from .image_records import ImageRecords
from .perceptual_hash import close_pairs, connected, expected_by_chance

# Bits in which near duplicates may differ, the largest first, and the fraction of pairs that may be chance.
MAX_BITS, BY_CHANCE = (4, 2, 0), 0.1
# More pairs are not near duplicates, but what the images of such a data set have in common.
MAX_PAIRS = 10**6
# Smaller images have fewer values than the hash has bits.
MIN_SIDE = 8


@dataclass(frozen=True)
class NearDuplicates:
    """What was found: groups of near duplicates that are not all exact copies.

    bits: in how many bits two of them may differ; None where near duplicates cannot be told from chance, for
    the `reason`. pairs, expected: the number of pairs found, and that to be expected by chance.
    """

    groups: list[Group]
    bits: int | None
    reason: str = ""
    pairs: int = 0
    expected: float = 0.0


def find_near_duplicates(records: Mapping[str, ImageRecords], splits: Splits) -> NearDuplicates:
    """Return the near duplicates of a data set.

    Images that cannot be read and those of a single colour have no hash. Of exact copies only the first is
    compared, and a group of near duplicates has all of them.
    """
    height, width, _ = splits.train.shape
    if min(height, width) < MIN_SIDE and all(record.stored is None for record in records.values()):
        return NearDuplicates([], None, f"images of {height}x{width} are too small for a perceptual hash")
    members: dict[bytes, Group] = {}
    hashes = []
    for split, record in records.items():
        for index in np.flatnonzero(record.is_hashed()).tolist():
            content = record.contents[index]
            assert content is not None
            if content not in members:
                hashes.append(record.hashes[index])
            members.setdefault(content, []).append(ImageId(split, index))
    distinct = np.array(hashes, np.uint64)
    pairs, bits = close_pairs(distinct, MAX_BITS[0], MAX_PAIRS)
    if len(pairs) <= MAX_PAIRS:
        for largest in MAX_BITS:
            close = pairs[bits <= largest]
            expected = expected_by_chance(distinct, largest)
            if expected <= BY_CHANCE * max(1, len(close)):
                every = list(members.values())
                groups = [
                    sorted((one for number in numbers for one in every[number]), key=ImageId.position)
                    for numbers in connected(close)
                ]
                return NearDuplicates(groups, largest, "", len(close), expected)
    reason = "images of this data set are so alike that their perceptual hashes agree by chance"
    return NearDuplicates([], None, reason, len(pairs))


def check_near_duplicates(found: NearDuplicates, splits: Splits) -> CheckResult:
    """Return the check that there are no near duplicates."""
    name = "near duplicates"
    if found.bits is None:
        return CheckResult(name, None, f"not judged: {found.reason}", {"pairs": found.pairs})
    across = [group for group in found.groups if len({one.split for one in group}) > 1]
    wrong = [group for group in found.groups if labels_contradict(group, splits)]
    details = {
        "groups": len(found.groups),
        "across_splits": len(across),
        "with_other_labels": len(wrong),
        "bits": found.bits,
        "pairs": found.pairs,
        "expected_by_chance": float(f"{found.expected:.3g}"),
    }
    if not found.groups:
        return CheckResult(name, True, f"no hashes within {found.bits} of 64 bits", details)
    named = listed([" ≈ ".join(image_text(one, splits) for one in group[:2]) for group in found.groups])
    kinds = [f"{len(across)} across splits"] if across else []
    kinds += [f"{len(wrong)} with different labels"] if wrong else []
    of_them = f", {' and '.join(kinds)}" if kinds else ""
    plural = "s" if len(found.groups) > 1 else ""
    sentence = f"{len(found.groups)} group{plural} of images that look alike{of_them} ({named})"
    return warning(name, f"{sentence}; look at them on the page, and keep one of each", details)
