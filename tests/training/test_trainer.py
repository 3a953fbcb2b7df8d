"""The training loop: what it records, saves and prints, where it stops, and how it continues."""

from __future__ import annotations

import copy
import functools
import io
import json
import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from tqdm import tqdm

from cnntrain.averaging.settings import Averaging, Ema, NoAverage
from cnntrain.data.batches import Batch, Batches
from cnntrain.data.image_set import MemoryImages
from cnntrain.data.share import WHOLE, Share
from cnntrain.errors import Diverged, Interrupted, Stopped
from cnntrain.loss.class_losses import Softmax
from cnntrain.metrics.accumulator import Metrics, Result
from cnntrain.metrics.class_metrics import ClassMetrics
from cnntrain.optim.optimizer_stages import OptimizerStages
from cnntrain.optim.settings import Sgd
from cnntrain.preprocessing.preprocess import Preprocess
from cnntrain.regularization.settings import Regularizers
from cnntrain.runs.checkpoint import Checkpoints, State, read
from cnntrain.runs.checkpoint_schema import TrainedState
from cnntrain.runs.metrics_file import Recorder
from cnntrain.runs.signals import StopSignals
from cnntrain.schedule.settings import Constant, Inverse, Plateau, Schedule
from cnntrain.training.device import Compute
from cnntrain.training.settings import Trainer as Settings
from cnntrain.training.stop_rule import StopRule
from cnntrain.training.trainer import Trainer
from cnntrain.training.training_step import TrainingStep
from cnntrain.training.weight_update import Update

CPU = Compute(torch.device("cpu"), "fp32", torch.contiguous_format, "")
BATCH, STEPS = 4, 3  # images of a batch, steps of an epoch


class Scaled(Preprocess):
    def values(self, images: torch.Tensor) -> torch.Tensor:
        return images.permute(0, 3, 1, 2) / 255


