"""Replays: schedules compressed into few updates, when a gain counts, remedies that help and that do not."""

from __future__ import annotations

import dataclasses
import itertools
import math
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from cnntrain.cli import main
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.findings.confirm import start_of
from cnntrain.findings.finding import Finding
from cnntrain.findings.remedy import Judged, try_command
from cnntrain.findings.replay import Replay, Start, TooSlow, compressed, replay
from cnntrain.findings.run_record import read_record
from cnntrain.runs.run_folder import RunFolder
from cnntrain.settings.config_tree import Config
from cnntrain.training.training_step import TrainingStep

CHOICES = Choices()


def config_of(*overrides: str) -> Config:
    return configure(["model=linear", "trainer.threads=1", "data.limit=300", *overrides], CHOICES).config


SCHEDULES = [
    *(name for name in CHOICES.names("schedule") if name not in ("plateau", "custom")),
    "step schedule.milestones=[10,30]",
    "step schedule.every_epochs=5",
    "cosine schedule.warmup_epochs=8",
    "exponential schedule.rate=0.05",
    "inverse schedule.rate=0.3",
]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("updates", [100, 1000])
def test_a_schedule_has_the_same_shape_in_fewer_updates(schedule: str, updates: int) -> None:
    name, *settings = schedule.split()
    config = config_of(f"schedule={name}", *settings, "trainer.epochs=40")
    short = compressed(config, updates, steps_per_epoch=250)
    assert short.trainer.epochs == max(1, updates // 250)
    whole = config.schedule.build(250, 40)
    steps = min(250, short.trainer.max_steps_per_epoch or 250)
    assert steps * short.trainer.epochs == updates
    few = short.schedule.build(steps, short.trainer.epochs)
    stretch = 250 * 40 // updates
    for step in range(updates):
        # Between neighboring updates of the short run the schedule may have fallen by a step.
        near = [whole.factor(max(0, min(9999, stretch * (step + shift)))) for shift in (-1, 0, 1, 2)]
        assert min(near) - 0.02 <= few.factor(step) <= max(near) + 0.02, step


@pytest.mark.parametrize(
    ("without", "with_remedy", "gains"),
    [
        ([0.9, 0.9, 0.9], [0.1, 0.12, 0.08], True),
        ([0.50, 0.52, 0.48], [0.49, 0.53, 0.47], False),
        ([0.5, 0.5, 0.5], [0.499, 0.499, 0.499], False),  # certain, but of no use
        ([0.5, 0.5, 0.5], [0.1, 0.9, 0.3], False),
        ([0.1, 0.1, 0.1], [0.9, 0.9, 0.9], False),
        ([math.inf, 0.9, 0.9], [0.5, 0.5, 0.5], True),
        ([0.9, 0.9, 0.9], [0.1, math.inf, 0.1], False),
        ([0.9], [0.1], False),  # one seed tells nothing
    ],
)
def test_a_gain_is_more_than_the_noise_of_seeds(
    without: list[float], with_remedy: list[float], gains: bool
) -> None:
    assert Replay("accuracy", 100, without, with_remedy).gains is gains
    assert Replay("accuracy", 100, with_remedy, without).harms is gains


def run(overrides: list[str], changes: dict[str, Any], **limits: Any) -> Replay | None:
    config = config_of(*overrides)
    remedy = config
    for key, value in changes.items():
        group, name = key.split(".")
        remedy = dataclasses.replace(
            remedy, **{group: dataclasses.replace(getattr(remedy, group), **{name: value})}
        )
    settings = {"updates": 40, "seeds": 2, "seconds": 60.0} | limits
    return replay(config, remedy, **settings)


def test_a_remedy_that_helps_gains_and_the_same_settings_do_not() -> None:
    found = run(["optim.lr=1e-6", "trainer.epochs=40"], {"optim.lr": 0.1})
    assert found is not None
    assert found.gains
    assert found == run(["optim.lr=1e-6", "trainer.epochs=40"], {"optim.lr": 0.1})
    same = run(["optim.lr=0.1", "trainer.epochs=40"], {"optim.lr": 0.1})
    assert same is not None
    assert same.without == same.with_remedy
    assert not same.gains


def test_a_run_that_diverges_without_the_remedy_has_an_infinite_error() -> None:
    overrides = ["optim.lr=1e30", "trainer.max_grad_norm=null", "trainer.epochs=40", "trainer.precision=fp32"]
    found = run(overrides, {"optim.lr": 0.1})
    assert found is not None
    assert found.without == [math.inf, math.inf]
    assert found.gains


def test_a_smaller_batch_makes_more_updates_of_as_many_images(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(
        "cnntrain.findings.replay._error_after",
        lambda config, splits, steps, *_: seen.append((config.data.batch_size, steps)) or ("accuracy", 0.5),
    )
    found = run(["data.batch_size=120", "trainer.epochs=4"], {"data.batch_size": 8})
    assert found is not None
    # 240 images are 2 updates an epoch, of which the run has 8 in all.
    assert found.updates == 8
    assert seen == [(120, 8), (8, 120)] * 2
    seen.clear()
    run(["data.batch_size=60", "trainer.epochs=40"], {"data.batch_size": 1}, seeds=1)
    assert seen == [(60, 40), (1, 500)]  # not 2400, which would take too long


def test_a_replay_is_a_run_of_as_many_epochs_as_its_updates_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int | None]] = []

    def stop(config: Config, *arguments: Any) -> None:
        seen.append((config.trainer.epochs, config.trainer.max_steps_per_epoch))
        raise KeyboardInterrupt

    monkeypatch.setattr("cnntrain.findings.replay.build_parts", stop)
    for updates in (40, 3):  # of 240 images in batches of 60
        with pytest.raises(KeyboardInterrupt):
            run(["data.batch_size=60", "trainer.epochs=40"], {"optim.lr": 0.2}, updates=updates)
    assert seen == [(10, None), (1, 3)]


