"""A trained network in Python: `cnntrain.load(folder)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from .assemble import rebuild_network, restored_preprocessing
from .checkpoint import State
from .config import stored
from .config.root import Config
from .data.preprocessing import Preprocess
from .errors import DataError
from .run_folder import RunFolder


@dataclass
class TrainedNetwork:
    """The network of a run's best epoch, in evaluation mode on the CPU, its preprocessing and class names."""

    network: nn.Module
    preprocess: Preprocess
    class_names: list[str]
    image_shape: tuple[int, int, int]
    config: Config

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """Return class probabilities (N, K) for images (N, H, W, C) of 0…255; raises ValueError by shape."""
        if images.ndim != 4 or tuple(images.shape[1:]) != self.image_shape:
            expected = ", ".join(str(length) for length in self.image_shape)
            raise ValueError(f"images must have the shape (N, {expected}), got {tuple(images.shape)}")
        scores: Tensor = self.network(self.preprocess(images))
        return scores.float().softmax(1)

    def classify(self, images: Tensor) -> Sequence[str]:
        """Return the most probable class name of each image; images as for `probabilities`."""
        return [self.class_names[index] for index in self.probabilities(images).argmax(1).tolist()]


def load_trained(path: Path) -> TrainedNetwork:
    """Return the best network of the run in a folder; raises DataError."""
    config = stored.read(path)
    state = RunFolder(path).checkpoints.load_best()
    return TrainedNetwork(
        network=restored_network(config, state).eval(),
        preprocess=restored_preprocessing(state, torch.device("cpu")),
        class_names=state["class_names"],
        image_shape=tuple(state["image_shape"]),
        config=config,
    )


def restored_network(config: Config, state: State) -> nn.Module:
    """Return the network of a configuration with a checkpoint's weights.

    Raises DataError where the checkpoint is of another network.
    """
    height, width, channels = state["image_shape"]
    size = state["input_size"] or (height, width)
    network = rebuild_network(config, channels, len(state["class_names"]), (size[0], size[1]))
    load_weights(network, state)
    return network


def load_weights(network: nn.Module, state: State) -> None:
    """Put a checkpoint's weights into a network; raises DataError where they do not fit."""
    try:
        network.load_state_dict(state["network"])
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise DataError(
            f"the checkpoint is of another network than the configuration says: {first}"
        ) from error
