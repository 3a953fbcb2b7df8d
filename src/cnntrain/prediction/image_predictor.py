"""What networks and ensembles do with images in Python: predict, classify, explain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from ..training.device import Compute
from .explain_pixels import METHODS, explain_pixels
from .explanation import Explanation
from .image_inputs import Images, image_batches, one_image
from .predictor import with_none_of_them


class ImagePredictor(ABC):
    """Takes images in every form that Python programs have them in.

    A path (str or Path), a Pillow image, an array or a tensor uint8 (H, W, C) or (H, W), or many of them: an
    iterable, or an array or a tensor (N, H, W, C). Pixels of `image_shape` are used as they are; all others
    are brought to it as the images of training were. Results are always those of many images: the first axis
    counts them, also for a single one. They have no gradient, and are on the CPU. Every method raises
    ValueError for what is no image, and DataError for a file that cannot be read. Threads may call them at
    the same time.

    names: of the classes, attributes or values. target: "classes", "attributes" or "values". rejects: whether
    an image may be most probably none of the classes. image_shape: (height, width, channels). resize: how
    images are brought to it, as data.resize. batch_size: images per forward pass. threads: CPU threads of the
    run's training.
    """

    names: list[str]
    target: str
    rejects: bool
    image_shape: tuple[int, int, int]
    resize: str
    batch_size: int
    threads: int | None

    @abstractmethod
    def use(self, compute: Compute) -> None:
        """Predict on another device, and in another precision."""

    @abstractmethod
    def predict_batch(self, images: Tensor) -> Tensor:
        """Return the results (N, K) of images uint8 (N, H, W, C) of `image_shape` in one forward pass."""

    @abstractmethod
    def feature_extractor(self) -> Callable[[Tensor], Tensor]:
        """Return a function, for one thread: images uint8 (N, H, W, C) of `image_shape` → features (N, D)."""

    @abstractmethod
    def gradient_map(self, pixels: Tensor, index: int) -> Tensor:
        """Return the gradient map (H, W) of one image for the class, attribute or value at an index."""

    def predict(self, images: Images) -> Tensor:
        """Return probabilities of classes (N, K) or attributes (N, A), or values (N, V), float32."""
        return self._of_batches(self.predict_batch, images)

    def classify(self, images: Images) -> list[str]:
        """Return the name of the most probable class of each image, a list of N names.

        With loss=rejecting_softmax, an image that is most probably none of the classes is "none of them".
        Raises ValueError if the target is not classes.
        """
        if self.target != "classes":
            raise ValueError(
                f"this network predicts {self.target} ({', '.join(self.names)}), not classes; use predict"
            )
        names, probabilities = with_none_of_them(self, self.predict(images))
        return [names[index] for index in probabilities.argmax(1).tolist()]

    def features(self, images: Images) -> Tensor:
        """Return the outputs of the penultimate layer, which the head takes, float32 (N, D).

        Of maps, their mean over all positions. Of an ensemble, those of its members side by side.
        """
        return self._of_batches(self.feature_extractor(), images)

    def explain(self, image: Images, class_name: str | None = None, method: str = "occlusion") -> Explanation:
        """Return which pixels of one image its prediction depends on, as a map to look at or to save.

        class_name: of a class, attribute or value; None: the most probable one, of values the first. method:
        "occlusion", by how much the log-odds fall where a patch covers the image, or "gradient", of the score
        by the pixels, in a single pass. Raises ValueError for an unknown name or method.
        """
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
        return explain_pixels(self, one_image(image, self.image_shape, self.resize), class_name, method)

    def _of_batches(self, function: Callable[[Tensor], Tensor], images: Images) -> Tensor:
        batches = image_batches(images, self.image_shape, self.resize, self.batch_size)
        results = [function(batch) for batch in batches]
        return torch.cat(results or [function(torch.empty(0, *self.image_shape, dtype=torch.uint8))])