def test_without_validation_or_with_changing_optimizers_nothing_is_replayed() -> None:
    assert run(["data.val_fraction=0"], {"optim.lr": 0.2}) is None
    assert run(["optim=switch"], {"data.batch_size": 16}) is None


def test_a_replay_that_does_not_fit_its_time_ends_early_and_says_how_long_it_would_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = itertools.count()  # a second passes at each look at the clock, after each update
    monkeypatch.setattr("cnntrain.findings.replay.time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    with pytest.raises(TooSlow) as caught:
        run(["trainer.epochs=40"], {"optim.lr": 0.2}, seconds=100)
    assert caught.value.seconds == 2 * 2 * 40  # two seeds, without and with it, of 40 updates
    assert next(ticks) < 10
    found = run(["trainer.epochs=40"], {"optim.lr": 0.2}, seconds=200, seeds=3)
    assert found is not None
    assert len(found.without) == 2


@pytest.mark.parametrize(("trainings", "seeds"), [(4, 2), (5, 2), (6, 3), (3, None)])
def test_seeds_that_time_leaves_unfinished_do_not_count(
    trainings: int, seeds: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    def trained(*arguments: Any) -> tuple[str, float]:
        if len(done) == trainings:
            raise TooSlow(99)
        done.append(arguments)
        return "accuracy", 0.5

    monkeypatch.setattr("cnntrain.findings.replay._error_after", trained)
    if seeds is None:
        with pytest.raises(TooSlow):
            run(["trainer.epochs=2"], {"optim.lr": 0.2}, seeds=3)
    else:
        found = run(["trainer.epochs=2"], {"optim.lr": 0.2}, seeds=3)
        assert found is not None
        assert len(found.without) == len(found.with_remedy) == seeds


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a run of two epochs on digits, which has learned a little."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    quick = ["trainer.pictures=false", "trainer.report=false", "trainer.test=false", "trainer.precision=fp32"]
    settings = ["model=mlp", "trainer.threads=1", "trainer.epochs=2", "data.limit=300", "optim.lr=0.02"]
    assert main([*settings, *quick, f"hydra.run.dir={folder}"]) == 0
    return RunFolder(folder)


def test_to_train_on_is_compared_with_the_network_as_it_is(finished: RunFolder) -> None:
    record = read_record(finished, {})
    start = Start("the run's best network", finished.checkpoints.load_best())
    longer = dataclasses.replace(record.config, trainer=dataclasses.replace(record.config.trainer, epochs=6))
    found = replay(record.config, longer, 60, 2, 60.0, start)
    assert found is not None
    assert found.trains_on
    assert found.updates == 60
    assert found.without == pytest.approx([1 - max(record.val_accuracies)] * 2)
    assert found.gains


def test_from_a_checkpoint_all_seeds_have_its_weights_and_its_splits(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other splits, its network would be validated on images that it was trained on."""
    config = read_record(finished, {}).config
    state = finished.checkpoints.load_best()
    seen = []
    step = TrainingStep.run

    def watched(self: TrainingStep, number: int, images: Tensor, labels: Tensor, recording: bool) -> Any:
        if number == 0:
            seen.append(
                (self.seed, {name: w.clone() for name, w in self.network.state_dict().items()}, images)
            )
        return step(self, number, images, labels, recording)

    monkeypatch.setattr(TrainingStep, "run", watched)
    remedy = dataclasses.replace(config, optim=dataclasses.replace(config.optim, lr=0.1))
    splits = []
    load = type(config.data).load
    monkeypatch.setattr(type(config.data), "load", lambda self, seed: splits.append(seed) or load(self, seed))
    assert replay(config, remedy, 3, 2, 60.0, Start("checkpoint", state)) is not None
    assert [seed for seed, *_ in seen] == [0, 0, 1, 1]
    assert set(splits) == {0}
    for _, weights, _ in seen:
        assert all(torch.equal(weights[name], value) for name, value in state["network"].items())
    assert torch.equal(seen[0][2], seen[1][2])  # both of a seed have the same batches
    assert not torch.equal(seen[0][2], seen[2][2])


@pytest.mark.parametrize(
    ("changes", "learned", "from_checkpoint"),
    [
        ({"optim.lr": 0.01}, 0.6, True),
        ({"regularization.l2": 0.01}, 0.6, True),
        ({"regularization.dropout": 0.3}, 0.6, True),
        ({"augmentation": "none"}, 0.6, True),
        ({"schedule": "constant"}, 0.6, True),
        ({"optim.lr": 0.01}, 0.12, False),  # nothing was learned that could be kept
        ({"initialization": "he"}, 0.6, False),
        ({"model.hidden": [64]}, 0.6, False),
        ({"preprocessing": "none"}, 0.6, False),
    ],
)
def test_replays_go_on_from_the_best_network_where_the_remedy_can_be_applied_to_it(
    finished: RunFolder, changes: dict[str, Any], learned: float, from_checkpoint: bool
) -> None:
    evidence = {"train_accuracy": learned, "class_counts": [30] * 10}
    record = read_record(finished, evidence)
    finding = Finding("learning rate too high", "", {}, 1.0, changes)
    command = try_command(record.config, finding)
    assert command is not None
    remedy = configure(shlex.split(command)[1:], CHOICES).config
    state = finished.checkpoints.load_best()
    start = start_of(record, Judged(finding, command), remedy, state)
    assert (start.state is state) is from_checkpoint
    assert (start.name == "the initial weights") is not from_checkpoint
    assert start_of(record, Judged(finding, command), remedy, None).state is None


def test_the_state_of_the_process_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(["trainer.epochs=2"], {"optim.lr": 0.2})
    assert list(tmp_path.iterdir()) == []


def test_a_remedy_is_judged_by_the_metric_by_which_the_best_epoch_is_chosen() -> None:
    result = run(["trainer.best_by=loss", "optim.lr=1e-6"], {"optim.lr": 0.1})
    assert result is not None
    assert result.metric == "loss"
    assert min(result.without) > 2 > max(result.with_remedy)  # no accuracy has such an error
    assert result.gains
