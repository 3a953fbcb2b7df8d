"""The rows of metrics.jsonl: one per recorded step, and one per epoch."""

from __future__ import annotations

import torch

from ..runs.metrics_file import Row
from ..runs.run_progress import Progress
from .evaluate_split import Evaluation
from .training_step import StepResult, TrainingStep
from .validate_average import Averaged


class EpochMeans:
    """Means over the epoch so far, accumulated on the device.

    sums over images: total loss, primary metric, number of images, data loss.
    """

    def __init__(self, device: torch.device):
        self.sums = torch.zeros(4, device=device)

    def add(self, result: StepResult) -> None:
        """Add the result of one step."""
        self.sums[0] += result.update.loss * result.images
        self.sums[1] += result.metric_sum
        self.sums[2] += result.images
        self.sums[3] += result.update.data_loss * result.images

    def metric(self) -> float:
        """Return the mean of the primary metric; waits for the device."""
        _, metric, images, _ = self.sums.tolist()
        return float(metric / images)

    def take(self, metric_name: str) -> Row:
        """Return the means by name and reset the sums; waits for the device."""
        loss, metric, images, data_loss = self.sums.tolist()
        self.sums.zero_()
        return {
            "train/loss": loss / images,
            "train/data_loss": data_loss / images,
            f"train/{metric_name}": metric / images,
        }


def step_row(
    step: TrainingStep,
    result: StepResult,
    progress: Progress,
    steps_per_epoch: int,
    means: EpochMeans,
    images_per_second: float,
) -> Row:
    """Return the record of the step just completed; waits for the device."""
    update, optimizers = result.update, step.update.optimizers
    row: Row = {
        "step": progress.step,
        "epoch": progress.epoch + progress.step_in_epoch / steps_per_epoch,
        "lr": optimizers.lr(progress.step - 1),
        "momentum": optimizers.momentum(progress.step - 1),
        "train/loss": update.loss.item(),
        "train/data_loss": update.data_loss.item(),
        "train/regularization_loss": float(update.regularization_loss),
        f"train/{step.criterion.primary_metric_name}": means.metric(),
        "grad_norm": update.grad_norm.item(),
        "images_per_second": images_per_second,
    }
    if step.update.scaler.is_enabled():
        row["skipped_steps"] = step.update.skipped.total
    return row | step.update.instruments.step_row()


def epoch_row(
    progress: Progress,
    means: Row,
    validation: Evaluation | None,
    averaged: Averaged | None,
    rates: Row,
) -> Row:
    """Return the record of the epoch just completed, with validation results if there are any.

    rates: from `Throughput.epoch_done`.
    """
    row: Row = {
        "step": progress.step,
        "epoch": progress.epoch,
        **means,
        **rates,
    }
    if validation is not None:
        row |= validation.row("val")
    if averaged is not None and averaged.evaluation is not None:
        row |= averaged.evaluation.row("val_average")
    return row
