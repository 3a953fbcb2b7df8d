"""What is kept of a stream of predictions: how many, of which classes, and a sample of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator

from torch import Tensor

from .even_sample import EvenSample
from .image_sources import Source
from .prediction_stream import Batch
from .predictor import Predictor, with_none_of_them


class Tally:
    """Counts predictions, and keeps an even sample of images (name, pixels, results) with `sample_size`."""

    def __init__(self, predictor: Predictor, sample_size: int):
        self._predictor = predictor
        self._digest = hashlib.sha256()
        self.predicted = 0
        self.unreadable = 0
        self.classes = Counter[str]()
        self.sample = EvenSample[tuple[str, Tensor, Tensor]](sample_size)

    def noted(self, sources: Iterable[Source]) -> Iterator[Source]:
        """Yield the images, and let `digest` depend on their names, sizes and times of change."""
        for source in sources:
            self._digest.update(f"{source.name}\0{source.version}\0".encode(errors="surrogateescape"))
            yield source

    def add(self, batch: Batch[Source], results: Tensor) -> None:
        """Count a batch and its results (N, K)."""
        self.predicted += len(batch.items)
        self.unreadable += len(batch.errors)
        if self._predictor.target == "classes":
            names, probabilities = with_none_of_them(self._predictor, results)
            self.classes.update(names[index] for index in probabilities.argmax(1).tolist())
        for source, image, result in zip(batch.items, batch.images, results, strict=True):
            kept = self.sample.takes_next()
            self.sample.add((source.name, image.clone(), result.clone()) if kept else None)

    def digest(self) -> str:
        """Return a text that other images do not have."""
        return self._digest.hexdigest()[:6]

    def summary(self) -> str:
        """Return how many images were predicted, and the most frequent classes."""
        total = f"{self.predicted} image{'' if self.predicted == 1 else 's'}"
        if not self.classes:
            return total
        found = self.classes.most_common()
        shown = ", ".join(f"{name} {count}" for name, count in found[:10])
        return f"{total}: {shown}{f', and {len(found) - 10} classes more' if len(found) > 10 else ''}"
