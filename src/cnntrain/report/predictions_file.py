"""The predictions of an evaluation as a CSV file, a row for each image, written batch by batch."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TextIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.image_set import ImageSet
from ..errors import DataError
from ..machine_errors import remedy
from ..prediction.predictor import NONE_OF_THEM
from ..runs.atomic_write import atomic_write

# Of more classes, attributes or values, the file is written only where it is asked for: each image would have
# tens of kilobytes of text.
MAX_COLUMNS = 100


class PredictionsFile:
    """Writes the rows of a split's images, in the split's order.

    Of classes, a row has the image's file or position, its label, its prediction and the probability of each
    class; with `rejects`, also that of none of them. Of attributes and values, it has the label of each and
    its probability or predicted value. path: for messages.
    """

    def __init__(
        self,
        path: Path,
        stream: TextIO,
        images: ImageSet,
        target: str,
        names: Sequence[str],
        rejects: bool = False,
    ):
        self._path = path
        self._writer = csv.writer(stream, lineterminator="\n")
        self._images = images
        self._names = names
        self._of_classes, self._of_attributes = target == "classes", target == "attributes"
        self._rejects = rejects
        self._written = 0
        first = "file" if all(isinstance(source, str) for source in images.sources(0, 1)) else "index"
        if self._of_classes:
            heads = [first, "label", "prediction"]
            of_classes = [*names, *([NONE_OF_THEM] if rejects else [])]
            heads += [f"{name} (class)" if name in heads else name for name in of_classes]
        else:
            kind = "probability" if self._of_attributes else "prediction"
            heads = [first, *(f"{name} {part}" for name in names for part in ("label", kind))]
        self._writer.writerow(heads)

    def add(self, results: Tensor, predicted: Tensor) -> None:
        """Write the rows of the next images.

        results: `Criterion.probabilities` (n, K). predicted: the class of each image (n,); not read of other
        targets.
        """
        start, stop = self._written, self._written + len(results)
        sources, labels = self._images.sources(start, stop), self._images.labels[start:stop]
        self._written = stop
        if self._rejects:
            results = torch.cat([results, 1 - results.sum(1, keepdim=True)], 1)
        shown = _shown(results.cpu().numpy())
        if self._of_classes:
            pairs = zip(labels.tolist(), predicted.tolist(), strict=True)
            cells = [[self._names[label], self._names[guess]] for label, guess in pairs]
            rows = [[*pair, *row] for pair, row in zip(cells, shown, strict=True)]
        else:
            own = labels.long().tolist() if self._of_attributes else _shown(labels.numpy())
            rows = [list(chain(*zip(*pair, strict=True))) for pair in zip(own, shown, strict=True)]
        try:
            self._writer.writerows([source, *row] for source, row in zip(sources, rows, strict=True))
        except OSError as error:
            raise _unwritable(self._path, error) from error


@contextmanager
def predictions_file(
    path: Path, images: ImageSet, target: str, names: Sequence[str], rejects: bool = False
) -> Iterator[PredictionsFile]:
    """Write the predictions of a split into a file that appears once it is whole; raises DataError.

    Until then they lie in a file without a name, so that nothing is left of an evaluation that fails.
    """
    try:
        binary = TemporaryFile(dir=path.parent)  # noqa: SIM115 - closed below, where errors are left out
    except OSError as error:
        raise _unwritable(path, error) from error
    # Names of files that are not UTF-8 are written with escapes.
    stream = TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", newline="")
    try:
        yield PredictionsFile(path, stream, images, target, names, rejects)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            stream.seek(0)
            shutil.copyfileobj(binary, file)
    finally:
        with suppress(OSError):  # as of a full disk, which was said before
            stream.close()


def writes_predictions(setting: bool | None, names: Sequence[str]) -> bool:
    """Return whether evaluate.predictions asks for the file of these classes, attributes or values."""
    return len(names) <= MAX_COLUMNS if setting is None else setting


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: could not be written ({error.strerror}); {remedy(error)}, then try again")


def _shown(values: NDArray[Any]) -> list[list[str]]:
    """Return numbers in the fewest digits that give them back in float32, "" for NaN and infinity."""
    numbers = values.astype(np.float32)
    rows: list[list[str]] = np.where(np.isfinite(numbers), numbers.astype(str), "").tolist()
    return rows
