"""Several trained networks as one, whose prediction is the mean of theirs: `cnntrain.load` (E1 to E3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..data.fingerprint import normalized
from ..errors import DataError
from ..runs.ensemble_folder import member_folders
from ..settings.config_tree import Config
from ..training.device import Compute
from .predictor import with_none_of_them
from .trained import Images, TrainedNetwork, load_trained


@dataclass(repr=False)
class Ensemble:
    """Networks whose probabilities or values are averaged; they may differ but in labels and image size."""

    members: list[TrainedNetwork]

    def __repr__(self) -> str:
        return f"Ensemble({len(self.members)} members: {self.members[0]!r}, …)"

    @property
    def names(self) -> list[str]:
        """The names of the classes, attributes or values."""
        return self.members[0].names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images it takes."""
        return self.members[0].image_shape

    @property
    def config(self) -> Config:
        """The configuration of the first member."""
        return self.members[0].config

    @property
    def threads(self) -> int | None:
        """The number of CPU threads of the first member's run."""
        return self.members[0].threads

    def use(self, compute: Compute) -> None:
        """Predict on another device, and in another precision."""
        for member in self.members:
            member.use(compute)

    @property
    def rejects(self) -> bool:
        """Whether an image may be most probably none of the classes."""
        return any(member.rejects for member in self.members)

    @property
    def target(self) -> str:
        """What is predicted: "classes", "attributes" or "values"."""
        return self.members[0].target

    @property
    def resize(self) -> str:
        """How other images are brought to this height and width: "crop", "squash" or "pad"."""
        return self.members[0].resize

    @property
    def batch_size(self) -> int:
        """The smallest batch size with which a member was trained."""
        return min(member.batch_size for member in self.members)

    @torch.inference_mode()
    def predict(self, images: Images) -> Tensor:
        """Return the mean of the members' probabilities or values; images and errors as for one network."""
        return torch.stack([member.predict(images) for member in self.members]).mean(0)

    def classify(self, images: Images) -> Sequence[str]:
        """Return the name of the most probable class of each image; raises ValueError as for one network."""
        self.members[0].classify(images[:0])
        names, probabilities = with_none_of_them(self, self.predict(images))
        return [names[index] for index in probabilities.argmax(1).tolist()]


def load_ensemble(folder: Path) -> Ensemble:
    """Return the ensemble in a folder that job=ensemble wrote; raises DataError."""
    folders = member_folders(folder)
    ensemble = Ensemble([load_trained(path) for path in folders])
    check_members(ensemble.members, [str(path) for path in folders])
    return ensemble


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
