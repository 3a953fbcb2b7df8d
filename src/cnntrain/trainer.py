"""The loop: batches → scores → loss → gradients → update, with records and checkpoints by name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from .checkpoint import Checkpoints, State
from .config.regularization import Regularization
from .config.trainer import Trainer as Settings
from .data.batches import Batch, Batches
from .data.preprocessing import Preprocess
from .device import Compute
from .errors import Diverged
from .evaluate import Measured, measure
from .interruption import StopSignals
from .loss.criterion import Criterion
from .metrics import in_words
from .mixing import Mixed, mix, noisy
from .model.fine_tuning import training_mode
from .optim.averaging import Average, own_batch_norm
from .optim.update import NonFinite, StepResult, Update
from .progress import Clock, Progress
from .recorder import Recorder, Row
from .seeding import seed_torch


@dataclass(frozen=True)
class Averaged:
    """A network's averaged weights with their batch-norm statistics, and how they do in validation."""

    measured: Measured | None
    network: State


class Trainer:
    """Trains one network to the end of its epochs, from wherever its progress stands."""

    def __init__(
        self,
        settings: Settings,
        seed: int,
        compute: Compute,
        network: nn.Module,
        preprocess: Preprocess,
        criterion: Criterion,
        update: Update,
        average: Average | None,
        strengths: Regularization,
        train: Batches,
        val: Batches | None,
        checkpoints: Checkpoints,
        recorder: Recorder,
        description: State,
    ):
        self.settings = settings
        self.seed = seed
        self.compute = compute
        self.network = network
        self.forward = torch.compile(network) if settings.compile else network
        self.preprocess = preprocess
        self.criterion = criterion
        self.update = update
        self.average = average
        self.strengths = strengths
        self.train_batches = train
        self.val_batches = val
        self.checkpoints = checkpoints
        self.recorder = recorder
        self.description = description
        self.progress = Progress()
        self.steps_per_epoch = min(len(train), settings.max_steps_per_epoch or len(train))
        # sums over the epoch so far, on the device: total loss, headline, images, data loss
        self.sums = torch.zeros(4, device=compute.device)
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
        """Make one update from one batch and count it; images (B, H, W, C) uint8, labels (B, …)."""
        progress = self.progress
        headlines: list[Tensor] = []

        def backward() -> Tensor:
            data_loss, headline = self._backward(images, labels)
            headlines.append(headline)
            return data_loss

        result = self.update.apply(progress.step, backward, recording)
        self.sums[0] += result.loss * len(labels)
        # Where an optimizer looked at several places, the first is where the step began.
        self.sums[1] += headlines[0]
        self.sums[2] += len(labels)
        self.sums[3] += result.data_loss * len(labels)
        progress.step += 1
        progress.step_in_epoch += 1
        progress.images += len(labels)
        if self.average is not None:
            self.average.after_step(progress.step)
        return result

    def _backward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Add the gradients of a batch's data loss; return it, and the sum of the images' headlines."""
        step = self.progress.step
        seed_torch(self.seed, "step", step)
        total = torch.zeros((), device=self.compute.device)
        headline = torch.zeros((), device=self.compute.device)
        parts = self.settings.accumulate_steps
        pairs = zip(images.chunk(parts), labels.chunk(parts), strict=True)
        for number, (part, part_labels) in enumerate(pairs):
            mixed = mix(self.preprocess(part), part_labels, self.strengths, self.seed, step, number)
            inputs = noisy(mixed.inputs, self.strengths.input_noise)
            with self.compute.autocast():
                outputs = self.forward(inputs)
            scores, loss = self._scored(outputs, mixed)
            loss = loss / parts
            torch.autograd.backward(self.update.scaler.scale(loss))
            total += loss.detach()
            headline += self.criterion.headline(scores.detach(), mixed.main_labels()).sum()
        return total, headline

    def _scored(self, outputs: Tensor | tuple[Tensor, ...], mixed: Mixed) -> tuple[Tensor, Tensor]:
        """Return the scores and the data loss, to which auxiliary heads add their weighted losses."""
        if isinstance(outputs, Tensor):
            return outputs, mixed.loss(self.criterion, outputs)
        scores, *others = outputs
        loss = mixed.loss(self.criterion, scores)
        for other in others:
            weight: Any = self.network.auxiliary_weight
            loss = loss + weight * mixed.loss(self.criterion, other)
        return scores, loss

    def record(self, result: StepResult, bar: tqdm[Any]) -> None:
        """Write a step row; raises NonFinite where updates were skipped."""
        self.update.check()
        progress = self.progress
        loss, name = result.loss.item(), self.criterion.headline_name
        _, headline, images, _ = self.sums.tolist()
        row: Row = {
            "step": progress.step,
            "epoch": progress.epoch + progress.step_in_epoch / self.steps_per_epoch,
            "lr": self.update.rates.lr(progress.step - 1),
            "momentum": self.update.rates.momentum(progress.step - 1),
            "train/loss": loss,
            "train/data_loss": result.data_loss.item(),
            "train/regularization_loss": float(result.regularization_loss),
            f"train/{name}": headline / images,
            "grad_norm": result.grad_norm.item(),
            "images_per_second": self._clock.images_per_second(progress.images),
        }
        if self.update.scaler.is_enabled():
            row["skipped_steps"] = self.update.total_skipped
        self.recorder.record(row | self.update.instrument.row())
        bar.set_postfix_str(f"loss {loss:.3f}, {in_words(name, headline / images)}", refresh=False)

    def finish_epoch(self) -> None:
        """Validate, record the epoch, adjust the schedule, note the best, save."""
        self.update.check()
        progress = self.progress
        rate = self._clock.epoch_done(progress)
        progress.epoch += 1
        progress.step_in_epoch = 0
        loss_sum, headline, images, data_loss_sum = self.sums.tolist()
        self.sums.zero_()
        row: Row = {
            "step": progress.step,
            "epoch": progress.epoch,
            "train/loss": loss_sum / images,
            "train/data_loss": data_loss_sum / images,
            f"train/{self.criterion.headline_name}": headline / images,
            "images_per_second": rate,
        }
        measured = self.validate()
        averaged = self._of_average(self.average) if self.average is not None and self.average.count else None
        if measured is not None:
            row |= measured.row("val")
        if averaged is not None and averaged.measured is not None:
            row |= averaged.measured.row("val_average")
        self.recorder.record(row)
        self.update.rates.schedule.after_epoch(None if measured is None else measured.result.error)
        self._note_best(measured, averaged)
        progress.stopped_early = self._out_of_patience()
        self.save()
        tqdm.write(self._epoch_line(row))
        self._clock.resume_training(progress)

    def _note_best(self, measured: Measured | None, averaged: Averaged | None) -> None:
        """Keep this epoch's weights, or their average, where they are the best so far by validation.

        Without a validation split the newest are kept, the average where there is one.
        """
        progress = self.progress
        candidates: list[tuple[Measured | None, str, State]] = []
        if averaged is not None:
            candidates.append((averaged.measured, "average", averaged.network))
        candidates.append((measured, "last_step", self.network.state_dict()))
        found, which, weights = min(candidates, key=lambda entry: _error(entry[0]))
        if found is not None:
            if progress.best_error is not None and _error(found) >= progress.best_error:
                return
            progress.best_error, progress.best_values = _error(found), found.row("val")
        progress.best_epoch, progress.best_weights = progress.epoch, which
        beside = {f"network_of_{name}": entry for _, name, entry in candidates if averaged is not None}
        self.checkpoints.save_best(self.trained_state() | {"network": weights} | beside)

    def validate(self) -> Measured | None:
        """Return the measurement over the validation split, None where there is none."""
        if self.val_batches is None:
            return None
        return measure(self.network, self.preprocess, self.criterion, self.val_batches, self.compute)

    def _of_average(self, average: Average) -> Averaged:
        """Return the averaged weights with batch-norm statistics of their own, and their measurement."""
        with average.in_place(), own_batch_norm(self.network, average.batch_norm_batches > 0) as norms:
            if norms:
                self._feed(average.batch_norm_batches)
            measured = self.validate()
            network = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        return Averaged(measured, network)

    @torch.no_grad()
    def _feed(self, batches: int) -> None:
        """Pass the first training batches of the epoch just ended through the network, in training mode."""
        stop = min(batches, self.steps_per_epoch)
        seed_torch(self.seed, "batch norm of the average", self.progress.epoch)
        for images, _ in self.train_batches.epoch(self.progress.epoch - 1, 0, stop):
            for part in images.chunk(self.settings.accumulate_steps):
                with self.compute.autocast():
                    self.network(self.preprocess(part))

    def _diverged(self, error: NonFinite) -> Diverged:
        return Diverged(
            f"diverged: loss or gradient is not finite at step {error.step + 1} "
            f"(epoch {error.step / self.steps_per_epoch:.2f}, lr {self.update.rates.lr(error.step):g}, "
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
            | {
                "update": self.update.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
                "progress": asdict(self.progress),
                "sums": self.sums.cpu(),
            }
        )

    def trained_state(self) -> State:
        """Return what prediction needs: weights, preprocessing, names, the loss's facts, configuration."""
        return self.description | {
            "network": self.network.state_dict(),
            "preprocess": self.preprocess.state_dict(),
            "loss": self.criterion.state_dict(),
        }

    def load(self, state: State) -> None:
        """Continue from a checkpoint's state."""
        self.network.load_state_dict(state["network"])
        self.update.load_state_dict(state["update"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
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
        parts = []
        for prefix in ("train", "val", "val_average"):
            names = ("loss", self.criterion.headline_name)
            words = [in_words(name, row[f"{prefix}/{name}"]) for name in names if f"{prefix}/{name}" in row]
            if prefix == "train" and row["train/loss"] != row["train/data_loss"]:
                words[0] += f" (of the data {row['train/data_loss']:.4f})"
            if words:
                parts.append(f"{prefix.replace('val_', '')} {', '.join(words)}")
        return f"epoch {row['epoch']:>3}/{self.settings.epochs}   {'   '.join(parts)}{best}"


def _error(measured: Measured | None) -> float:
    """Return what model selection lowers: infinite where it is no number, 0 where nothing was measured."""
    if measured is None:
        return 0.0
    return math.inf if math.isnan(measured.result.error) else measured.result.error
