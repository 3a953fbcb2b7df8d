"""Images and classes of Hugging Face data sets, whose splits are found by their names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import datasets
import numpy as np
from PIL import Image
from tqdm import tqdm

from ..errors import ConfigError, DataError, UserError, first_line
from ..machine_errors import machine_error
from ..output_streams import is_quiet
from ..settings.fields import expanded, shorten
from .arrays import ArraySource, checked_arrays, with_test_split
from .hub_columns import classes_of, image_column, label_column
from .image_decoding import DamagedImages, decode, reason
from .image_loading import GB
from .splits import SPLIT_OF, Splits

# Files that save_to_disk writes: of several splits, and of one.
SAVED = ("dataset_dict.json", "state.json")
# Images whose size and mode decide those of all, and the largest size that is taken so.
SAMPLE, LARGEST_OWN_SIZE = 20, 64
GREY_MODES = ("1", "L", "LA", "I", "I;16")
# Rows read at once.
CHUNK = 256
Decoding = tuple[int | None, str, int | None]


@dataclass(frozen=True)
class HubSource:
    """Where a data set lies: its name on the hub with a part and a revision, or a folder."""

    dataset: str
    subset: str | None
    revision: str | None
    path: str

    def __str__(self) -> str:
        return f"data.path={self.path}" if self.path else f"data.dataset={self.dataset}"


def read_hugging_face(
    source: HubSource, image: str, label: str, decoding: Decoding, test_fraction: float, limit_gb: float
) -> Splits:
    """Return the splits of a data set, in memory; `val` is empty unless it has a validation split.

    image, label: columns, "" to find them. decoding: size, resize and channels, None for those of the images.
    Raises ConfigError for columns that are not there, DataError where the data cannot be read.
    """
    loaded = _loaded(source)
    parts, notices = _splits(loaded, str(source))
    features = parts["train"].features
    image = image_column(features, image, str(source))
    label = label_column(features, label, str(source))
    parts = {split: part.cast_column(image, datasets.Image(decode=False)) for split, part in parts.items()}
    labels, names = classes_of(parts, label, str(source))
    unlabelled = [split for split, values in labels.items() if split != "train" and (values == -1).all()]
    notices += [f"not used: {split}, which has no labels" for split in unlabelled]
    parts = {split: part for split, part in parts.items() if split not in unlabelled}
    size, resize, channels = _resolved(parts["train"], image, decoding, str(source))
    gigabytes = sum(map(len, parts.values())) * size * size * channels / GB
    if gigabytes > limit_gb:
        raise DataError(
            f"{source}: its images of {size}x{size} pixels have {gigabytes:.3g} GB, more than "
            f"data.memory_limit_gb={limit_gb:g}; write a larger one, or a smaller data.image_size"
        )
    arrays = {
        split: (_pixels(part, image, (size, resize, channels), f"{source}: {split}"), labels[split])
        for split, part in parts.items()
    }
    words = ArraySource(str(source), "store", "images of {}", "labels of {}")
    checked, names = checked_arrays(words, arrays, class_names=names)
    return with_test_split(checked, names, test_fraction, notices)


def _loaded(source: HubSource) -> Any:
    """Return the data set, of the type DatasetDict or Dataset; raises DataError, ConfigError for its part."""
    try:
        with _progress_bars():
            if not source.path:
                return datasets.load_dataset(source.dataset, source.subset, revision=source.revision)
            folder = str(expanded(source.path))
            if any(os.path.isfile(os.path.join(folder, name)) for name in SAVED):
                if source.subset is not None:
                    line = "a folder of save_to_disk has no subsets; leave it out"
                    raise ConfigError([f"data.subset={source.subset}: {line}"])
                return datasets.load_from_disk(folder)
            return datasets.load_dataset(folder, source.subset)
    except ConfigError:
        raise
    except Exception as error:  # of many libraries: arrow, hub, http, file systems
        if machine_error(error) is not None:
            raise
        raise _not_loaded(source, error) from error


def _not_loaded(source: HubSource, error: Exception) -> UserError:
    """Return the error for a data set that the package could not load, in one line."""
    line = shorten(first_line(error), 250)
    if "onfig name is missing" in line or "BuilderConfig" in line:
        available = shorten(" ".join(str(error).split()), 400)
        return ConfigError([f"{source}: {available}; write data.subset=NAME"])
    if isinstance(error, datasets.exceptions.DatasetNotFoundError) and not source.path:
        line = "the hub has no such data set, or it needs a login (hf auth login)"
    elif isinstance(error, OSError) and not source.path:
        line = f"cannot be downloaded ({line}); look at the connection, or write data.path=FOLDER"
    else:
        line = f"cannot be read ({type(error).__name__}: {line})"
    return DataError(f"{source}: {line}")


@contextmanager
def _progress_bars() -> Iterator[None]:
    """Show progress bars of the package in the context unless the run is quiet, and then leave them so."""
    were_shown = datasets.are_progress_bars_disabled() is False
    if is_quiet():
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if were_shown:
            datasets.enable_progress_bars()


def _splits(loaded: Any, source: str) -> tuple[dict[str, Any], list[str]]:
    """Return the splits by our names, and notices of those that are not used."""
    if not isinstance(loaded, dict):
        return {"train": loaded}, []
    if len(loaded) == 1:
        return {"train": next(iter(loaded.values()))}, []
    parts: dict[str, Any] = {}
    unused = []
    for name, part in loaded.items():
        split = SPLIT_OF.get(str(name).lower())
        if split is None or split in parts:
            unused.append(str(name))
        else:
            parts[split] = part
    if "train" not in parts:
        raise DataError(f"{source}: has the splits {', '.join(map(str, loaded))}, none of them train")
    known = "train, validation and test are"
    return parts, [f"not used of {source}: {', '.join(unused)} ({known})"] if unused else []


def _resolved(part: Any, image: str, decoding: Decoding, source: str) -> tuple[int, str, int]:
    """Return size, resize and channels of the images, by those of the first where they are None."""
    size, resize, channels = decoding
    if size is None or channels is None:
        sizes, modes = set(), set()
        for number, row in enumerate(part[: min(SAMPLE, len(part))][image]):
            try:
                with Image.open(_file(row)) as opened:
                    sizes.add(opened.size)
                    modes.add(opened.mode)
            except Exception as error:
                line = f"{source}: image {number} of train {reason(_file(row), error)}"
                raise DataError(f"{line}; remove or replace it") from error
        (width, height) = next(iter(sizes), (0, 0))
        is_own = len(sizes) == 1 and width == height <= LARGEST_OWN_SIZE
        size = size or (width if is_own else LARGEST_OWN_SIZE)
        channels = channels or (1 if modes <= set(GREY_MODES) else 3)
    return size, resize, channels


def _pixels(part: Any, image: str, decoding: tuple[int, str, int], name: str) -> Any:
    """Return all images of a split, uint8 (N, size, size, channels); raises DataError naming bad ones."""
    size, resize, channels = decoding
    pixels = np.empty((len(part), size, size, channels), dtype=np.uint8)
    damaged: list[tuple[str, str]] = []

    def fill(index: int, row: Any) -> None:
        try:
            pixels[index] = decode(_file(row), pixels.shape[1:], resize).numpy()
        except Exception as error:  # Pillow raises almost any exception for a damaged file
            damaged.append((f"{name}: image {index}", reason(_file(row), error)))

    hidden = True if is_quiet() else None
    with (
        ThreadPoolExecutor() as pool,
        tqdm(total=len(part), desc="reading images", leave=False, disable=hidden) as bar,
    ):
        for start in range(0, len(part), CHUNK):
            rows = part[start : start + CHUNK][image]
            list(pool.map(fill, range(start, start + len(rows)), rows))
            bar.update(len(rows))
    if damaged:
        raise DamagedImages.of(sorted(damaged))
    return pixels


def _file(row: Any) -> str | BytesIO:
    """Return the content of an image, or the path of its file where the data set has only that."""
    if row is None or (row.get("bytes") is None and not row.get("path")):
        return BytesIO()
    return BytesIO(row["bytes"]) if row.get("bytes") is not None else str(row["path"])
