"""The progress of a run: its counters, and its best epoch so far."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Progress:
    """The progress of a run: everything its next step depends on besides weights, optimizer and schedule.

    best_error: the lowest validation error so far, by trainer.best_by, reached in epoch best_epoch with
    metrics best_values by best_weights: those of the "last_step" or the "average"; of equal epochs the one of
    the lowest loss. rows: number of rows in
    metrics.jsonl. first_loss: the loss of the first step. lowest_loss: the lowest mean training loss of an
    epoch. parts_per_batch: into how many parts a batch is divided, as memory is too small for a whole one.
    """

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    best_epoch: int = 0
    best_error: float | None = None
    best_values: dict[str, float | None] = field(default_factory=dict)
    best_weights: str = "last_step"
    stopped_early: bool = False
    rows: int = 0
    wall_seconds: float = 0.0
    training_seconds: float = 0.0
    images: int = 0
    # Missing in checkpoints of earlier versions.
    first_loss: float | None = field(default=None, metadata={"optional": True})
    lowest_loss: float | None = field(default=None, metadata={"optional": True})
    parts_per_batch: int = field(default=1, metadata={"optional": True})

    def after_step(self, images: int) -> None:
        """Count one update from `images` images."""
        self.step += 1
        self.step_in_epoch += 1
        self.images += images

    def after_epoch(self) -> None:
        """Count one epoch."""
        self.epoch += 1
        self.step_in_epoch = 0

    def after_loss(self, loss: float) -> None:
        """Count the mean training loss of an epoch."""
        self.lowest_loss = loss if self.lowest_loss is None else min(loss, self.lowest_loss)

    def out_of_patience(self, epochs: int | None) -> bool:
        """Return whether none of this many epochs was better than the best one before; None: never."""
        return epochs is not None and self.epoch - self.best_epoch >= epochs
