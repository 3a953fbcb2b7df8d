"""A trained network in Python: `cnntrain.load(folder)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..assemble.restore import restore_preprocessing
from ..assemble.trained_run import read_trained, restore_network
from ..config.resolve_batch_size import with_batch_size
from ..loss.class_losses import RejectingSoftmax
from ..loss.criterion import Criterion
from ..preprocessing.preprocess import Preprocess
from ..runs.checkpoint import State
from ..settings.config_tree import Config
from ..settings.fields import describe_changes
from ..training.device import Compute, move_to_device
from .explanation_maps import gradient_map
from .image_predictor import ImagePredictor
from .penultimate_layer import Penultimate

# Where and how a network predicts until it is told otherwise.
CPU = Compute(torch.device("cpu"), "fp32", torch.contiguous_format, "")


@dataclass(repr=False)
class TrainedNetwork(ImagePredictor):
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
    target: str = field(init=False)
    rejects: bool = field(init=False)
    resize: str = field(init=False)

    def __post_init__(self) -> None:
        self.target = self.config.data.target_kind()
        self.rejects = isinstance(self.criterion, RejectingSoftmax)
        self.resize = getattr(self.config.data, "resize", "crop")

    def __repr__(self) -> str:
        height, width, channels = self.image_shape
        return (
            f"TrainedNetwork({describe_changes(self.config.model)}, images of {height}x{width}x{channels}, "
            f"{len(self.names)} {self.target})"
        )

    def use(self, compute: Compute) -> None:
        move_to_device(self.network, compute)
        self.preprocess.to(compute.device)
        self.criterion.to(compute.device)
        self.compute = compute

    @torch.inference_mode()
    def predict_batch(self, images: Tensor) -> Tensor:
        return self.criterion.probabilities(self._scores(self.network, images)).cpu()

    def feature_extractor(self) -> Callable[[Tensor], Tensor]:
        network = Penultimate(self.network)

        @torch.inference_mode()
        def features(images: Tensor) -> Tensor:
            self._scores(network, images)
            return network.features()

        return features

    def gradient_map(self, pixels: Tensor, index: int) -> Tensor:
        def score(images: Tensor) -> Tensor:
            scores: Tensor = self.network(self.preprocess(images.to(self.compute.device)))
            return self.criterion.predictions(scores)[0, index]

        return gradient_map(score, pixels)

    def _scores(self, network: nn.Module, images: Tensor) -> Tensor:
        inputs = self.preprocess(images.to(self.compute.device))
        with self.compute.autocast():
            scores: Tensor = network(inputs).float()
        return scores


def load_trained(path: Path) -> TrainedNetwork:
    """Return the best network of the run in a folder, or that of a checkpoint, wherever it lies.

    Raises DataError.
    """
    config, state = read_trained(path)
    return trained_of(config, state, f"{path}: checkpoint")


def trained_of(config: Config, state: State, source: str) -> TrainedNetwork:
    """Return the network of a configuration with the weights and statistics of a checkpoint's state.

    source: where the state comes from, for messages. Raises DataError.
    """
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float32)
        with torch.random.fork_rng(devices=[]):  # the initial weights, which the stored ones replace
            network, criterion = restore_network(config, state)
    finally:
        torch.set_default_dtype(default)
    return TrainedNetwork(
        network=network.eval(),
        preprocess=restore_preprocessing(config, state, source),
        criterion=criterion,
        names=state["names"],
        image_shape=tuple(state["image_shape"]),
        config=config,
        batch_size=with_batch_size(config, None, state.get("batch_size")).data.batch_size,
        data=state["data"],
        threads=state.get("threads"),
    )
