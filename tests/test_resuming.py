"""A run that is killed, interrupted or stopped continues as if nothing had happened, to the bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from cnntrain.cli import main
from cnntrain.config.choices import Choices

# Everything that has a state: momentum, dropout, augmentation, plateau, early stopping, batch norm.
EVENTFUL = [
    "schedule=plateau",
    "schedule.patience_epochs=1",
    "schedule.warmup_epochs=0.3",
    "trainer.early_stopping_epochs=5",
    "regularization.dropout=0.3",
    "trainer.record_every_steps=3",
    "trainer.checkpoint_every_steps=7",
    "trainer.epochs=12",
    "data.batch_size=32",
    "optim.lr=0.03",
]


def rows(folder: Path) -> list[dict[str, Any]]:
    """All rows of metrics.jsonl but the times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "images_per_second"} for line in lines]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    loaded = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["network"]
    assert isinstance(loaded, dict)
    return loaded


def assert_same_run(one: Path, other: Path) -> None:
    assert rows(one) == rows(other)
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (one, other)]
    for summary in summaries:
        del summary["wall_seconds"], summary["images_per_second"]
    assert summaries[0] == summaries[1]


CHOICES = Choices()
# Colour images and residual blocks, so that every option fits.
SMALL = [
    *("data=synthetic", "data.image_size=16", "data.train_images=100", "data.test_images=20"),
    *("model=resnet20", "model.width=0.125", "trainer.epochs=3", "trainer.max_steps_per_epoch=2"),
    *("trainer.record_every_steps=1", "trainer.pictures=false", "trainer.early_stopping_epochs=2"),
]


def grid() -> list[list[str]]:
    """Options of every group with a state or with draws, each of them at least once."""
    groups = ("optim", "schedule", "averaging", "augmentation", "regularization")
    names = {group: CHOICES.names(group) for group in groups}
    preprocessings = CHOICES.names("preprocessing")
    cases = []
    for number in range(max(len(found) for found in names.values())):
        chosen = {group: found[number % len(found)] for group, found in names.items()}
        words = [f"{group}={name}" for group, name in chosen.items()]
        words.append(f"data.batch_size={90 if chosen['optim'] == 'lbfgs' else 20}")
        if chosen["optim"] in ("sgd", "nesterov"):
            words.append("optim.final_momentum=0.95")
        if chosen["averaging"] == "swa":
            words.append("averaging.start=0")  # so that there is an average when the run is stopped
        if number % 2:
            words.append("loss.balanced=true")
        if chosen["augmentation"] == "imagenet":
            words.append("augmentation.crop_size=14")
        else:
            words.append(f"preprocessing={preprocessings[number % len(preprocessings)]}")
        cases.append(words)
    return cases


def start(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "cnntrain", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def stop_after_rows(process: subprocess.Popen[bytes], folder: Path, count: int, number: int) -> int:
    """Send a signal once metrics.jsonl has so many rows; return the exit code."""
    metrics = folder / "metrics.jsonl"
    limit = time.monotonic() + 60
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < count:
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < limit, "the run does not come far enough"
        time.sleep(0.001)
    os.kill(process.pid, number)
    return process.wait(60)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert main([f"hydra.run.dir={folder}", *EVENTFUL]) == 0
    return folder


def test_a_run_killed_at_several_moments_equals_one_never_interrupted(
    uninterrupted: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    process = start(f"hydra.run.dir={folder}", *EVENTFUL)
    for count in (17, 44, 91):
        assert stop_after_rows(process, folder, count, signal.SIGKILL) == -signal.SIGKILL
        process = start(f"run={folder}")
    assert process.wait(120) == 0
    assert_same_run(uninterrupted, folder)


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_step_it_meets_and_the_run_continues(
    uninterrupted: Path, tmp_path: Path, number: int, exit_code: int
) -> None:
    folder = tmp_path / "run"
    # No checkpoint within the epoch but the one that the signal asks for.
    words = [word for word in EVENTFUL if "checkpoint_every_steps" not in word]
    process = start(f"hydra.run.dir={folder}", *words)
    assert stop_after_rows(process, folder, 33, number) == exit_code
    step = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["progress"]["step"]
    assert step >= rows(folder)[-1]["step"]
    assert json.loads((folder / "summary.json").read_text())["status"] == "interrupted"
    assert main([f"run={folder}"]) == 0
    assert rows(folder) == rows(uninterrupted)


def test_max_minutes_stops_resumably(uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert main([f"hydra.run.dir={folder}", *EVENTFUL, "trainer.max_minutes=0.0001"]) == 0
    assert json.loads((folder / "summary.json").read_text())["status"] == "interrupted"
    assert main([f"run={folder}", "trainer.max_minutes=null"]) == 0
    assert_same_run(uninterrupted, folder)


def test_a_finished_run_says_so_and_goes_further_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short, long = tmp_path / "short", tmp_path / "long"
    words = ["schedule=constant", "trainer.record_every_steps=5"]
    assert main([f"hydra.run.dir={short}", "trainer.epochs=1", *words]) == 0
    before = (short / "checkpoints" / "last.pt").read_bytes()
    capsys.readouterr()
    assert main([f"run={short}"]) == 0
    assert "finished" in capsys.readouterr().out
    assert (short / "checkpoints" / "last.pt").read_bytes() == before
    assert main([f"run={short}", "trainer.epochs=3"]) == 0
    assert main([f"hydra.run.dir={long}", "trainer.epochs=3", *words]) == 0
    assert_same_run(short, long)


def test_changes_that_would_alter_the_run_are_refused_with_both_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert main([f"hydra.run.dir={folder}", "trainer.epochs=2", "trainer.max_minutes=0.00001"]) == 0
    capsys.readouterr()
    words = ["optim.lr=0.7", "model=lenet5", "data.batch_size=17", "trainer.epochs=1", "seed=4"]
    assert main([f"run={folder}", *words]) == 2
    problems = capsys.readouterr().err.splitlines()
    assert len(problems) == len(words)
    for word, stored in zip(words, ["0.05", "convnet", "64", "2", "0"], strict=True):
        (line,) = (line for line in problems if line.startswith(f"cnntrain: {word}: "))
        assert stored in line
    free = ["trainer.record_every_steps=1", "trainer.device=cpu", "trainer.max_minutes=null"]
    assert main([f"run={folder}", *free]) == 0


@pytest.mark.parametrize("words", grid(), ids=lambda words: " ".join(word.split("=")[1] for word in words))
def test_every_optimizer_schedule_average_and_augmentation_continues_to_the_bit(
    words: list[str], tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([f"hydra.run.dir={whole}", *SMALL, *words]) == 0
    # Stopped after the first step, at the end of an epoch, and in the middle of the second.
    assert main([f"hydra.run.dir={parts}", *SMALL, *words, "trainer.max_minutes=1e-9"]) == 0
    for _ in range(2):
        assert main([f"run={parts}", "trainer.max_minutes=1e-9"]) == 0
    assert torch.load(parts / "checkpoints" / "last.pt", weights_only=True)["progress"]["step"] == 3
    assert main([f"run={parts}", "trainer.max_minutes=null"]) == 0
    assert_same_run(whole, parts)
