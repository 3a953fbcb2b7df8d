"""The training loop: epochs of steps, each epoch followed by validation, a record and a checkpoint."""

from __future__ import annotations

import math
from dataclasses import asdict

from torch import nn

from ..data.batches import Batches
from ..errors import Diverged, Interrupted, UserError
from ..instruments.instrument import CHECKPOINT, EVALUATE
from ..model.fine_tuning import training_mode
from ..runs.checkpoint import Checkpoints, State
from ..runs.metrics_file import Recorder, Row
from ..runs.run_progress import Progress
from ..runs.signals import StopSignals
from .best_epoch import keep_best
from .checkpoint_timer import CheckpointTimer
from .epoch_line import print_epoch
from .evaluate_split import Evaluation, evaluate_split
from .metrics_rows import EpochMeans, epoch_row, step_row
from .nonfinite import NonFinite
from .process_group import ProcessGroup
from .progress_bar import progress_bar, show_on_bar
from .settings import Trainer as Settings
from .stop_rule import NEVER, StopRule
from .throughput import Throughput
from .training_step import StepResult, TrainingStep
from .validate_average import evaluate_average

# A loss that has grown by this factor is no result of training, though it is finite.
DIVERGED_FACTOR = 100.0


class Trainer:
    """Trains one network from its current progress to the last epoch.

    description: what checkpoints store besides the state: configuration, names, image shape.
    """

    def __init__(
        self,
        settings: Settings,
        step: TrainingStep,
        train: Batches,
        val: Batches | None,
        checkpoints: Checkpoints,
        recorder: Recorder,
        description: State,
    ):
        self.settings = settings
        self.step = step
        self.train_batches = train
        self.val_batches = val
        self.checkpoints = checkpoints
        self.recorder = recorder
        self.description = description
        self.steps_per_epoch = min(len(train), settings.max_steps_per_epoch or len(train))
        self.progress = Progress()
        self.means = EpochMeans(step.compute.device)
        self._last_loss: float | None = None
        self._checkpoint_timer = CheckpointTimer(settings)
        self._throughput = Throughput()

    @property
    def network(self) -> nn.Module:
        """The network being trained."""
        return self.step.network

    @property
    def group(self) -> ProcessGroup:
        """The processes that train the network together."""
        return self.step.group

    @property
    def metric_name(self) -> str:
        """The name of the primary metric."""
        return self.step.criterion.primary_metric_name

    @property
    def best_by(self) -> str:
        """The name of the validation metric by which the best epoch is chosen."""
        return self.settings.selected_by(self.metric_name)

    def train(self, signals: StopSignals, stop_rule: StopRule = NEVER) -> None:
        """Train until the last epoch, an early stop, a signal (Interrupted) or divergence (Diverged).

        Raises what a listener of the recorder has raised, once the run is saved.

        stop_rule: that of a search, which may end the run before an epoch (Stopped).
        """
        progress, settings = self.progress, self.settings
        around_part = self.step.update.instruments.around_part
        self._checkpoint_timer.start()
        self._throughput.start(progress)
        if progress.step == 0:
            self.save()
        try:
            while progress.epoch < settings.epochs and not progress.stopped_early:
                stop_rule.check(progress, settings.epochs)
                self.step.head_warm_up.begin_epoch(progress.epoch)
                training_mode(self.network)
                stop = self._steps_in_epoch()
                batches = self.train_batches.epoch(
                    progress.epoch, progress.step_in_epoch, stop, self.group.share
                )
                with progress_bar(progress, stop, settings.epochs) as bar:
                    for images, labels in self._throughput.waiting_for(batches, around_part):
                        recording = self.recorder.due(progress.step)
                        result = self.step.run(progress.step, images, labels, recording)
                        self.means.add(result)
                        progress.after_step(result.images)
                        bar.update()
                        if recording:
                            show_on_bar(bar, self.record(result), self.metric_name)
                        if self._checkpoint_timer.due(progress.step):
                            self.save()
                        if reason := self._reason_to_stop(signals):
                            self.save()
                            raise reason
                self.finish_epoch()
                if self.recorder.failure is not None:
                    raise self.recorder.failure
        except NonFinite as error:
            raise self._diverged(error) from error
        self._check_last_loss()

    def record(self, result: StepResult) -> Row:
        """Write and return the record of the step just done; raises NonFinite if updates were skipped."""
        self.step.update.skipped.check()
        self.step.update.instruments.join_step(self.group.gather)
        rate = self._throughput.since_record(self.progress.images)
        row = step_row(self.step, result, self.progress, self.steps_per_epoch, self.means, rate)
        if self.progress.step == 1:
            self.progress.first_loss = row["train/loss"]
        self.recorder.record(row)
        return row

    def finish_epoch(self) -> None:
        """Validate, record the epoch, update the schedule, save the best and the newest checkpoint."""
        progress, step = self.progress, self.step
        step.update.skipped.check()
        self._check_weights()
        rates = self._throughput.epoch_done(progress)
        progress.after_epoch()
        with step.update.instruments.around_split():
            validation = self.validate()
            step.update.instruments.join_split(self.group.gather)
        averaged = evaluate_average(
            step, self.train_batches, progress.epoch, self.steps_per_epoch, self.validate
        )
        means = self.means.take(self.metric_name)
        row = epoch_row(progress, means, validation, averaged, rates)
        row |= step.update.instruments.split_row()
        self._last_loss = row["train/loss"]
        progress.after_loss(row["train/loss"])
        self.recorder.record(row)
        step.update.optimizers.schedule.after_epoch(
            None if validation is None else validation.error(self.best_by)
        )
        with step.update.instruments.around_part(CHECKPOINT):
            keep_best(progress, self.checkpoints, self.trained_state(), validation, averaged, self.best_by)
            if self.settings.keep_epochs is not None and progress.epoch % self.settings.keep_epochs == 0:
                self.checkpoints.save_epoch(self.trained_state(), progress.epoch)
        progress.stopped_early = progress.out_of_patience(self.settings.early_stopping_epochs)
        self.save()
        is_best = progress.best_epoch == progress.epoch
        print_epoch(row, self.metric_name, self.best_by, self.settings.epochs, is_best)
        self._throughput.start(progress)

    def _check_weights(self) -> None:
        """Raise UserError where the processes of a group have not made the same updates."""
        if self.group.size > 1 and not self.group.have_same(self.step.update.weights):
            raise UserError(
                f"epoch {self.progress.epoch + 1}: the processes have different weights, though they had "
                "the same gradients; use machines of one kind, with one version of torch"
            )

    def validate(self) -> Evaluation | None:
        """Return loss and metrics over the validation split, None if there is none."""
        if self.val_batches is None:
            return None
        step = self.step
        with step.update.instruments.around_part(EVALUATE):
            return evaluate_split(
                step.network,
                step.preprocess,
                step.criterion,
                self.val_batches,
                step.compute,
                group=self.group,
            )

    def save(self) -> None:
        """Write the newest checkpoint: everything the next step depends on."""
        if not self.group.is_first:
            return
        self.step.update.skipped.check()
        self._checkpoint_timer.saved(self.progress)
        self.recorder.sync()
        self.progress.rows = self.recorder.rows
        with self.step.update.instruments.around_part(CHECKPOINT):
            self.checkpoints.save_last(self.state())

    def state(self) -> State:
        """Return everything the next step depends on."""
        average = self.step.average
        return self.trained_state() | {
            "update": self.step.update.state_dict(),
            "average": None if average is None else average.state_dict(),
            "progress": asdict(self.progress),
            "sums": self.means.sums.cpu(),
        }

    def trained_state(self) -> State:
        """Return the state for prediction: configuration, names, weights, preprocessing, label statistics."""
        return self.description | {
            "network": self.network.state_dict(),
            "preprocess": self.step.preprocess.state_dict(),
            "loss": self.step.criterion.state_dict(),
        }

    def load(self, state: State) -> None:
        """Restore a run's progress, to continue from it; `step` is restored before."""
        self.progress = Progress(**state["progress"])
        self.progress.stopped_early = self.progress.out_of_patience(self.settings.early_stopping_epochs)
        self.progress.rows = self.recorder.rows
        self.step.parts_per_batch = self.progress.parts_per_batch
        self.means.sums = state["sums"].to(self.step.compute.device)

    def _steps_in_epoch(self) -> int:
        """Return the steps of the current epoch, fewer than usual where the run ends within it."""
        before = self.progress.epoch * self.steps_per_epoch
        return min(self.steps_per_epoch, self.settings.total_steps(self.steps_per_epoch) - before)

    def _reason_to_stop(self, signals: StopSignals) -> BaseException | None:
        """Return a signal, what a hook has raised, or that time is up; None to go on.

        All processes of a group return one where any of them has a signal, or the first another reason.
        """
        other = self.recorder.failure or self._checkpoint_timer.time_is_up() if self.group.is_first else None
        if self.group.size == 1:
            return signals.received or other
        found = self.group.largest(signals.number + 1 if signals.received else int(other is not None))
        if found > 1 and signals.received is None:
            signals.receive(found - 1)
        return signals.received or other or (Interrupted("", 0) if found else None)

    def _check_last_loss(self) -> None:
        """Raise Diverged if training ended with a finite loss far above that of its first step."""
        first, last = self.progress.first_loss, self._last_loss
        if first is None or last is None or not math.isfinite(last):
            return  # of an infinite one, fp16 has skipped the update
        if last > DIVERGED_FACTOR * max(first, 1.0):
            raise Diverged(
                f"diverged: the training loss of the last epoch is {last:.3g}, that of the first step was "
                f"{first:.3g}. Try a lower optim.lr, a warm-up (schedule.warmup_epochs=1) or "
                "trainer.max_grad_norm=1"
            )

    def _diverged(self, error: NonFinite) -> Diverged:
        if error.step == 0:
            return Diverged(
                f"diverged: loss or gradient of the initial network is not finite (loss {error.loss:g}, "
                f"gradient norm {error.grad_norm:g}), before any update. The network's inputs, its initial "
                "weights or its loss are too large; job=check with the same settings says which"
            )
        return Diverged(
            f"diverged: loss or gradient is not finite at step {error.step + 1} "
            f"(epoch {error.step / self.steps_per_epoch:.2f}, "
            f"lr {self.step.update.optimizers.lr(error.step):g}, loss {error.loss:g}, "
            f"gradient norm {error.grad_norm:g}); no update was made. "
            f"Last good checkpoint: {self.checkpoints.folder / 'last.pt'}. Try a lower optim.lr, a warm-up "
            "(schedule.warmup_epochs=1) or trainer.max_grad_norm=1"
        )
