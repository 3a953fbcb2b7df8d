"""The loop: batches → scores → loss → gradients → update, with records and checkpoints by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from .checkpoint import Checkpoints, State
from .config.trainer import Trainer as Settings
from .data.batches import Batch, Batches
from .data.preprocessing import Preprocess
from .device import Compute
from .errors import Diverged
from .evaluate import Measured, measure
from .interruption import StopSignals
from .model.fine_tuning import training_mode
from .optim.update import NonFinite, Update
from .progress import Clock, Progress
from .recorder import Recorder, Row
from .seeding import seed_torch


@dataclass
class StepResult:
    """What a step measured, still on the device."""

    loss: Tensor
    data_loss: Tensor
    regularization_loss: Tensor | float
    grad_norm: Tensor


class Trainer:
    """Trains one network to the end of its epochs, from wherever its progress stands."""

    def __init__(
        self,
        settings: Settings,
        seed: int,
        compute: Compute,
        network: nn.Module,
        preprocess: Preprocess,
        loss: nn.Module,
        update: Update,
        train: Batches,
        val: Batches | None,
        checkpoints: Checkpoints,
        recorder: Recorder,
        description: State,
        classes: int,
    ):
        self.settings = settings
        self.seed = seed
        self.compute = compute
        self.network = network
        self.forward = torch.compile(network) if settings.compile else network
        self.preprocess = preprocess
        self.loss = loss
        self.update = update
        self.train_batches = train
        self.val_batches = val
        self.checkpoints = checkpoints
        self.recorder = recorder
        self.description = description
        self.classes = classes
        self.progress = Progress()
        self.steps_per_epoch = min(len(train), settings.max_steps_per_epoch or len(train))
        # sums over the epoch so far, on the device: total loss, right answers, images
        self.sums = torch.zeros(3, device=compute.device)
        self._clock = Clock(settings)

    def train(self, signals: StopSignals) -> None:
        """Train until the last epoch, an early stop, a signal (Interrupted) or divergence (Diverged)."""
        progress = self.progress
        self._clock.start(progress)
        if progress.step == 0:
            self.save()
        try:
            while progress.epoch < self.settings.epochs and not progress.stopped_early:
                training_mode(self.network)
                with self._bar() as bar:
                    for images, labels in self._batches():
                        recording = self.recorder.due(progress.step)
                        result = self.train_step(images, labels, recording)
                        bar.update()
                        if recording:
                            self.record(result, bar)
                        if self._clock.checkpoint_due(progress.step):
                            self.save()
                        if reason := signals.received or self._clock.time_is_up():
                            self.save()
                            raise reason
                self.finish_epoch()
        except NonFinite as error:
            raise self._diverged(error) from error

    def train_step(self, images: Tensor, labels: Tensor, recording: bool) -> StepResult:
        """Make one update from one batch and count it; images (B, H, W, C) uint8, labels (B,)."""
        progress = self.progress
        seed_torch(self.seed, "step", progress.step)
        data_loss = torch.zeros((), device=self.compute.device)
        parts = self.settings.accumulate_steps
        for part, part_labels in zip(images.chunk(parts), labels.chunk(parts), strict=True):
            inputs = self.preprocess(part)
            with self.compute.autocast():
                outputs = self.forward(inputs)
            scores, part_loss = self._scored(outputs, part_labels)
            part_loss = part_loss / parts
            torch.autograd.backward(self.update.scaler.scale(part_loss))
            data_loss += part_loss.detach()
            self.sums[1] += (scores.argmax(1) == part_labels).sum()
        regularization_loss = self.update.regularization.loss()
        loss = data_loss + regularization_loss
        grad_norm = self.update.apply(progress.step, loss, recording)
        self.sums[0] += loss * len(labels)
        self.sums[2] += len(labels)
        progress.step += 1
        progress.step_in_epoch += 1
        progress.images += len(labels)
        return StepResult(loss, data_loss, regularization_loss, grad_norm)

    def _scored(self, outputs: Tensor | tuple[Tensor, ...], labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores and the data loss, to which auxiliary heads add their weighted losses."""
        if isinstance(outputs, Tensor):
            return outputs, self.loss(outputs.float(), labels)
        scores, *others = outputs
        loss: Tensor = self.loss(scores.float(), labels)
        for other in others:
            loss = loss + self.network.auxiliary_weight * self.loss(other.float(), labels)
        return scores, loss

    def record(self, result: StepResult, bar: tqdm[Any]) -> None:
        """Write a step row; raises NonFinite where updates were skipped."""
        self.update.check()
        progress = self.progress
        loss = result.loss.item()
        _, right, images = self.sums.tolist()
        row: Row = {
            "step": progress.step,
            "epoch": progress.epoch + progress.step_in_epoch / self.steps_per_epoch,
            "lr": self.update.lr(progress.step - 1),
            "train/loss": loss,
            "train/data_loss": result.data_loss.item(),
            "train/regularization_loss": float(result.regularization_loss),
            "train/accuracy": right / images,
            "grad_norm": result.grad_norm.item(),
            "images_per_second": self._clock.images_per_second(progress.images),
        }
        if self.update.scaler.is_enabled():
            row["skipped_steps"] = self.update.total_skipped
        self.recorder.record(row | self.update.instrument.row())
        bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{right / images:.1%}", refresh=False)

    def finish_epoch(self) -> None:
        """Validate, record the epoch, adjust the schedule, note the best, save."""
        self.update.check()
        progress = self.progress
        rate = self._clock.epoch_done(progress)
        progress.epoch += 1
        progress.step_in_epoch = 0
        loss_sum, right, images = self.sums.tolist()
        self.sums.zero_()
        row: Row = {
            "step": progress.step,
            "epoch": progress.epoch,
            "train/loss": loss_sum / images,
            "train/accuracy": right / images,
            "images_per_second": rate,
        }
        measured = self.validate()
        if measured is not None:
            row |= {"val/loss": measured.loss, "val/accuracy": measured.accuracy}
        self.recorder.record(row)
        self.update.schedule.after_epoch(None if measured is None else 1 - measured.accuracy)
        if measured is None or progress.best_accuracy is None or measured.accuracy > progress.best_accuracy:
            progress.best_epoch = progress.epoch
            if measured is not None:
                progress.best_loss, progress.best_accuracy = measured.loss, measured.accuracy
            self.checkpoints.save_best(self.trained_state())
        progress.stopped_early = self._out_of_patience()
        self.save()
        tqdm.write(self._epoch_line(row))
        self._clock.resume_training(progress)

    def validate(self) -> Measured | None:
        """Return the measurement over the validation split, None where there is none."""
        if self.val_batches is None:
            return None
        return measure(self.network, self.preprocess, self.loss, self.val_batches, self.classes, self.compute)

    def _diverged(self, error: NonFinite) -> Diverged:
        return Diverged(
            f"diverged: loss or gradient is not finite at step {error.step + 1} "
            f"(epoch {error.step / self.steps_per_epoch:.2f}, lr {self.update.lr(error.step):g}, "
            f"loss {error.loss:g}, gradient norm {error.grad_norm:g}); no update was made. "
            f"Last good checkpoint: {self.checkpoints.folder / 'last.pt'}. Try a lower optim.lr, a warm-up "
            "(schedule.warmup_epochs=1) or trainer.max_grad_norm=1"
        )

    def save(self) -> None:
        """Write the newest checkpoint: all that the next step depends on."""
        self.update.check()
        self._clock.saved(self.progress)
        self.recorder.sync()
        self.progress.rows = self.recorder.rows
        self.checkpoints.save_last(
            self.trained_state()
            | {"update": self.update.state_dict(), "progress": asdict(self.progress), "sums": self.sums.cpu()}
        )

    def trained_state(self) -> State:
        """Return what prediction needs: weights, preprocessing, class names, configuration."""
        return self.description | {
            "network": self.network.state_dict(),
            "preprocess": self.preprocess.state_dict(),
        }

    def load(self, state: State) -> None:
        """Continue from a checkpoint's state."""
        self.network.load_state_dict(state["network"])
        self.preprocess.load_state_dict(state["preprocess"])
        self.update.load_state_dict(state["update"])
        self.progress = Progress(**state["progress"])
        self.progress.stopped_early = self._out_of_patience()
        self.sums = state["sums"].to(self.compute.device)

    def _out_of_patience(self) -> bool:
        patience = self.settings.early_stopping_epochs
        return patience is not None and self.progress.epoch - self.progress.best_epoch >= patience

    def _batches(self) -> Iterator[Batch]:
        progress = self.progress
        return self.train_batches.epoch(progress.epoch, progress.step_in_epoch, self.steps_per_epoch)

    def _bar(self) -> tqdm[Any]:
        progress = self.progress
        return tqdm(
            total=self.steps_per_epoch,
            initial=progress.step_in_epoch,
            desc=f"epoch {progress.epoch + 1}/{self.settings.epochs}",
            unit="step",
            leave=False,
            disable=None,
        )

    def _epoch_line(self, row: Row) -> str:
        best = " *" if self.progress.best_epoch == self.progress.epoch else ""
        val = (
            f"   val loss {row['val/loss']:.4f}, accuracy {row['val/accuracy']:.2%}"
            if "val/loss" in row
            else ""
        )
        return (
            f"epoch {row['epoch']:>3}/{self.settings.epochs}   train loss {row['train/loss']:.4f}, "
            f"accuracy {row['train/accuracy']:.2%}{val}{best}"
        )