class Scripted(Softmax):
    """Softmax with given losses in training, errors, F1 and losses in validation, while there are any left.

    Of validations with given errors the loss is 1 where none is given.
    """

    def __init__(
        self, losses: list[float], errors: list[float], f1: list[float | None], val_losses: list[float]
    ):
        super().__init__(["a", "b"], None, 0.0)
        self.losses = iter(losses)
        self.errors = iter(errors)
        self.f1 = iter(f1)
        self.val_losses = iter(val_losses)
        self.val_loss: float | None = None

    def forward(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = super().forward(scores, labels)
        value = next(self.losses, None) if self.training else self.val_loss
        return loss if value is None else loss * 0 + value

    def metrics(self) -> Metrics:
        error = next(self.errors, None)
        self.val_loss = None if error is None else next(self.val_losses, 1.0)
        return super().metrics() if error is None else WithError(self.names, error, next(self.f1, None))


class WithError(ClassMetrics):
    def __init__(self, names: list[str], error: float, f1: float | None):
        super().__init__(names)
        self.error = error
        self.f1 = f1

    def result(self) -> Result:
        return Result({"accuracy": 1 - self.error, "macro_f1": self.f1}, {})


class Watched(Batches):
    """Batches that call a function before each of them, with the number of batches before it."""

    before: Callable[[int], object] = staticmethod(lambda number: None)
    number = 0

    def epoch(self, epoch: int, start: int, stop: int, share: Share = WHOLE) -> Iterator[Batch]:
        return self._watched(super().epoch(epoch, start, stop, share))

    def in_order(self, share: Share = WHOLE) -> Iterator[Batch]:
        return self._watched(super().in_order(share))

    def _watched(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self.before(self.number)
            self.number += 1
            yield batch


def before_each(batches: Batches | None, call: Callable[[int], object]) -> None:
    assert isinstance(batches, Watched)
    batches.before = call


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def move(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock that the program reads in place of its own."""
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


class Runs:
    """Builds trainers of tiny networks, in the folder of a test."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.recorders: list[Recorder] = []

    def new(
        self,
        folder: str = "run",
        state: State | None = None,
        validation: bool = True,
        losses: list[float] | None = None,
        errors: list[float] | None = None,
        f1: list[float | None] | None = None,
        val_losses: list[float] | None = None,
        averaging: Averaging | None = None,
        schedule: Schedule | None = None,
        lr: float = 0.5,
        **settings: Any,
    ) -> Trainer:
        """Return a trainer of 3 steps an epoch, continued from `state` if it is given."""
        path = self.folder / folder
        path.mkdir(exist_ok=True)
        options = Settings(
            **{"epochs": 2, "record_every_steps": 2, "checkpoint_every_minutes": None} | settings
        )
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
        images = torch.randint(0, 256, (20, 2, 2, 1), dtype=torch.uint8)
        labels = (images.flatten(1).float().mean(1) > 127).long()
        train = Watched(MemoryImages(images[:13], labels[:13]), BATCH, CPU.device, drop_last=True)
        val = Watched(MemoryImages(images[13:], labels[13:]), 5, CPU.device) if validation else None
        regularizers = Regularizers(l2=0.01)
        weights: list[Any] = list(network.parameters())
        stages = OptimizerStages(
            Sgd(lr=lr, momentum=0.5).stages(weights, False, STEPS, options.epochs),
            (schedule or Constant(warmup_epochs=0)).build(STEPS, options.epochs),
        )
        update = Update(network, stages, regularizers.build(network), None, CPU.device, False)
        step = TrainingStep(
            network,
            Scaled(None),
            Scripted(losses or [], errors or [], f1 or [], val_losses or []),
            update,
            (averaging or NoAverage()).build(weights, STEPS, options.epochs),
            regularizers,
            CPU,
            seed=0,
        )
        if state is not None:
            step.load(state, "last.pt")
        rows = 0 if state is None else state["progress"]["rows"]
        interval = options.recording_interval(STEPS * options.epochs)
        recorder = Recorder(path / "metrics.jsonl", rows, interval)
        self.recorders.append(recorder)
        trainer = Trainer(options, step, train, val, Checkpoints(path), recorder, DESCRIPTION)
        if state is not None:
            trainer.load(state)
        return trainer


DESCRIPTION = {"config": "", "names": ["a", "b"], "image_shape": [2, 2, 1], "precision": "fp32"}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    """Return a builder of trainers whose files are not flushed to disk, which would take most of the time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    made = Runs(tmp_path)
    yield made
    for recorder in made.recorders:
        recorder.close()


def rows(trainer: Trainer) -> list[dict[str, Any]]:
    text = (trainer.checkpoints.folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def epoch_rows(trainer: Trainer) -> list[dict[str, Any]]:
    return [row for row in rows(trainer) if "lr" not in row]


def last(trainer: Trainer) -> State:
    state, warning = trainer.checkpoints.load_last()
    assert warning is None
    return state


def assert_equal(one: State, other: State) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_a_run_equals_a_plain_loop_of_torch(runs: Runs) -> None:
    trainer = runs.new(record_every_steps=1)
    assert trainer.val_batches is not None
    network: Any = copy.deepcopy(trainer.network)
    trainer.train(StopSignals())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.5)
    cross_entropy, matrices = nn.functional.cross_entropy, [network[1].weight, network[3].weight]
    recorded = iter(rows(trainer))
    for epoch in range(2):
        network.train()
        sums = {"loss": 0.0, "data_loss": 0.0, "accuracy": 0.0}
        for number, (images, labels) in enumerate(trainer.train_batches.epoch(epoch, 0, STEPS), 1):
            optimizer.zero_grad()
            scores = network(images.permute(0, 3, 1, 2) / 255)
            data_loss = cross_entropy(scores, labels)
            loss = data_loss + 0.005 * sum(weight.square().sum() for weight in matrices)
            loss.backward()
            norm = torch.nn.utils.get_total_norm(weight.grad for weight in network.parameters())
            optimizer.step()
            sums["loss"] += loss.item() / STEPS
            sums["data_loss"] += data_loss.item() / STEPS
            sums["accuracy"] += (scores.argmax(1) == labels).float().mean().item() / STEPS
            row = next(recorded)
            assert row["step"] == epoch * STEPS + number
            assert row["epoch"] == pytest.approx(epoch + number / STEPS)
            assert (row["lr"], row["momentum"]) == (0.5, 0.5)
            assert row["train/loss"] == pytest.approx(loss.item(), rel=1e-4)
            assert row["train/accuracy"] == pytest.approx(sums["accuracy"] * STEPS / number)
            assert row["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)
        network.eval()
        images, labels = map(torch.cat, zip(*trainer.val_batches.in_order(), strict=True))
        scores = network(images.permute(0, 3, 1, 2) / 255)
        accuracy = (scores.argmax(1) == labels).float().mean().item()
        row = next(recorded)
        assert (row["step"], row["epoch"]) == (STEPS * (epoch + 1), epoch + 1)
        assert [row[f"train/{name}"] for name in sums] == pytest.approx(list(sums.values()), rel=1e-4)
        assert row["val/loss"] == pytest.approx(cross_entropy(scores, labels).item(), rel=1e-4)
        assert row["val/accuracy"] == pytest.approx(accuracy)
    assert next(recorded, None) is None
    for name, tensor in network.state_dict().items():
        assert torch.allclose(last(trainer)["network"][name], tensor, rtol=1e-4, atol=1e-6), name


def test_rates_and_times_count_training_without_building_and_validation(runs: Runs, clock: Clock) -> None:
    trainer = runs.new(epochs=3)
    before_each(trainer.train_batches, lambda number: clock.move(8))
    before_each(trainer.val_batches, lambda number: clock.move(100))
    clock.move(500)
    trainer.train(StopSignals())
    assert {row["images_per_second"] for row in rows(trainer)} == {BATCH / 8}
    # The clock moves while batches are made, and at no other time.
    assert [row["data_wait"] for row in epoch_rows(trainer)] == [1.0] * 3
    progress = last(trainer)["progress"]
    assert progress["training_seconds"] == 9 * 8
    assert progress["wall_seconds"] == 9 * 8 + 3 * 2 * 100  # two batches of a validation split of 7 images


def test_the_time_limit_saves_after_the_step_in_which_it_passes(runs: Runs, clock: Clock) -> None:
    trainer = runs.new(max_minutes=2)
    before_each(trainer.train_batches, lambda number: clock.move(31))
    clock.move(500)
    with pytest.raises(Interrupted, match=r"stopped after trainer\.max_minutes=2") as caught:
        trainer.train(StopSignals())
    assert caught.value.exit_code == 0
    progress = last(trainer)["progress"]
    assert (progress["step"], progress["step_in_epoch"], progress["wall_seconds"]) == (4, 1, 4 * 31)


def test_a_signal_is_raised_after_its_step_is_made_and_saved(runs: Runs) -> None:
    trainer, reference = runs.new(), runs.new("reference", max_steps_per_epoch=2, epochs=1)

    def stop(number: int) -> None:
        if number == 1:
            signal.raise_signal(signal.SIGTERM)

    before_each(trainer.train_batches, stop)
    with StopSignals().caught() as signals, pytest.raises(Interrupted, match="SIGTERM") as caught:
        trainer.train(signals)
    assert caught.value.exit_code == 128 + signal.SIGTERM
    reference.train(StopSignals())
    state = last(trainer)
    assert (state["progress"]["step"], state["progress"]["epoch"]) == (2, 0)
    assert_equal(state["network"], last(reference)["network"])
    assert epoch_rows(trainer) == []


@pytest.mark.parametrize(
    ("stop_after", "averaging"), [(1, Ema(decay=0.5)), (3, NoAverage()), (5, Ema(decay=0.5))]
)
def test_a_stopped_run_continues_as_if_it_had_not_been_stopped(
    runs: Runs, stop_after: int, averaging: Averaging
) -> None:
    plateau = Plateau(warmup_epochs=0.5, patience_epochs=1)
    new = functools.partial(runs.new, averaging=averaging, schedule=plateau)
    uninterrupted, first = new("whole"), new("parts")
    uninterrupted.train(StopSignals())
    signals = StopSignals()

    def stop(number: int) -> None:
        if number + 1 == stop_after:
            signals.received = Interrupted("stop", 130)

    before_each(first.train_batches, stop)
    with pytest.raises(Interrupted, match="stop"):
        first.train(signals)
    first.recorder.record({"step": "of a process that was killed before its next checkpoint"})
    second = new("parts", last(first))
    second.train(StopSignals())

    def without_times(values: dict[str, Any]) -> dict[str, Any]:
        times = ("images_per_second", "data_wait", "wall_seconds", "training_seconds")
        return {key: value for key, value in values.items() if key not in times}

    assert list(map(without_times, rows(second))) == list(map(without_times, rows(uninterrupted)))
    mine, other = last(second), last(uninterrupted)
    assert without_times(mine["progress"]) == without_times(other["progress"])
    assert_equal(mine["network"], other["network"])
    assert (mine["average"] is None) == (averaging.name == "none")
    best = [trainer.checkpoints.load_best()["network"] for trainer in (second, uninterrupted)]
    assert_equal(*best)


@pytest.mark.parametrize(
    ("errors", "patience", "epochs", "stars"),
    [
        ([0.5, 0.4, 0.4, 0.3, 0.3, 0.35, 0.2], 2, 6, "**.*.."),
        ([0.5, 0.4, 0.4, 0.3, 0.3, 0.35, 0.2], 1, 3, "**."),
        ([0.5, 0.4, 0.4, 0.3, 0.3, 0.35, 0.2], None, 7, "**.*..*"),
        ([0.5, 0.5, 0.5, 0.4, 0.3, 0.35, 0.2], 3, 7, "*..**.*"),
    ],
)
def test_training_stops_after_the_given_epochs_without_a_lower_error(
    runs: Runs,
    capsys: pytest.CaptureFixture[str],
    errors: list[float],
    patience: int | None,
    epochs: int,
    stars: str,
) -> None:
    trainer = runs.new(errors=errors, epochs=7, early_stopping_epochs=patience, max_steps_per_epoch=1)
    trainer.train(StopSignals())
    assert [row["val/accuracy"] for row in epoch_rows(trainer)] == [1 - error for error in errors[:epochs]]
    progress = last(trainer)["progress"]
    assert progress["epoch"] == epochs
    assert progress["stopped_early"] == (epochs < 7)
    assert progress["best_error"] == pytest.approx(min(errors[:epochs]))
    assert progress["best_epoch"] == 1 + stars.rindex("*")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert "".join("*" if line.endswith("*") else "." for line in lines) == stars


def test_the_best_checkpoint_has_the_weights_of_the_epoch_with_the_lowest_error(runs: Runs) -> None:
    trainer = runs.new(errors=[0.3, 0.2, 0.4, 0.2], epochs=4, max_steps_per_epoch=2)
    trainer.train(StopSignals())
    shorter = runs.new("shorter", errors=[0.3, 0.2], epochs=2, max_steps_per_epoch=2)
    shorter.train(StopSignals())
    best = trainer.checkpoints.load_best()
    assert_equal(best["network"], last(shorter)["network"])
    assert {name: best[name] for name in DESCRIPTION} == DESCRIPTION
    assert last(trainer)["progress"]["best_values"]["val/accuracy"] == 0.8


def test_of_equal_epochs_the_one_of_the_lowest_loss_is_the_best_and_then_the_earliest(runs: Runs) -> None:
    errors, losses = [0.3, 0.1, 0.1, 0.1, 0.1, 0.2], [0.1, 0.9, 0.7, 0.8, 0.7, 0.1]
    trainer = runs.new(errors=errors, val_losses=losses, epochs=6, max_steps_per_epoch=1)
    trainer.train(StopSignals())
    assert last(trainer)["progress"]["best_epoch"] == 3
    assert last(trainer)["progress"]["best_values"]["val/loss"] == pytest.approx(0.7)
    # The lower loss counts as progress for early stopping, and a continued run knows the loss to beat.
    patient = functools.partial(runs.new, "patient", epochs=6, max_steps_per_epoch=1, early_stopping_epochs=2)
    stopped = patient(errors=errors[:3], val_losses=losses[:3], epochs=3)
    stopped.train(StopSignals())
    continued = patient(state=last(stopped), errors=errors[3:], val_losses=losses[3:])
    continued.train(StopSignals())
    progress = last(continued)["progress"]
    assert (progress["best_epoch"], progress["epoch"]) == (3, 5)


@pytest.mark.parametrize(("loss", "best_epoch"), [({"val/loss": math.nan}, 2), ({}, 1)])
def test_an_unknown_loss_of_the_best_epoch_is_beaten_by_none_and_nan_by_any(
    runs: Runs, loss: dict[str, float], best_epoch: int
) -> None:
    new = functools.partial(runs.new, max_steps_per_epoch=1)
    trainer = new(errors=[0.1], epochs=1)
    trainer.train(StopSignals())
    state = last(trainer)
    state["progress"]["best_values"] = {"val/accuracy": 0.9} | loss
    continued = new(state=state, errors=[0.1], epochs=2)
    continued.train(StopSignals())
    assert last(continued)["progress"]["best_epoch"] == best_epoch


def test_best_epoch_early_stopping_and_plateau_go_by_the_chosen_metric(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = [0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.0]
    f1 = [None, 0.2, 0.6, 0.6, math.nan, 0.5, 0.9]
    plateau = Plateau(warmup_epochs=0, factor=0.5, patience_epochs=1)
    trainer = runs.new(
        errors=errors, f1=f1, epochs=7, schedule=plateau, best_by="macro_f1", early_stopping_epochs=3
    )
    trainer.train(StopSignals())
    progress = last(trainer)["progress"]
    assert (progress["epoch"], progress["best_epoch"], progress["best_error"]) == (6, 3, 0.4)
    assert progress["best_values"]["val/macro_f1"] == 0.6
    assert last(trainer)["update"]["schedule"]["level"] == 0.5**4  # after epochs 1, 4, 5 and 6
    assert [row["val/macro_f1"] for row in epoch_rows(trainer)] == [None, 0.2, 0.6, 0.6, None, 0.5]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    marks = [line.rpartition("*")[2] if "*" in line else "" for line in lines]
    assert marks == [" by macro F1", " by macro F1", " by macro F1", "", "", ""]
    assert "accuracy 70.00%, macro F1 60.00% *" in lines[2]


def test_the_lowest_validation_loss_is_the_best(runs: Runs) -> None:
    trainer = runs.new(epochs=6, best_by="loss", lr=1.2)
    trainer.train(StopSignals())
    losses = [row["val/loss"] for row in epoch_rows(trainer)]
    assert last(trainer)["progress"]["best_error"] == min(losses) < losses[-1]
    assert last(trainer)["progress"]["best_epoch"] == losses.index(min(losses)) + 1


@pytest.mark.parametrize(("patience", "epochs"), [(2, 3), (3, 4), (None, 6)])
def test_a_run_that_stopped_early_continues_with_more_patience(
    runs: Runs, patience: int | None, epochs: int
) -> None:
    new = functools.partial(runs.new, epochs=6, max_steps_per_epoch=1)
    trainer = new(errors=[0.1, 0.2, 0.2], early_stopping_epochs=2)
    trainer.train(StopSignals())
    continued = new(state=last(trainer), errors=[0.3] * 3, early_stopping_epochs=patience)
    continued.train(StopSignals())
    assert last(continued)["progress"]["epoch"] == epochs
    assert [row["epoch"] for row in epoch_rows(continued)] == list(range(1, epochs + 1))


def test_without_a_validation_split_the_newest_weights_are_the_best(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = runs.new(validation=False)
    trainer.train(StopSignals())
    assert not any(key.startswith("val") for row in rows(trainer) for key in row)
    state = last(trainer)
    assert (state["progress"]["best_epoch"], state["progress"]["best_error"]) == (2, None)
    assert_equal(trainer.checkpoints.load_best()["network"], state["network"])
    assert "val" not in capsys.readouterr().out


def test_the_validation_error_of_each_epoch_lowers_the_rate_of_a_plateau(runs: Runs) -> None:
    plateau = Plateau(warmup_epochs=0, factor=0.5, patience_epochs=1)
    errors = [0.5, 0.4, 0.4, 0.3, 0.3]
    trainer = runs.new(errors=errors, epochs=5, schedule=plateau, record_every_steps=STEPS)
    trainer.train(StopSignals())
    rates = [row["lr"] for row in rows(trainer) if "lr" in row and row["step"] % STEPS == 0]
    assert rates == [0.5, 0.5, 0.5, 0.25, 0.25]
    assert last(trainer)["update"]["schedule"]["level"] == 0.25


@pytest.mark.parametrize(("limit", "steps"), [(None, 3), (1, 1), (2, 2), (3, 3), (10, 3)])
def test_an_epoch_has_at_most_the_full_batches_of_its_split(
    runs: Runs, limit: int | None, steps: int
) -> None:
    trainer = runs.new(max_steps_per_epoch=limit)
    trainer.train(StopSignals())
    assert [row["step"] for row in epoch_rows(trainer)] == [steps, 2 * steps]
    assert last(trainer)["progress"]["images"] == 2 * steps * BATCH


def test_weights_are_kept_after_every_given_number_of_epochs(runs: Runs) -> None:
    trainer = runs.new(epochs=5, keep_epochs=2, max_steps_per_epoch=1)
    trainer.train(StopSignals())
    kept = sorted(trainer.checkpoints.folder.glob("epoch-*"))
    assert [path.name for path in kept] == ["epoch-0002.pt", "epoch-0004.pt"]
    for path, epochs in zip(kept, (2, 4), strict=True):
        shorter = runs.new(f"{epochs} epochs", epochs=epochs, max_steps_per_epoch=1)
        shorter.train(StopSignals())
        assert_equal(read(path, TrainedState)["network"], last(shorter)["network"])
        assert list(shorter.checkpoints.folder.glob("epoch-*")) == []


def test_an_average_is_validated_with_the_batch_norm_statistics_of_its_weights(runs: Runs) -> None:
    trainer = runs.new(averaging=Ema(decay=0.5), epochs=1, max_steps_per_epoch=1)
    average: Any = copy.deepcopy(trainer.network)
    trainer.train(StopSignals())
    with torch.no_grad():
        for mean, weight in zip(average.parameters(), trainer.network.parameters(), strict=True):
            mean.lerp_(weight, 9 / 11)  # the decay is at most (1 + t)/(10 + t) after t steps
    average[2].reset_running_stats()
    average[2].momentum = None
    ((images, _),) = trainer.train_batches.epoch(0, 0, 1)
    average.train()(images.permute(0, 3, 1, 2) / 255)
    assert trainer.val_batches is not None
    images, labels = map(torch.cat, zip(*trainer.val_batches.in_order(), strict=True))
    scores = average.eval()(images.permute(0, 3, 1, 2) / 255)
    (row,) = epoch_rows(trainer)
    loss = nn.functional.cross_entropy(scores, labels).item()
    assert row["val_average/loss"] == pytest.approx(loss, rel=1e-4)
    assert row["val_average/loss"] != pytest.approx(row["val/loss"], rel=1e-4)
    accuracy = (scores.argmax(1) == labels).float().mean().item()
    assert row["val_average/accuracy"] == pytest.approx(accuracy)


def test_an_average_without_a_validation_split_is_the_best_and_has_no_values(runs: Runs) -> None:
    trainer = runs.new(validation=False, averaging=Ema(decay=0.5), epochs=1)
    trainer.train(StopSignals())
    assert not any(key.startswith("val") for row in rows(trainer) for key in row)
    state = last(trainer)
    assert state["progress"]["best_weights"] == "average"
    best = trainer.checkpoints.load_best()["network"]
    for name, mean in zip(("1.weight", "1.bias"), state["average"]["average"][:2], strict=True):
        assert torch.equal(best[name], mean)


def test_rows_have_the_learning_rate_and_the_momentum_of_their_update(runs: Runs) -> None:
    trainer = runs.new(record_every_steps=1, epochs=3)
    weights: list[Any] = list(trainer.network.parameters())
    sgd = Sgd(lr=0.5, momentum=0.3, final_momentum=0.9, momentum_epochs=2)
    trainer.step.update.optimizers = OptimizerStages(
        sgd.stages(weights, False, STEPS, 3), Inverse(warmup_epochs=1, rate=6).build(STEPS, 3)
    )
    trainer.train(StopSignals())
    steps = [row for row in rows(trainer) if "lr" in row]
    # A warm-up over 3 steps; then 1/(1 + 2t) for 6 steps, as 6 per epoch is 2 per step of 3.
    factors = [1 / 3, 2 / 3, 1, 1, 1 / 3, 1 / 5, 1 / 7, 1 / 9, 1 / 11]
    assert [row["lr"] for row in steps] == pytest.approx([0.5 * factor for factor in factors])
    momenta = [0.3, 0.42, 0.54, 0.66, 0.78, 0.9, 0.9, 0.9, 0.9]
    assert [row["momentum"] for row in steps] == pytest.approx(momenta)


@pytest.mark.parametrize("fp16", [True, False])
def test_skipped_updates_are_counted_in_rows_of_fp16_alone(runs: Runs, fp16: bool) -> None:
    trainer = runs.new(record_every_steps=1, epochs=1)
    network: Any = trainer.network
    update = trainer.step.update
    trainer.step.update = Update(network, update.optimizers, update.regularization, None, CPU.device, fp16)
    factors = iter([1.0, math.inf if fp16 else 1.0, 1.0])
    network[1].weight.register_hook(lambda gradient: gradient * next(factors))
    trainer.train(StopSignals())
    steps = [row for row in rows(trainer) if "lr" in row]
    counts = [row.get("skipped_steps", "absent") for row in steps]
    assert counts == ([0, 1, 1] if fp16 else ["absent"] * STEPS)


def test_an_infinite_loss_whose_update_fp16_skipped_does_not_end_the_run(runs: Runs) -> None:
    trainer = runs.new(record_every_steps=1, epochs=1)
    network: Any = trainer.network
    update = trainer.step.update
    trainer.step.update = Update(network, update.optimizers, update.regularization, None, CPU.device, True)
    factors = iter([1.0, 1.0, math.inf])
    network.register_forward_hook(
        lambda module, inputs, outputs: outputs * next(factors) if module.training else outputs
    )
    trainer.train(StopSignals())
    steps = [row for row in rows(trainer) if "lr" in row]
    assert [row["skipped_steps"] for row in steps] == [0, 0, 1]
    assert steps[-1]["train/loss"] is None


def test_batch_norms_are_trained_in_every_epoch(runs: Runs) -> None:
    trainer = runs.new(epochs=3)
    trainer.train(StopSignals())
    assert last(trainer)["network"]["2.num_batches_tracked"] == 3 * STEPS


@pytest.mark.parametrize(("every", "saved"), [(None, [0, 0, 0, 3, 3, 3]), (2, [0, 0, 2, 3, 4, 4])])
def test_checkpoints_are_written_at_the_start_at_intervals_and_after_epochs(
    runs: Runs, every: int | None, saved: list[int]
) -> None:
    trainer = runs.new(checkpoint_every_steps=every)
    found = []
    before_each(trainer.train_batches, lambda number: found.append(last(trainer)["progress"]["step"]))
    trainer.train(StopSignals())
    assert found == saved
    assert last(trainer)["progress"]["step"] == 6


def test_a_checkpoint_counts_the_rows_on_disk(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = runs.new(record_every_steps=1, checkpoint_every_steps=2)
    metrics = trainer.checkpoints.folder / "metrics.jsonl"
    on_disk = [0]

    def watched(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == metrics.stat().st_ino:
            on_disk.append(len(rows(trainer)))

    monkeypatch.setattr(os, "fsync", watched)
    compared = []

    def compare(number: int) -> None:
        compared.append((last(trainer)["progress"]["rows"], on_disk[-1]))

    before_each(trainer.train_batches, compare)
    trainer.train(StopSignals())
    assert compared == [(count, count) for count in (0, 0, 2, 4, 5, 5)]
    assert last(trainer)["progress"]["rows"] == on_disk[-1] == len(rows(trainer)) == 8


def test_a_first_loss_that_is_not_finite_is_no_fault_of_the_learning_rate(runs: Runs) -> None:
    with pytest.raises(Diverged) as caught:
        runs.new(losses=[math.inf], lr=0.25).train(StopSignals())
    assert "of the initial network is not finite (loss inf" in str(caught.value)
    assert "optim.lr" not in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_non_finite_loss_stops_the_run_with_the_weights_before_it(runs: Runs, value: float) -> None:
    trainer = runs.new(losses=[0.7, 0.6, 0.5, 0.4, value], lr=0.25)
    found = {}
    before_each(
        trainer.train_batches, lambda number: found.update(copy.deepcopy(trainer.network.state_dict()))
    )
    with pytest.raises(Diverged) as caught:
        trainer.train(StopSignals())
    message = str(caught.value)
    assert f"not finite at step 5 (epoch 1.33, lr 0.25, loss {value:g}, gradient norm" in message
    assert f"Last good checkpoint: {trainer.checkpoints.folder / 'last.pt'}." in message
    assert last(trainer)["progress"]["step"] == STEPS
    for name, weight in trainer.network.named_parameters():
        assert torch.equal(weight, found[name])


@pytest.mark.parametrize(
    ("given", "steps", "interval"),
    [
        *(
            (None, 10, 1),
            (None, 119, 1),
            (None, 120, 2),
            (None, 2999, 49),
            (None, 3000, 50),
            (None, 10**6, 50),
        ),
        *((7, 10, 7), (50, 10, 50), (1, 10**6, 1)),
    ],
)
def test_a_short_run_is_recorded_more_often_unless_it_is_told_how_often(
    given: int | None, steps: int, interval: int
) -> None:
    assert Settings(record_every_steps=given).recording_interval(steps) == interval


@pytest.mark.parametrize(
    ("settings", "recorded", "saved"),
    [
        ({"record_every_steps": 3}, [1], 0),
        ({"record_every_steps": 100}, [1], 0),
        ({"record_every_steps": 100, "checkpoint_every_steps": 1}, [1], 1),
    ],
    ids=["record", "epoch", "checkpoint"],
)
def test_an_update_skipped_on_the_device_is_neither_recorded_nor_saved(
    runs: Runs, settings: dict[str, Any], recorded: list[int], saved: int
) -> None:
    trainer = runs.new(losses=[0.7, math.nan], **settings)
    trainer.step.update.skipped.on_device = True  # as on CUDA
    with pytest.raises(Diverged, match=r"at step 2 \(epoch 0.33, .*no update was made"):
        trainer.train(StopSignals())
    assert [row["step"] for row in rows(trainer)] == recorded
    assert last(trainer)["progress"]["step"] == saved


@pytest.mark.parametrize(
    ("first", "final", "diverges"),
    [(2.0, 200.0, False), (2.0, 200.5, True), (0.25, 100.0, False), (0.25, 100.5, True)],
)
def test_a_run_whose_loss_has_grown_a_hundredfold_has_diverged(
    runs: Runs, first: float, final: float, diverges: bool
) -> None:
    losses = [first, first / 2, first / 2] + [final] * STEPS
    trainer = runs.new(losses=losses, lr=1e-6)
    trainer.step.regularization = Regularizers()
    trainer.step.update.regularization = Regularizers().build(trainer.network)
    if diverges:
        numbers = f"last epoch is {final:.3g}, that of the first step was {first:.3g}. Try a lower optim.lr"
        with pytest.raises(Diverged, match=re.escape(numbers)):
            trainer.train(StopSignals())
    else:
        trainer.train(StopSignals())
    progress = last(trainer)["progress"]
    assert (progress["epoch"], progress["first_loss"]) == (2, first)


@pytest.mark.parametrize(
    ("losses", "rule", "epochs", "message"),
    [
        ([2.0, 2.5, 1.95, 0.1], StopRule(hopeless=True), 3, r"hopeless after epoch 3: .* 2 .* 1\.95 "),
        ([2.0, 1.9, *[2.5] * 7], StopRule(hopeless=True), 9, None),
        ([2.0] * 9, StopRule(), 9, None),
        ([2.0] * 9, StopRule(epochs=5), 5, "paused after epoch 5 of 9"),
    ],
)
def test_a_job_of_a_search_ends_after_its_stage_or_where_its_loss_has_not_fallen(
    runs: Runs, losses: list[float], rule: StopRule, epochs: int, message: str | None
) -> None:
    trainer = runs.new(losses=losses, epochs=9, max_steps_per_epoch=1, lr=1e-6, validation=False)
    trainer.step.regularization = Regularizers()
    trainer.step.update.regularization = Regularizers().build(trainer.network)
    if message is None:
        trainer.train(StopSignals(), rule)
    else:
        with pytest.raises(Stopped, match=message):
            trainer.train(StopSignals(), rule)
    progress = last(trainer)["progress"]
    assert (progress["epoch"], progress["lowest_loss"]) == (epochs, pytest.approx(min(losses[:epochs])))


@pytest.mark.parametrize("first_loss", [None, 0.5])
def test_a_run_is_not_diverged_where_first_or_last_loss_is_unknown(
    runs: Runs, first_loss: float | None
) -> None:
    trainer = runs.new()
    trainer.train(StopSignals())
    state = last(trainer)
    state["progress"]["first_loss"] = first_loss
    finished = runs.new(state=state)
    finished.train(StopSignals())
    assert last(finished)["progress"]["step"] == 2 * STEPS
    longer = runs.new(state=state, epochs=3, losses=[30.0] * STEPS)
    longer.train(StopSignals())
    assert last(longer)["progress"]["step"] == 3 * STEPS


def test_a_terminal_shows_steps_loss_and_metric(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(tqdm, "__init__", functools.partialmethod(tqdm.__init__, mininterval=0))
    trainer = runs.new(record_every_steps=1)
    trainer.train(StopSignals())
    shown = terminal.getvalue()
    for epoch in (1, 2):
        for step in range(STEPS + 1):
            assert re.search(rf"epoch {epoch}/2: .* {step}/{STEPS} ", shown), (epoch, step)
    assert re.search(r"loss \d\.\d{3}, accuracy \d+\.\d\d%", shown)
