"""A run that is killed, interrupted or stopped resumes bit-identically to an uninterrupted run."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cnntrain.cli import main
from cnntrain.config.choice_files import Choices
from cnntrain.training import precision

MakeOnce = Callable[[str, Callable[[Path], None]], Path]
# All components with state: momentum, dropout, augmentation, plateau, early stopping, batch norm.
STATEFUL = [
    "trainer.report=false",
    "schedule=plateau",
    "schedule.patience_epochs=1",
    "schedule.warmup_epochs=0.3",
    "trainer.early_stopping_epochs=5",
    "regularization.dropout=0.3",
    "trainer.record_every_steps=3",
    "trainer.checkpoint_every_steps=7",
    "trainer.epochs=8",
    "data.batch_size=32",
    "optim.lr=0.03",
]


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of metrics.jsonl without its times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    times = ("images_per_second", "data_wait")
    return [{key: value for key, value in line.items() if key not in times} for line in lines]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    loaded = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["network"]
    assert isinstance(loaded, dict)
    return loaded


def assert_same_run(one: Path, other: Path) -> None:
    assert rows(one) == rows(other)
    assert (one / "histograms.jsonl").read_bytes() == (other / "histograms.jsonl").read_bytes()
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (one, other)]
    for summary in summaries:
        del summary["wall_seconds"], summary["images_per_second"], summary["peak_memory_gb"]
    assert summaries[0] == summaries[1]


CHOICES = Choices()
# Colour images and residual blocks, so that every option fits.
SMALL = [
    *("data=synthetic", "data.image_size=16", "data.train_images=100", "data.test_images=20"),
    *("model=resnet20", "model.width=0.125", "trainer.epochs=3", "trainer.max_steps_per_epoch=2"),
    *("trainer.record_every_steps=1", "trainer.pictures=false", "trainer.early_stopping_epochs=2"),
]


def grid() -> list[list[str]]:
    """Return combinations that contain every option of the groups with state or random numbers."""
    groups = ("optim", "schedule", "averaging", "augmentation", "regularization")
    names = {group: [name for name in CHOICES.names(group) if name != "custom"] for group in groups}
    preprocessings = CHOICES.names("preprocessing")
    cases = []
    for number in range(max(len(options) for options in names.values())):
        chosen = {group: options[number % len(options)] for group, options in names.items()}
        overrides = [f"{group}={name}" for group, name in chosen.items()]
        overrides.append(f"data.batch_size={90 if chosen['optim'] == 'lbfgs' else 20}")
        if chosen["optim"] in ("sgd", "nesterov"):
            overrides.append("optim.final_momentum=0.95")
        if chosen["averaging"] == "swa":
            overrides.append("averaging.start=0")  # so that there is an average when the run is stopped
        if number % 2:
            overrides.append("loss.balanced=true")
        preprocessing = preprocessings[number % len(preprocessings)]
        if chosen["augmentation"] == "imagenet":
            overrides.append("augmentation.crop_size=14")
        else:
            overrides.append(f"preprocessing={preprocessing}")
            if preprocessing == "pretrained":
                overrides += ["preprocessing.mean=[0.4,0.5,0.6]", "preprocessing.std=[0.2,0.2,0.3]"]
        cases.append(overrides)
    return cases


def stop_after_rows(process: Any, folder: Path, count: int, signal_number: int) -> int:
    """Send a signal once metrics.jsonl has `count` rows; return the exit code."""
    metrics = folder / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < count:
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < deadline, "the run was too slow to reach the row"
        time.sleep(0.001)
    os.kill(process.pid, signal_number)
    return process.wait(60)


@pytest.fixture(scope="session")
def uninterrupted(make_once: MakeOnce) -> Path:
    def train(folder: Path) -> None:
        assert main([f"hydra.run.dir={folder}", *STATEFUL]) == 0

    return make_once("uninterrupted", train)


def test_a_run_killed_several_times_equals_an_uninterrupted_one(
    uninterrupted: Path, tmp_path: Path, start_program: Callable[..., Any]
) -> None:
    folder = tmp_path / "run"
    process = start_program(f"hydra.run.dir={folder}", *STATEFUL)
    for count in (17, 44, 91):
        assert stop_after_rows(process, folder, count, signal.SIGKILL) == -signal.SIGKILL
        process = start_program(f"run={folder}")
    assert process.wait(120) == 0
    assert_same_run(uninterrupted, folder)


@pytest.mark.parametrize(("signal_number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_current_step_and_the_run_resumes(
    uninterrupted: Path,
    tmp_path: Path,
    start_program: Callable[..., Any],
    signal_number: int,
    exit_code: int,
) -> None:
    folder = tmp_path / "run"
    # Within the epoch, only the signal causes a checkpoint.
    overrides = [override for override in STATEFUL if "checkpoint_every_steps" not in override]
    process = start_program(f"hydra.run.dir={folder}", *overrides)
    assert stop_after_rows(process, folder, 33, signal_number) == exit_code
    step = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["progress"]["step"]
    assert step >= rows(folder)[-1]["step"]
    assert json.loads((folder / "summary.json").read_text())["status"] == "interrupted"
    assert main([f"run={folder}"]) == 0
    assert rows(folder) == rows(uninterrupted)


def test_a_run_stopped_by_max_minutes_resumes(uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert main([f"hydra.run.dir={folder}", *STATEFUL, "trainer.max_minutes=0.0001"]) == 0
    assert json.loads((folder / "summary.json").read_text())["status"] == "interrupted"
    assert main([f"run={folder}", "trainer.max_minutes=null"]) == 0
    assert_same_run(uninterrupted, folder)


def test_a_finished_run_is_reported_and_continues_with_more_epochs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short, long = tmp_path / "short", tmp_path / "long"
    overrides = ["schedule=constant", "trainer.record_every_steps=5"]
    assert main([f"hydra.run.dir={short}", "trainer.epochs=1", *overrides]) == 0
    before = (short / "checkpoints" / "last.pt").read_bytes()
    capsys.readouterr()
    assert main([f"run={short}"]) == 0
    assert "finished" in capsys.readouterr().out
    assert (short / "checkpoints" / "last.pt").read_bytes() == before
    assert main([f"run={short}", "trainer.epochs=3"]) == 0
    assert main([f"hydra.run.dir={long}", "trainer.epochs=3", *overrides]) == 0
    assert_same_run(short, long)


def test_a_finished_run_says_how_it_ended_and_its_command_trains_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["model=linear", "optim.lr=3", "data.limit=100", "trainer.early_stopping_epochs=1"]
    for folder, epochs, stopped in (
        (tmp_path / "stopped; early", 30, True),
        (tmp_path / "patient", 1, False),
    ):
        assert main([f"hydra.run.dir={folder}", f"trainer.epochs={epochs}", *overrides]) == 0
        trained = len([row for row in rows(folder) if "lr" not in row])
        assert (trained < epochs) is stopped
        capsys.readouterr()
        assert main([f"run={folder}"]) == 0
        message = capsys.readouterr().out
        assert ("stopped early" in message) is stopped
        _, _, command = message.partition("to train longer: ")
        assert main(shlex.split(command)[1:]) == 0
        assert len([row for row in rows(folder) if "lr" not in row]) > trained


def test_epochs_given_as_2_point_0_are_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main([f"hydra.run.dir={run}", *SMALL, "trainer.epochs=2.0"]) == 0
    assert main([f"run={run}", "trainer.epochs=3.0"]) == 0
    printed = capsys.readouterr().out
    assert "epoch   2/2 " in printed
    assert "epoch   3/3 " in printed
    assert "epochs: 3\n" in (run / "config.yaml").read_text()


def test_a_run_keeps_its_precision_where_another_is_faster_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, run, other = (tmp_path / name for name in ("whole", "run", "other"))
    monkeypatch.setattr(precision, "bf16_unit", lambda device: "AVX512-BF16")
    monkeypatch.setattr(precision, "bf16_speedup", lambda: 2.0)
    assert main([f"hydra.run.dir={whole}", *SMALL]) == 0
    assert main([f"hydra.run.dir={run}", *SMALL, "trainer.max_minutes=1e-9"]) == 0
    monkeypatch.setattr(precision, "bf16_speedup", lambda: 0.5)
    assert main([f"run={run}", "trainer.max_minutes=null"]) == 0
    assert_same_run(whole, run)
    assert main([f"hydra.run.dir={other}", *SMALL]) == 0
    assert rows(other) != rows(run)


def test_overrides_that_would_change_a_resumed_run_are_refused_with_both_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert main([f"hydra.run.dir={folder}", "trainer.epochs=2", "trainer.max_minutes=0.00001"]) == 0
    capsys.readouterr()
    overrides = ["optim.lr=0.7", "model=lenet5", "data.batch_size=17", "trainer.epochs=1", "seed=4"]
    assert main([f"run={folder}", *overrides]) == 2
    problems = capsys.readouterr().err.splitlines()
    assert len(problems) == len(overrides)
    for override, stored in zip(overrides, ["0.1", "convnet", "auto", "2", "0"], strict=True):
        (line,) = (line for line in problems if line.startswith(f"cnntrain: {override}: "))
        assert stored in line
    permitted = ["trainer.record_every_steps=1", "trainer.device=cpu", "trainer.max_minutes=null"]
    assert main([f"run={folder}", *permitted]) == 0


@pytest.mark.parametrize(
    "overrides", grid(), ids=lambda overrides: " ".join(override.split("=")[1] for override in overrides)
)
def test_every_optimizer_schedule_average_and_augmentation_resumes_bit_identically(
    overrides: list[str], tmp_path: Path
) -> None:
    assert_resumes_bit_identically(overrides, tmp_path)


def assert_resumes_bit_identically(overrides: list[str], tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "parts"
    assert main([f"hydra.run.dir={whole}", *SMALL, *overrides]) == 0
    # Stopped after steps 1, 2 and 3: within the first epoch, at its end, and within the second.
    assert main([f"hydra.run.dir={resumed}", *SMALL, *overrides, "trainer.max_minutes=1e-9"]) == 0
    for _ in range(2):
        assert main([f"run={resumed}", "trainer.max_minutes=1e-9"]) == 0
    assert torch.load(resumed / "checkpoints" / "last.pt", weights_only=True)["progress"]["step"] == 3
    assert main([f"run={resumed}", "trainer.max_minutes=null"]) == 0
    assert_same_run(whole, resumed)


OWN = """
import torch
from torch import nn

