"""A fingerprint of a run's data: continuing on data that changed would not continue the same run."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import DataError
from .image_set import FileImages, ImageSet, MemoryImages
from .splits import SPLITS, Splits
from .tar_member import content_of, size_of

# Content up to this size is hashed as a whole, of more an even sample of images.
MAX_BYTES = 1 << 28
SAMPLE_IMAGES = 200


def fingerprint(splits: Splits) -> dict[str, Any]:
    """Return the names, image shape, sizes and hashes of the splits, as plain values for a checkpoint.

    labels: SHA-256 of all labels. images: of all pixels in memory, or of SAMPLE_IMAGES evenly spaced images
    if the split is larger than MAX_BYTES. Of images that stay on disk, it is of the names within their folder
    and the sizes of all files, and of the content of the sample.
    """
    parts = splits.parts()
    root = _root([path for part in parts.values() if isinstance(part, FileImages) for path in part.paths])
    return {
        "names": list(splits.names),
        "shape": list(splits.train.shape),
        **{split: _of_split(part, root) for split, part in parts.items()},
    }


def check_fingerprint(stored: dict[str, Any], current: dict[str, Any], run: Path) -> None:
    """Raise DataError naming what differs between the data of a run and those found now."""
    difference = _difference(stored, current)
    if difference is not None:
        raise DataError(
            f"run={run}: the data are not those of this run: {difference}; restore them, or start a new run"
        )


def normalized(names: list[Any]) -> list[str]:
    """Return names in the Unicode form of `Splits.names`, which earlier versions stored as files had them."""
    return [unicodedata.normalize("NFC", str(name)) for name in names]


def _difference(stored: dict[str, Any], current: dict[str, Any]) -> str | None:
    names = stored.get("names")
    if not isinstance(names, list) or normalized(names) != normalized(current["names"]):
        return f"the names were {_listed(stored.get('names'))}, now {_listed(current['names'])}"
    if stored.get("shape") != current["shape"]:
        return f"the image shape was {stored.get('shape')}, now {current['shape']}"
    for split in SPLITS:
        if not isinstance(stored.get(split), dict):
            return f"the {split} split is not described"
        before, now = stored[split].get("count"), current[split]["count"]
        if before != now:
            return f"the {split} split had {before} images, now {now}"
    for split in SPLITS:
        before, now = stored[split], current[split]
        if before.get("labels") != now["labels"]:
            return f"labels of the {split} split changed"
        if before.get("kind") == now["kind"] and before.get("images") != now["images"]:
            return f"images of the {split} split changed"
    return None


def _of_split(images: ImageSet, root: str) -> dict[str, Any]:
    labels = hashlib.sha256(_bytes(images.labels)).hexdigest()
    kind = "memory" if isinstance(images, MemoryImages) else "files"
    return {"count": len(images), "labels": labels, "kind": kind, "images": _hash(images, root)}


def _hash(images: ImageSet, root: str) -> str:
    digest = hashlib.sha256()
    count = len(images)
    sample = sorted({index * count // SAMPLE_IMAGES for index in range(SAMPLE_IMAGES)} if count else ())
    if isinstance(images, MemoryImages):
        pixels = images.images if images.images.numel() <= MAX_BYTES else images.images[sample]
        digest.update(_bytes(pixels))
    elif isinstance(images, FileImages):
        for path in images.paths:
            name = unicodedata.normalize("NFC", os.path.relpath(path, root))
            digest.update(f"{name}\0{size_of(path)}\0".encode())
        for index in sample:
            digest.update(content_of(images.paths[index]))
    return digest.hexdigest()


def _root(paths: list[str]) -> str:
    return os.path.commonpath(paths) if paths else ""


def _bytes(tensor: Tensor) -> Any:
    """Return the memory of a tensor, which hashlib reads."""
    return tensor.contiguous().numpy()


def _listed(names: Any) -> str:
    names = names if isinstance(names, list) else [names]
    return ", ".join(map(str, names[:10])) + (", …" if len(names) > 10 else "")
