"""The predictions of an evaluation as a CSV file, a row for each image, written batch by batch."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from ..data.image_set import ImageSet
from ..prediction.predictor import NONE_OF_THEM
from ..prediction.result_rows import shortest_texts
from ..runs.unnamed_file import UnnamedFile, unnamed_file

# Of more classes, attributes or values, the file is written only where it is asked for: each image would have
# tens of kilobytes of text.
MAX_COLUMNS = 100


class PredictionsFile:
    """Writes the rows of a split's images, in the split's order.

    Of classes, a row has the image's file or position, its label, its prediction and the probability of each
    class; with `rejects`, also that of none of them. Of attributes and values, it has the label of each and
    its probability or predicted value.
    """

    def __init__(
        self,
        file: UnnamedFile,
        images: ImageSet,
        target: str,
        names: Sequence[str],
        rejects: bool = False,
    ):
        self._writer = csv.writer(file, lineterminator="\n")
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
        shown = shortest_texts(results.cpu().numpy())
        if self._of_classes:
            pairs = zip(labels.tolist(), predicted.tolist(), strict=True)
            cells = [[self._names[label], self._names[guess]] for label, guess in pairs]
            rows = [[*pair, *row] for pair, row in zip(cells, shown, strict=True)]
        else:
            own = labels.long().tolist() if self._of_attributes else shortest_texts(labels.numpy())
            rows = [list(chain(*zip(*pair, strict=True))) for pair in zip(own, shown, strict=True)]
        self._writer.writerows([source, *row] for source, row in zip(sources, rows, strict=True))


@contextmanager
def predictions_file(
    path: Path, images: ImageSet, target: str, names: Sequence[str], rejects: bool = False
) -> Iterator[PredictionsFile]:
    """Write the predictions of a split into a file that appears once it is whole; raises DataError.

    Until then they lie in a file without a name, so that nothing is left of an evaluation that fails.
    """
    with unnamed_file(path.parent, path) as file:
        yield PredictionsFile(file, images, target, names, rejects)
        file.store(path)


def writes_predictions(setting: bool | None, names: Sequence[str]) -> bool:
    """Return whether evaluate.predictions asks for the file of these classes, attributes or values."""
    return len(names) <= MAX_COLUMNS if setting is None else setting