def changed(images, generator):
    down = torch.randint(5, (), generator=generator) + torch.randint(5, ())
    return images.roll(int(down), 1)

class Tempered(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, scores, labels):
        if self.training:
            self.seen += len(labels)
        temperature = 1 + 1 / (1 + self.seen)
        return nn.functional.cross_entropy(scores / temperature, labels, reduction="none")

class Descent(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure):
        with torch.enable_grad():
            closure()
            closure()
        for weight in self.param_groups[0]["params"]:
            velocity = self.state[weight].setdefault("velocity", torch.zeros_like(weight))
            weight -= self.param_groups[0]["lr"] * velocity.mul_(0.9).add_(weight.grad)

def factor(step, total_steps):
    return 1 - step / total_steps
"""


@pytest.mark.parametrize(
    "optimizer",
    [["torch.optim:NAdam"], ["own_parts:Descent", "optim.closure=true"]],
    ids=lambda given: given[0],
)
def test_parts_of_the_users_own_resume_bit_identically(
    optimizer: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_parts.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "own_parts", raising=False)
    overrides = ["optim=custom", f"optim.factory={optimizer[0]}", *optimizer[1:], "optim.lr=0.01"]
    overrides += ["augmentation=custom", "augmentation.function=own_parts:changed", "data.batch_size=20"]
    overrides += ["loss=custom", "loss.function=own_parts:Tempered", "schedule=custom"]
    overrides += ["schedule.function=own_parts:factor", "regularization.mixup=0.2"]
    assert_resumes_bit_identically(overrides, tmp_path)


def test_a_continued_run_is_refused_and_noticed_as_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["hydra.run.dir=run", "model=linear", "trainer.epochs=1", "trainer.report=false"]) == 0
    capsys.readouterr()
    assert main(["run=run", "trainer.epochs=2", "trainer.keep_epochs=9"]) == 0
    assert "trainer.keep_epochs=9: keeps nothing of a run of trainer.epochs=2" in capsys.readouterr().out
    assert main(["lr_range", "run=run", "lr_range.smallest=1", "lr_range.largest=0.5"]) == 2
    assert "lr_range.smallest=1: must be less than lr_range.largest=0.5" in capsys.readouterr().err


def test_a_run_of_a_part_of_an_epoch_interrupted_after_each_step_equals_an_uninterrupted_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All that changes within a run by the step: image sizes, the bias of the first layer, the rate."""
    overrides = [
        *("data=synthetic", "data.image_size=16", "data.train_images=60", "data.test_images=20"),
        *("model=whitened_convnet", "model.width=0.125", "model.norm_scale=false", "data.batch_size=18"),
        *("initialization=whitening", "initialization.bias_epochs=0.7", "schedule=linear"),
        *("optim=muon", "optim.normalize_every=3", "optim.rest=nesterov", "averaging=ema"),
        *("trainer.initial_size=12", "trainer.epochs=1.4", "trainer.record_every_steps=1"),
    ]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([f"hydra.run.dir={whole}", *overrides]) == 0
    assert [row["step"] for row in rows(whole) if "lr" not in row] == [3, 5]
    assert "\nepoch 1.4/1.4 " in capsys.readouterr().out
    assert json.loads((whole / "summary.json").read_text())["epochs"] == 1.4
    assert main([f"hydra.run.dir={parts}", *overrides, "trainer.max_minutes=1e-5"]) == 0
    for _ in range(4):
        assert main([f"run={parts}", "trainer.max_minutes=1e-5"]) == 0
    assert main([f"run={parts}", "trainer.max_minutes=null"]) == 0
    assert json.loads((parts / "summary.json").read_text())["status"] == "finished"
    assert_same_run(whole, parts)
    assert main([f"run={whole}", "trainer.epochs=3"]) == 2
    assert "ended within an epoch (trainer.epochs=1.4)" in capsys.readouterr().err
