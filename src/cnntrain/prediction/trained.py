"""A trained network in Python: `cnntrain.load(folder)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..assemble.restore import restore_preprocessing
from ..assemble.trained_run import read_trained, restore_network
from ..config.resolve_batch_size import with_batch_size
from ..loss.class_losses import ClassCriterion, RejectingSoftmax
from ..loss.criterion import Criterion
from ..preprocessing.preprocess import Preprocess
from ..settings.config_tree import Config
from ..settings.fields import describe_changes
from ..training.device import Compute, move_to_device
from .predictor import with_none_of_them

# Where and how a network predicts until it is told otherwise.
CPU = Compute(torch.device("cpu"), "fp32", torch.contiguous_format, "")
Images = Tensor | NDArray[np.uint8]


@dataclass(repr=False)
class TrainedNetwork:
    """The network of a run's best epoch, in evaluation mode, with its preprocessing and loss.

    names: of the classes, attributes or values. image_shape: (height, width, channels). batch_size: that of
    the training. data: the fingerprint of the run's data. threads: the run's number of CPU threads. compute:
    where it predicts, changed by `use`; in float32 on the CPU at first.
    """

    network: nn.Module
    preprocess: Preprocess
    criterion: Criterion
    names: list[str]
    image_shape: tuple[int, int, int]
    config: Config
    batch_size: int
    data: dict[str, Any] = field(default_factory=dict)
    threads: int | None = None
    compute: Compute = CPU

    def __repr__(self) -> str:
        height, width, channels = self.image_shape
        return (
            f"TrainedNetwork({describe_changes(self.config.model)}, images of {height}x{width}x{channels}, "
            f"{len(self.names)} {self.config.data.target_kind()})"
        )

    def use(self, compute: Compute) -> None:
        """Predict on another device, and in another precision."""
        move_to_device(self.network, compute)
        self.preprocess.to(compute.device)
        self.criterion.to(compute.device)
        self.compute = compute

    @property
    def target(self) -> str:
        """What is predicted: "classes", "attributes" or "values"."""
        return str(self.config.data.target_kind())

    @property
    def rejects(self) -> bool:
        """Whether an image may be most probably none of the classes."""
        return isinstance(self.criterion, RejectingSoftmax)

    @property
    def resize(self) -> str:
        """How other images are brought to this height and width: "crop", "squash" or "pad"."""
        return str(getattr(self.config.data, "resize", "crop"))

    @torch.inference_mode()
    def predict(self, images: Images) -> Tensor:
        """Return probabilities of classes (N, K) or attributes (N, A), or values (N, V).

        images: uint8 (N, H, W, C), of torch or numpy. Raises ValueError for another type or shape.
        """
        if isinstance(images, np.ndarray) and (not images.flags.writeable or min(images.strides) < 0):
            images = (
                images.copy()
            )  # torch warns about memory that it could write to, and reads none backwards
        try:
            images = torch.as_tensor(images)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"images must be a tensor or an array of uint8, got {type(images).__name__}"
                f"{f' of {images.dtype}' if isinstance(images, np.ndarray) else ''}"
            ) from error
        if images.dtype != torch.uint8:
            raise ValueError(f"images must be uint8 of 0…255, got {str(images.dtype).removeprefix('torch.')}")
        if images.ndim != 4 or tuple(images.shape[1:]) != self.image_shape:
            expected = ", ".join(str(length) for length in self.image_shape)
            raise ValueError(f"images must have the shape (N, {expected}), got {tuple(images.shape)}")
        inputs = self.preprocess(images.to(self.compute.device))
        with self.compute.autocast():
            scores: Tensor = self.network(inputs).float()
        return self.criterion.probabilities(scores).cpu()

    def classify(self, images: Images) -> Sequence[str]:
        """Return the name of the most probable class of each image; images as for `predict`.

        With loss=rejecting_softmax, an image that is most probably none of the classes is "none of them".
        Raises ValueError if the run's target is not classes.
        """
        if not isinstance(self.criterion, ClassCriterion):
            kind = self.config.data.target_kind()
            raise ValueError(
                f"this network predicts {kind} ({', '.join(self.names)}), not classes; use predict"
            )
        names, probabilities = with_none_of_them(self, self.predict(images))
        return [names[index] for index in probabilities.argmax(1).tolist()]


def load_trained(path: Path) -> TrainedNetwork:
    """Return the best network of the run in a folder, or that of a checkpoint, wherever it lies.

    Raises DataError.
    """
    config, state = read_trained(path)
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float32)
        with torch.random.fork_rng(devices=[]):  # the initial weights, which the stored ones replace
            network, criterion = restore_network(config, state)
    finally:
        torch.set_default_dtype(default)
    return TrainedNetwork(
        network=network.eval(),
        preprocess=restore_preprocessing(config, state, f"{path}: checkpoint"),
        criterion=criterion,
        names=state["names"],
        image_shape=tuple(state["image_shape"]),
        config=config,
        batch_size=with_batch_size(config, None, state.get("batch_size")).data.batch_size,
        data=state["data"],
        threads=state.get("threads"),
    )
