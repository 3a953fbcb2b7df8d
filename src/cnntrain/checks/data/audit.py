"""All checks of a data set: those on labels and copies, and those that need every image decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...data.splits import Splits
from ..check_result import CheckResult
from . import files
from .copies import (
    Group,
    check_contradictory_labels,
    check_copies_between_splits,
    check_copies_in_a_split,
    content_hashes,
    groups_of_copies,
)
from .image_records import ImageRecords, measure
from .labels import check_class_proportions, check_class_sizes, check_labels
from .near_duplicates import NearDuplicates, check_near_duplicates, find_near_duplicates
from .split_skew import check_appearance, check_label_means


@dataclass(frozen=True)
class Audit:
    """What was found in a data set, and what was measured of its images."""

    results: list[CheckResult]
    records: dict[str, ImageRecords]
    copies: list[Group]
    near: NearDuplicates


def audit(splits: Splits) -> Audit:
    """Return the results of all checks of a data set; reads every image once, and keeps none."""
    records = measure(splits)
    contents = {split: record.contents for split, record in records.items()}
    near = find_near_duplicates(records, splits)
    results = [
        *check_labels_and_copies(splits, contents, tolerated=0.0),
        check_near_duplicates(near, splits),
        files.check_single_colours(records, splits),
        check_appearance(records),
    ]
    if splits.train.labels.ndim > 1:
        results.append(check_label_means(splits))
    if records["train"].stored is not None:
        results = [
            files.check_unreadable(records, splits),
            *results,
            files.check_sizes(records, splits),
            files.check_tiny(records, splits),
            files.check_aspect_ratios(records, splits),
            files.check_modes(records, splits),
        ]
    return Audit(results, records, groups_of_copies(contents), near)


def check_labels_and_copies(
    splits: Splits, contents: Mapping[str, Sequence[bytes | None]] | None, tolerated: float
) -> list[CheckResult]:
    """Return the checks that need no decoded image.

    contents: the hash of each image's content, by split; None: to be computed. tolerated: the fraction of a
    split that may be copies, or have labels that contradict those of copies.
    """
    if contents is None:
        contents = {split: list(content_hashes(part)) for split, part in splits.parts().items()}
    groups = groups_of_copies(contents)
    has_classes = splits.train.labels.ndim == 1
    return [
        check_labels(splits),
        *([check_class_sizes(splits), check_class_proportions(splits)] if has_classes else []),
        check_copies_between_splits(groups, splits, tolerated),
        check_copies_in_a_split(groups, splits),
        check_contradictory_labels(groups, splits, tolerated),
    ]
