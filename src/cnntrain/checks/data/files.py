"""Image files as stored: what cannot be read, sizes, aspect ratios, modes, and images that show nothing."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...data.image_set import FileImages
from ...data.splits import Splits
from ..check_result import CheckResult, warning
from .copies import image_text
from .image_names import ImageId, images_text, listed
from .image_records import ImageRecords, StoredForm

# An image with a side less than this part of data.image_size is enlarged more than twice.
TINY = 0.5
# Of an image so much longer than wide, data.resize=crop keeps less than half, pad fills more than half with
# black, and squash halves one side.
MAX_ASPECT_RATIO = 2.0
# Modes of Pillow by what they hold.
KINDS = {
    **dict.fromkeys(("1", "L", "I", "I;16", "I;16B", "I;16L", "F"), "grey"),
    **dict.fromkeys(("RGB", "P", "YCbCr", "HSV", "LAB"), "colour"),
    **dict.fromkeys(("RGBA", "LA", "PA", "RGBa", "La", "RGBX"), "with transparency"),
    "CMYK": "of printing inks (CMYK)",
}
RESIZED = {
    "crop": "data.resize=crop cuts off over half",
    "pad": "data.resize=pad makes over half black",
    "squash": "data.resize=squash distorts them",
}

Records = Mapping[str, ImageRecords]


def check_unreadable(records: Records, splits: Splits) -> CheckResult:
    """Return the check that every file can be decoded; training stops at one that cannot."""
    name = "unreadable files"
    reasons = {
        ImageId(split, index): why
        for split, record in records.items()
        for index, why in record.unreadable.items()
    }
    total = sum(len(record.contents) for record in records.values())
    if not reasons:
        return CheckResult(name, True, f"all {total} files can be read")
    named = listed([f"{image_text(one, splits)} {why}" for one, why in reasons.items()])
    sentence = f"{len(reasons)} of {total} files cannot be read ({named}); remove or replace them"
    return CheckResult(name, False, sentence, {"files": len(reasons)})


def check_sizes(records: Records, splits: Splits) -> CheckResult:
    """Return the check that most images are not smaller than the size to which they are scaled."""
    name, forms = "image sizes", stored_forms(records)
    height = splits.train.shape[0]
    if not forms:
        return CheckResult(name, None, "no file can be read")
    sizes = Counter((form.width, form.height) for form in forms.values())
    shorter = statistics.median(min(form.width, form.height) for form in forms.values())
    (most, count), *_ = sizes.most_common()
    smallest = min(sizes, key=lambda size: size[0] * size[1])
    largest = max(sizes, key=lambda size: size[0] * size[1])
    details = {"sizes": len(sizes), "median_shorter_side": shorter}
    if len(sizes) == 1:
        described = f"all are {_size(most)}"
    else:
        described = f"{_size(smallest)} to {_size(largest)}, most often {_size(most)} ({count} images)"
    if shorter < height:
        sentence = f"{described}: most are enlarged to data.image_size={height}; write {int(shorter)}"
        return warning(name, sentence, details)
    return CheckResult(name, True, described, details)


def check_tiny(records: Records, splits: Splits) -> CheckResult:
    """Return the check that no image is enlarged more than twice, unless most of them are small."""
    name, forms, size = "tiny images", stored_forms(records), splits.train.shape[0]
    if not forms:
        return CheckResult(name, None, "no file can be read")
    tiny = tiny_images(records, splits)
    if not tiny:
        return CheckResult(name, True, f"no shorter side is less than half of data.image_size={size}")
    if len(tiny) > len(forms) / 2:
        return CheckResult(name, None, f"most are less than half of data.image_size={size}, see image sizes")
    named = _with_sizes(tiny, forms, splits)
    sentence = f"{images_text(len(tiny))} of less than half of data.image_size={size} ({named})"
    return warning(name, f"{sentence}; replace or remove them", {"images": len(tiny)})


def check_aspect_ratios(records: Records, splits: Splits) -> CheckResult:
    """Return the check that no image is MAX_ASPECT_RATIO times as long as it is wide."""
    name, forms = "aspect ratios", stored_forms(records)
    if not forms:
        return CheckResult(name, None, "no file can be read")
    ratios = [form.width / form.height for form in forms.values()]
    span = f"width to height is {min(ratios):.2f} to {max(ratios):.2f}"
    details = {"smallest": round(min(ratios), 4), "largest": round(max(ratios), 4)}
    long = long_images(records)
    if not long:
        return CheckResult(name, True, span if min(ratios) < max(ratios) else f"all {ratios[0]:.2f}", details)
    assert isinstance(splits.train, FileImages)
    named = _with_sizes(long, forms, splits)
    sentence = f"{images_text(len(long))} more than twice as long as wide ({named}): "
    advice = f"{RESIZED[splits.train.resize]}; crop or remove them"
    return warning(name, sentence + advice, details | {"images": len(long)})


def check_modes(records: Records, splits: Splits) -> CheckResult:
    """Return the check that images are all colour, all grey or all with transparency.

    What only images of some classes have can be learned in place of what they show.
    """
    name, forms = "colour modes", stored_forms(records)
    if not forms:
        return CheckResult(name, None, "no file can be read")
    kinds = Counter(kind_of(form) for form in forms.values())
    details: dict[str, Any] = {"modes": dict(Counter(form.mode for form in forms.values()).most_common())}
    if splits.train.shape[2] == 1 and set(kinds) <= {"grey", "colour"}:
        return CheckResult(name, True, "all are read as grey", details)
    if len(kinds) == 1:
        return CheckResult(name, True, f"all are {next(iter(kinds))}", details)
    rare = [one for one in forms if kind_of(forms[one]) != kinds.most_common(1)[0][0]]
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    sentence = (
        f"{counted} ({listed([image_text(one, splits) for one in rare])}); if that depends on the class, "
        "convert them, or it is learned in place of what they show"
    )
    return warning(name, sentence, details)


def check_single_colours(records: Records, splits: Splits) -> CheckResult:
    """Return the check that no image has a single colour."""
    name = "single-colour images"
    if splits.train.shape[0] * splits.train.shape[1] == 1:
        return CheckResult(name, None, "images have one pixel")
    found = single_coloured(records)
    if not found:
        return CheckResult(name, True, "none")
    named = listed([image_text(one, splits) for one in found])
    sentence = f"{images_text(len(found))} of a single colour ({named}); remove or replace them"
    return warning(name, sentence, {"images": len(found)})


def stored_forms(records: Records) -> dict[ImageId, StoredForm]:
    """Return how each image that can be read lies in its file; {} where there are no files."""
    return {
        ImageId(split, index): form
        for split, record in records.items()
        for index, form in enumerate(record.stored or [])
        if form is not None
    }


def tiny_images(records: Records, splits: Splits) -> list[ImageId]:
    """Return the images that are enlarged more than twice."""
    least = TINY * splits.train.shape[0]
    return _with_form(records, lambda form: min(form.width, form.height) < least)


def long_images(records: Records) -> list[ImageId]:
    """Return the images that are more than MAX_ASPECT_RATIO times as long as wide, or as wide as long."""

    def is_long(form: StoredForm) -> bool:
        return max(form.width, form.height) > MAX_ASPECT_RATIO * min(form.width, form.height)

    return _with_form(records, is_long)


def single_coloured(records: Records) -> list[ImageId]:
    """Return the images of a single colour."""
    return [
        ImageId(split, index)
        for split, record in records.items()
        for index in np.flatnonzero(record.is_single_coloured()).tolist()
    ]


def kind_of(form: StoredForm) -> str:
    """Return what an image's mode holds: colour, grey or transparency."""
    return KINDS.get(form.mode, form.mode)


def _with_form(records: Records, has: Callable[[StoredForm], bool]) -> list[ImageId]:
    return [one for one, form in stored_forms(records).items() if has(form)]


def _with_sizes(images: list[ImageId], forms: Mapping[ImageId, StoredForm], splits: Splits) -> str:
    return listed(
        [f"{image_text(one, splits)} {_size((forms[one].width, forms[one].height))}" for one in images]
    )


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
