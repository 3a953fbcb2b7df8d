"""Image files into memory where they fit, and what becomes of those that cannot be read (data.on_bad)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError
from .cached_images import cached_images
from .image_decoding import MAX_UNREADABLE, DamagedImages
from .image_set import FileImages, ImageSet, concatenated
from .splits import LoadedSplit, Splits, Unreadable, unreadable_notices

GB = 10**9


def into_memory(splits: Splits, limit_gb: float, skip: bool, caches: Path | None = None) -> Splits:
    """Return the splits decoded into memory if all three together fit into `limit_gb` GB, else as files.

    caches: the folder of caches in which decoded images are kept, None for no cache.

    skip: whether images that cannot be read are allowed; all are then decoded once, also those that do not
    fit, and the unreadable ones are noted in the splits, for `without_unreadable`. Raises DataError naming
    the damaged files of all splits, with `skip` if they are more than MAX_UNREADABLE of the images.
    """
    if splits.unreadable is not None:
        return splits
    parts = splits.parts()
    images = sum(map(len, parts.values()))
    fits = _fits(splits.train.shape, images, limit_gb)
    notices = [*splits.notices, *_take_from_cache(parts, caches)]
    if not fits and not skip:
        return _with(splits, parts, notices=notices)
    unreadable: Unreadable = {}
    for split, part in parts.items():
        if isinstance(part, FileImages):
            parts[split], damaged = _read(part, fits)
            unreadable |= damaged
    _check(unreadable, images, skip)
    return _with(splits, parts, unreadable=unreadable if skip else None, notices=notices)


def _take_from_cache(parts: dict[str, ImageSet], caches: Path | None) -> list[str]:
    """Replace splits of files by such that are read from a cache; return a notice if it cannot be written."""
    of_files = {
        split: part
        for split, part in parts.items()
        if isinstance(part, FileImages) and part.cached is None and len(part)
    }
    if caches is None or not of_files:
        return []
    whole = concatenated(list(of_files.values()))
    assert isinstance(whole, FileImages)
    cached, start = cached_images(caches, whole.decoding(), whole.stamps()), 0
    for split, part in of_files.items():
        parts[split] = part.with_cached(cached.subset(range(start, start + len(part))))
        start += len(part)
    return [] if cached.problem is None else [f"data.cache: {cached.problem}"]


def part_into_memory(
    part: FileImages, names: list[str], total: int, limit_gb: float, skip: bool, caches: Path | None = None
) -> LoadedSplit:
    """Return images to evaluate on like `into_memory`, without those that cannot be read; raises DataError.

    names: of their labels. total: number of images that the part is of.
    """
    fits = _fits(part.shape, len(part), limit_gb)
    parts: dict[str, ImageSet] = {"": part}
    notices = _take_from_cache(parts, caches)
    files = parts[""]
    assert isinstance(files, FileImages)
    if not fits and not skip:
        return LoadedSplit(files, names, notices)
    images, unreadable = _read(files, fits)
    _check(unreadable, total, skip)
    return LoadedSplit(_readable(images, unreadable), names, [*notices, *unreadable_notices(unreadable)])


def without_unreadable(splits: Splits) -> Splits:
    """Return the splits of a run without the images that cannot be read, with a notice of them."""
    if not splits.unreadable:
        return splits
    parts = {split: _readable(part, splits.unreadable) for split, part in splits.parts().items()}
    return _with(splits, parts, notices=[*splits.notices, *splits.unreadable_notices()])


def _with(splits: Splits, parts: dict[str, ImageSet], **changes: Any) -> Splits:
    return replace(splits, train=parts["train"], val=parts["val"], test=parts["test"], **changes)


def _fits(shape: tuple[int, int, int], images: int, limit_gb: float) -> bool:
    height, width, channels = shape
    return images * height * width * channels <= limit_gb * GB


def _read(part: FileImages, keep: bool) -> tuple[ImageSet, Unreadable]:
    """Decode all images once; return them, in memory if `keep`, and those that cannot be read.

    What is in memory for an unreadable image has no meaning.
    """
    images, damaged = part.decode_all(range(len(part)), progress=True, keep=keep)
    names = dict(zip(part.paths, part.names, strict=True)) if damaged else {}
    unreadable = {names[path]: (path, reason) for path, reason in damaged}
    return part.in_memory(images) if keep else part, unreadable


def _check(unreadable: Unreadable, images: int, skip: bool) -> None:
    """Raise DataError if images cannot be read, and may not be left out."""
    if len(unreadable) <= (MAX_UNREADABLE * images if skip else 0):
        return
    error = DamagedImages.of(list(unreadable.values()), may_skip=len(unreadable) <= MAX_UNREADABLE * images)
    if not skip:
        raise error
    raise DataError(
        f"data.on_bad=skip: {len(unreadable)} of {images} images cannot be read, more than 1 %: {error}"
    )


def _readable(part: ImageSet, unreadable: Unreadable) -> ImageSet:
    if not unreadable:
        return part
    readable = [number for number, name in enumerate(part.names or []) if name not in unreadable]
    return part.subset(torch.tensor(readable, dtype=torch.int64))
