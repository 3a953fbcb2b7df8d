"""Pictures in a run's folder: the network's input images, the schedule, the decision boundary."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ...assemble.run import Assembled
from ...data.image_set import MemoryImages
from ...data.toy2d import to_images, to_points
from ...optim.optimizer_stages import OptimizerStages
from ...preprocessing.settings import Projection
from ...runs.file_names import IMAGES, PREPROCESSING, SCHEDULE
from ...settings.config_tree import Config
from ...settings.run_length import total_steps
from .decision_boundary import draw_boundary
from .filters import draw_filters
from .image_grid import save_sheet
from .network_inputs import augmentation_rows, illustrate, shown_images
from .schedule import draw_rates

BOUNDARY, FILTERS = "decision_boundary.png", "filters.png"
# More points on a curve could not be distinguished in the picture.
MAX_POINTS = 1000
MIN_SIDE = 4


def draw_start(folder: Path, config: Config, assembled: Assembled) -> list[str]:
    """Draw the network's input images; return the names of the files. Raises DataError."""
    trainer, train = assembled.trainer, assembled.parts.splits.train
    step, names = trainer.step, []
    if min(train.shape[:2]) >= MIN_SIDE:
        rows = augmentation_rows(step.preprocess, trainer.train_batches, config.regularization)
        save_sheet(folder / IMAGES, rows, _column_names(assembled))
        names.append(IMAGES)
    if isinstance(config.preprocessing, Projection):
        save_sheet(folder / PREPROCESSING, illustrate(step.preprocess, train))
        names.append(PREPROCESSING)
    return names


def _column_names(assembled: Assembled) -> list[str] | None:
    """Return the class names of the images shown, None where labels are no classes."""
    splits = assembled.parts.splits
    if splits.train.labels.ndim > 1:
        return None
    return [splits.names[label] for label in splits.train.labels[shown_images(splits.train)].tolist()]


def draw_schedule(folder: Path, config: Config, assembled: Assembled) -> list[str]:
    """Draw the planned learning rate and momentum; return the names of the files. Raises DataError.

    Called after training, as importing matplotlib takes as long as a short training.
    """
    trainer = assembled.trainer
    optimizers = trainer.step.update.optimizers
    draw_optimizer_schedule(folder / SCHEDULE, optimizers, trainer.steps_per_epoch, config.trainer.epochs)
    return [SCHEDULE]


def draw_optimizer_schedule(
    path: Path, optimizers: OptimizerStages, steps_per_epoch: int, epochs: float
) -> None:
    """Draw learning rate and momentum of every update; a plateau schedule is drawn without reductions."""
    total = total_steps(steps_per_epoch, epochs)
    steps = range(0, total, max(1, total // MAX_POINTS))
    momenta = [momentum for step in steps if (momentum := optimizers.momentum(step)) is not None]
    draw_rates(
        path,
        [optimizers.lr(step) for step in steps],
        momenta if len(momenta) == len(steps) else None,
        steps_per_epoch / steps.step,
    )


def draw_end(folder: Path, config: Config, assembled: Assembled) -> list[str]:
    """Draw the best network's filters (W4) and, on toy2d, its decision boundary (D9); return the files."""
    names = [FILTERS] if draw_filters(folder / FILTERS, assembled.trainer.network) else []
    if config.data.name != "toy2d":
        return names
    step, train = assembled.trainer.step, assembled.parts.splits.train
    assert isinstance(train, MemoryImages)

    @torch.inference_mode()
    def classify(points: Tensor) -> Tensor:
        scores: Tensor = step.network(step.preprocess(to_images(points).to(step.compute.device)))
        return step.criterion.probabilities(scores.float())

    classes = assembled.parts.splits.names
    draw_boundary(folder / BOUNDARY, classify, to_points(train.images), train.labels, classes)
    return [*names, BOUNDARY]
