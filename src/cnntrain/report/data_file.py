"""data.json: what job=data found in a data set.

data: the name of the data set. source: the path of its files, null where they are built in.
splits: by split, images: their number; labels: the number of images of each class or attribute, or mean and
    deviation of each value.
stored: null where images are not in files, else sizes (width, height and images, the most frequent first, at
    most MAX_SIZES), modes and formats, with the number of images of each.
checks: by name, mark (✓ passed, ! warning, ✗ error, – does not apply), sentence, and the check's numbers as
    details.
images: by what was found, at most MAX_LISTED images each: unreadable (with the reason), single_colour, tiny,
    long.
copies: groups of images of equal content. near_duplicates: groups of images that look alike. At most
    MAX_LISTED groups each, of at most MAX_LISTED images.

An image is its file, or its position in the stored arrays, with its split, index in the split, and label.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from ..checks.data import files
from ..checks.data.audit import Audit
from ..checks.data.copies import Group
from ..checks.data.image_names import ImageId, source
from ..checks.data.labels import class_counts, label_text
from ..data.splits import Splits
from ..runs import file_names
from ..runs.atomic_write import write_text
from ..settings.config_tree import Config

MAX_LISTED, MAX_SIZES = 1000, 50


def write_data_file(folder: Path, config: Config, splits: Splits, audit: Audit) -> dict[str, Any]:
    """Write data.json and return its content; raises DataError."""
    content = _content(config, splits, audit)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(folder / file_names.DATA, text + "\n")
    return content


def described(one: ImageId, splits: Splits) -> dict[str, Any]:
    """Return an image in JSON types."""
    label = splits.parts()[one.split].labels[one.index]
    return {
        "image": source(one, splits),
        "split": one.split,
        "index": one.index,
        "label": label_text(label, splits.names),
    }


def _content(config: Config, splits: Splits, audit: Audit) -> dict[str, Any]:
    unreadable = [
        {**described(ImageId(split, index), splits), "reason": reason}
        for split, record in audit.records.items()
        for index, reason in record.unreadable.items()
    ]
    return {
        "data": config.data.name,
        "source": config.data.source(),
        "splits": _splits(splits),
        "stored": _stored(audit),
        "checks": {
            result.name: {"mark": result.mark, "sentence": result.sentence, "details": result.details}
            for result in audit.results
        },
        "images": {
            "unreadable": unreadable[:MAX_LISTED],
            "single_colour": _described(files.single_coloured(audit.records), splits),
            "tiny": _described(files.tiny_images(audit.records, splits), splits),
            "long": _described(files.long_images(audit.records), splits),
        },
        "copies": _groups(audit.copies, splits),
        "near_duplicates": _groups(audit.near.groups, splits),
    }


def _splits(splits: Splits) -> dict[str, Any]:
    parts = splits.parts()
    if splits.train.labels.ndim == 1:
        counts = class_counts(splits)
        return {
            split: {
                "images": len(part),
                "labels": dict(zip(splits.names, counts[split], strict=True)),
            }
            for split, part in parts.items()
        }
    of_attributes = all(bool(((part.labels == 0) | (part.labels == 1)).all()) for part in parts.values())
    found: dict[str, Any] = {}
    for split, part in parts.items():
        labels: dict[str, Any] = {}
        for name, values in zip(splits.names, part.labels.double().unbind(1), strict=True):
            if of_attributes:
                labels[name] = int(values.sum())
            elif len(values):
                labels[name] = {
                    "mean": values.mean().item(),
                    "deviation": values.std(correction=0).item(),
                }
        found[split] = {"images": len(part), "labels": labels}
    return found


def _stored(audit: Audit) -> dict[str, Any] | None:
    forms = list(files.stored_forms(audit.records).values())
    if not forms:
        return None
    sizes = Counter((form.width, form.height) for form in forms)
    return {
        "sizes": [
            {"width": width, "height": height, "images": count}
            for (width, height), count in sizes.most_common(MAX_SIZES)
        ],
        "modes": dict(Counter(form.mode for form in forms).most_common()),
        "formats": dict(Counter(form.format for form in forms).most_common()),
    }


def _described(images: list[ImageId], splits: Splits) -> list[dict[str, Any]]:
    return [described(one, splits) for one in images[:MAX_LISTED]]


def _groups(groups: list[Group], splits: Splits) -> list[list[dict[str, Any]]]:
    return [_described(group, splits) for group in groups[:MAX_LISTED]]
