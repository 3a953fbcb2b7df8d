"""Several trained networks as one, whose prediction is the mean of theirs: `cnntrain.load` (E1 to E3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..data.fingerprint import normalized
from ..errors import DataError
from ..runs.ensemble_folder import member_folders
from ..settings.config_tree import Config
from ..training.device import Compute
from .image_predictor import ImagePredictor
from .trained import TrainedNetwork, load_trained


@dataclass(repr=False)
class Ensemble(ImagePredictor):
    """Networks whose probabilities or values are averaged; they may differ but in labels and image size.

    names, image_shape, resize, config, threads: those of the first member. batch_size: the smallest.
    """

    members: list[TrainedNetwork]
    names: list[str] = field(init=False)
    target: str = field(init=False)
    rejects: bool = field(init=False)
    image_shape: tuple[int, int, int] = field(init=False)
    resize: str = field(init=False)
    batch_size: int = field(init=False)
    config: Config = field(init=False)
    threads: int | None = field(init=False)

    def __post_init__(self) -> None:
        first = self.members[0]
        self.names, self.target = first.names, first.target
        self.image_shape, self.resize = first.image_shape, first.resize
        self.config, self.threads = first.config, first.threads
        self.rejects = any(member.rejects for member in self.members)
        self.batch_size = min(member.batch_size for member in self.members)

    def __repr__(self) -> str:
        return f"Ensemble({len(self.members)} members: {self.members[0]!r}, …)"

    def use(self, compute: Compute) -> None:
        for member in self.members:
            member.use(compute)

    def predict_batch(self, images: Tensor) -> Tensor:
        return torch.stack([member.predict_batch(images) for member in self.members]).mean(0)

    def feature_extractor(self) -> Callable[[Tensor], Tensor]:
        extractors = [member.feature_extractor() for member in self.members]
        return lambda images: torch.cat([features(images) for features in extractors], 1)

    def gradient_map(self, pixels: Tensor, index: int) -> Tensor:
        """Return the mean of the members' maps."""
        return torch.stack([member.gradient_map(pixels, index) for member in self.members]).mean(0)


def load_ensemble(folder: Path) -> Ensemble:
    """Return the ensemble in a folder that job=ensemble wrote; raises DataError."""
    folders = member_folders(folder)
    members = [load_trained(path) for path in folders]
    check_members(members, [str(path) for path in folders])
    return Ensemble(members)


def check_members(members: list[TrainedNetwork], sources: list[str]) -> None:
    """Raise DataError if networks cannot be averaged, naming the first that differs by its source."""
    if not members:
        raise DataError("ensemble.members: an ensemble needs at least two members")
    first = members[0]
    for member, source in zip(members, sources, strict=True):
        if normalized(member.names) != normalized(first.names):
            raise DataError(
                f"{source}: predicts {', '.join(member.names[:5])}, … in place of "
                f"{', '.join(first.names[:5])}, …; members need the same labels"
            )
        if member.image_shape != first.image_shape:
            shapes = ["x".join(map(str, shape)) for shape in (member.image_shape, first.image_shape)]
            raise DataError(f"{source}: takes images of {shapes[0]} in place of {shapes[1]}")
        if member.config.data.target_kind() != first.config.data.target_kind():
            raise DataError(f"{source}: predicts {member.config.data.target_kind()}; leave it out")
