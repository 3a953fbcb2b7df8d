"""The pictures in a run's folder: what the network sees, and the learning rate, before training begins."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..assemble import Assembled
from ..config.preprocessing import Projection
from ..config.root import Config
from ..data.illustration import as_trained_on, illustrate
from ..data.images import MemoryImages
from ..data.toy2d import to_images, to_points
from ..optim.stages import Rates
from .boundary import draw_boundary
from .schedule import draw_schedule
from .sheet import save_sheet

SCHEDULE, IMAGES, PREPROCESSING = "schedule.png", "images.png", "preprocessing.png"
BOUNDARY = "decision_boundary.png"
# As many points as a curve of a picture can show.
MOST_POINTS = 1000
LEAST_SIDE = 4


def draw_start(folder: Path, config: Config, assembled: Assembled) -> list[str]:
    """Draw what is known before training; return the names of the files. Raises DataError."""
    trainer, train = assembled.trainer, assembled.splits.train
    draw_rates(folder / SCHEDULE, trainer.update.rates, trainer.steps_per_epoch, config.trainer.epochs)
    names = [SCHEDULE]
    if min(train.shape[:2]) >= LEAST_SIDE:
        augment = trainer.train_batches.augment
        rows = as_trained_on(trainer.preprocess, augment, config.regularization, train, config.seed)
        save_sheet(folder / IMAGES, rows)
        names.append(IMAGES)
    if isinstance(config.preprocessing, Projection):
        save_sheet(folder / PREPROCESSING, illustrate(trainer.preprocess, train))
        names.append(PREPROCESSING)
    return names


def draw_rates(path: Path, rates: Rates, steps_per_epoch: int, epochs: int) -> None:
    """Draw learning rate and momentum of every update; a plateau schedule as if it never fell."""
    steps = range(0, steps_per_epoch * epochs, max(1, steps_per_epoch * epochs // MOST_POINTS))
    momenta = [momentum for step in steps if (momentum := rates.momentum(step)) is not None]
    draw_schedule(
        path,
        [rates.lr(step) for step in steps],
        momenta if len(momenta) == len(steps) else None,
        steps_per_epoch / steps.step,
    )


def draw_end(folder: Path, config: Config, assembled: Assembled) -> list[str]:
    """Draw what the best network makes of points in a plane (D9); return the names of the files."""
    if config.data.name != "toy2d":
        return []
    trainer, train = assembled.trainer, assembled.splits.train
    assert isinstance(train, MemoryImages)

    @torch.inference_mode()
    def classify(points: Tensor) -> Tensor:
        scores: Tensor = trainer.network(trainer.preprocess(to_images(points).to(trainer.compute.device)))
        return trainer.criterion.probabilities(scores.float())

    names = assembled.splits.names
    draw_boundary(folder / BOUNDARY, classify, to_points(train.images), train.labels, names)
    return [BOUNDARY]
