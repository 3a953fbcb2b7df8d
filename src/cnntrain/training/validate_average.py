"""Validation of the averaged weights, with recomputed batch-norm statistics (E4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..averaging.average import recomputed_batch_norm
from ..data.batches import Batches
from ..runs.checkpoint import State
from ..seeding import seed_torch
from .evaluate_split import Evaluation
from .training_step import TrainingStep


@dataclass(frozen=True)
class Averaged:
    """Averaged weights with recomputed batch-norm statistics, and their validation result if there is one."""

    evaluation: Evaluation | None
    network: State


def evaluate_average(
    step: TrainingStep,
    train: Batches,
    epoch: int,
    steps_per_epoch: int,
    validate: Callable[[], Evaluation | None],
) -> Averaged | None:
    """Return the averaged weights after `epoch` epochs and the result of `validate`; None without average.

    Batch-norm statistics are recomputed over the first training batches of the epoch just completed.
    """
    average = step.average
    if average is None or not average.count:
        return None
    network, batches = step.network, average.batch_norm_batches
    with average.in_place(), recomputed_batch_norm(network, batches > 0) as norms:
        if norms:
            _forward_batches(step, train, epoch, min(batches, steps_per_epoch))
        evaluation = validate()
        weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    return Averaged(evaluation, weights)


@torch.no_grad()
def _forward_batches(step: TrainingStep, train: Batches, epoch: int, stop: int) -> None:
    """Forward the first `stop` training batches of the epoch just completed, whose index is epoch - 1."""
    seed_torch(step.seed, "batch norm of the average", epoch, *step.group.seed_parts)
    for images, _ in train.epoch(epoch - 1, 0, stop, step.group.share):
        for part in images.chunk(step.accumulate_steps * step.parts_per_batch):
            with step.compute.autocast():
                step.network(step.preprocess(part))
    step.group.add_up_training(step.network, [])
