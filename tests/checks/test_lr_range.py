"""The learning-rate range test: rates, losses, divergence, and the suggestion."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from cnntrain.assemble.run import build_parts
from cnntrain.checks.lr_range import SMOOTHING, RangeTest, lr_range_test
from cnntrain.cli import main
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure


def test_a_quadratic_loss_diverges_at_twice_the_inverse_of_its_curvature(tmp_path: Path) -> None:
    # L2 regression by a linear model is quadratic: plain gradient descent on the whole batch is stable below
    # 2/(largest eigenvalue of the Hessian), which is 2·X'X/n for the mean over images and values.
    overrides = "data=npz model=linear loss=l2 data.target=values optim.momentum=0 trainer.max_grad_norm=null"
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (64, 3, 3, 1), dtype=torch.uint8, generator=rng)
    values = torch.randn(64, 1, generator=rng)
    file = tmp_path / "values.npz"
    x, y = pixels.numpy(), values.numpy()
    np.savez(file, x_train=x, y_train=y, x_test=x, y_test=y)
    overrides += (
        f" data.path={file} data.val_fraction=0 data.batch_size=64 trainer.threads=1 augmentation=none"
    )
    config = configure(overrides.split(), Choices()).config
    parts = build_parts(config, None, tmp_path, "")
    inputs = parts.step.preprocess(pixels).flatten(1).double()
    extended = torch.cat([inputs, torch.ones(64, 1, dtype=torch.float64)], 1)
    limit = 2 / torch.linalg.eigvalsh(2 * extended.T @ extended / 64).max().item()
    result = lr_range_test(parts.step, parts.train, limit / 100, limit * 100, 200)
    assert result.diverged
    assert limit < result.lrs[-1] < 6 * limit
    assert limit / 4 < result.lr_of_minimum < 4 * limit


def test_rates_rise_exponentially_and_losses_are_smoothed() -> None:
    config = configure(
        ["trainer.threads=1", "data.limit=100", "data.batch_size=10", "model=linear"], Choices()
    )
    parts = build_parts(config.config, None, Path("run"), "")
    result = lr_range_test(parts.step, parts.train, 1e-4, 1e-2, 21)
    assert len(result.lrs) == len(result.losses) == 21
    assert not result.diverged
    assert result.lrs == pytest.approx([1e-4 * 10 ** (step / 10) for step in range(21)])
    weights = [0.9 ** (20 - step) for step in range(21)]
    mean = sum(w * loss for w, loss in zip(weights, result.losses, strict=True)) / sum(weights)
    assert result.smoothed[-1] == pytest.approx(mean)


def losses(start: float, lowest: float, noise: float, seed: int) -> list[float]:
    """Return 60 losses that stay, fall from step 20 to 40, and rise beyond the start."""
    rng = random.Random(seed)
    fall = [start + (lowest - start) * k / 20 for k in range(20)]
    shape = [start] * 20 + fall + [lowest + k for k in range(20)]
    return [value + rng.gauss(0, noise) for value in shape]


def range_of(values: list[float]) -> RangeTest:
    lrs = [10 ** (-5 + k / 10) for k in range(len(values))]
    averages, average = [], 0.0
    for number, value in enumerate(values):
        average = SMOOTHING * average + (1 - SMOOTHING) * value
        averages.append(average / (1 - SMOOTHING ** (number + 1)))
    return RangeTest(lrs, values, averages, True)


@pytest.mark.parametrize("seed", range(20))
def test_the_suggestion_is_a_tenth_of_the_rate_of_the_lowest_loss(seed: int) -> None:
    found = range_of(losses(2.3, 0.5, 0.1, seed))
    index = found.smoothed.index(min(found.smoothed))
    assert 35 < index < 46
    assert found.suggestion == pytest.approx(0.1 * found.lrs[index], rel=0.2)  # to one digit


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_fall(seed: int) -> None:
    # As batches of two images have it: of the first few losses, some are far below the others.
    assert range_of(losses(2.3, 2.3, 0.8, seed)).suggestion is None
    assert range_of([2.3, math.nan, math.inf, 4.0]).suggestion is None


def test_the_job_writes_a_picture_and_prints_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "range"
    overrides = ["job=lr_range", "model=linear", "optim=adam", "lr_range.steps=40", "trainer.threads=1"]
    assert main([*overrides, f"hydra.run.dir={folder}"]) == 0
    found = json.loads((folder / "lr_range.json").read_text())
    assert (folder / "lr_range.png").read_bytes().startswith(b"\x89PNG")
    command = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("try "))
    assert command.split()[1:4] == ["cnntrain", "model=linear", "optim=adam"]
    assert command.split()[-1] == f"optim.lr={found['suggestion']}"


def test_a_first_loss_that_is_not_finite_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ["job=lr_range", "model=linear", "initialization=gaussian", "initialization.std=1e30"]
    assert main([*overrides, f"hydra.run.dir={tmp_path / 'range'}"]) == 4
    assert "the first loss is" in capsys.readouterr().err


def test_a_run_is_not_changed_by_its_range_test(tmp_path: Path) -> None:
    run = tmp_path / "run"
    quick = ["model=linear", "trainer.epochs=1", "trainer.threads=1", "data.limit=200"]
    assert main([*quick, f"hydra.run.dir={run}"]) == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main(["job=lr_range", f"run={run}", "lr_range.steps=10"]) == 0
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert {path.name for path in set(after) - set(before)} == {"lr_range.png", "lr_range.json"}
    assert all(after[path] == content for path, content in before.items())


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        ("job=lr_range optim=switch", "optim=switch"),
        ("job=lr_range lr_range.smallest=1 lr_range.largest=0.1", "lr_range.smallest=1"),
        ("lr_range.steps=20", "applies to job=lr_range only"),
    ],
)
def test_what_cannot_be_tested_is_refused(
    overrides: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(overrides.split()) == 2
    assert part in capsys.readouterr().err
