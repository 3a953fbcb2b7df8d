"""The three workloads: a tiny, a small and a heavy network on real images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure


@dataclass(frozen=True)
class Workload:
    """A network on a data set; `batches` of 128 images make one measured pass."""

    data: str
    model: str
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    augment: bool
    lr: float
    batches: int

    def overrides(self) -> list[str]:
        """Return the overrides of the workload on cnntrain's command line."""
        return [
            f"data={self.data}",
            "data.batch_size=128",
            *self.model.split(),
            f"augmentation={'crop_flip' if self.augment else 'none'}",
            "optim=nesterov",
            f"optim.lr={self.lr}",
            "schedule=constant",
        ]

    def images(self, root: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the training images (N, H, W, C) and labels."""
        with np.load(root / f"{self.data}.npz") as arrays:
            images, labels = arrays["x_train"], arrays["y_train"].astype(np.int64)
        return (images if images.ndim == 4 else images[..., None]), labels

    def network(self) -> nn.Module:
        """Return the network that cnntrain trains, with the same initial weights in every stack."""
        config = configure(self.overrides(), Choices()).config
        info = config.data.info()
        torch.manual_seed(0)
        network: nn.Module = config.model.build(info.channels, info.outputs, (info.height, info.width), None)
        return network


GREY = ((0.1307,), (0.3081,))
COLOUR = ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))
WORKLOADS = {
    "lenet5/MNIST": Workload("mnist", "model=lenet5", *GREY, False, 0.05, 400),
    "resnet20/CIFAR-10": Workload("cifar10", "model=resnet20 model.shortcut=B", *COLOUR, True, 0.05, 60),
    "vgg11/CIFAR-10": Workload("cifar10", "model=vgg11", *COLOUR, True, 0.02, 15),
}
BATCH_SIZE = 128
