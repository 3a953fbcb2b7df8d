"""job=optimizers (O12): paths against closed forms and torch.optim, and their descriptions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from cnntrain.cli import main
from cnntrain.optim.settings import Sgd
from cnntrain.report.optimizer_paths import (
    BOWL,
    SADDLE,
    Surface,
    bowl_result,
    descend,
    example_optimizers,
    saddle_result,
)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("surface", [BOWL, SADDLE])
def test_plain_sgd_multiplies_each_coordinate_by_one_minus_lr_times_curvature(surface: Surface) -> None:
    path = descend(Sgd(lr=0.03, momentum=0.0), surface, 40)
    factors = 1 - 0.03 * torch.tensor(surface.curvatures, dtype=torch.float64)
    start = torch.tensor(surface.start, dtype=torch.float64)
    torch.testing.assert_close(path, factors ** torch.arange(41)[:, None] * start)


@pytest.mark.parametrize("name", ["momentum", "nesterov", "adagrad", "rmsprop", "adam"])
def test_paths_equal_torch_optimizers_with_gradients_by_autograd(name: str) -> None:
    torch_optimizers = {
        "momentum": lambda w: torch.optim.SGD(w, lr=0.02, momentum=0.9),
        "nesterov": lambda w: torch.optim.SGD(w, lr=0.02, momentum=0.9, nesterov=True),
        "adagrad": lambda w: torch.optim.Adagrad(w, lr=0.02, eps=1e-8),
        "rmsprop": lambda w: torch.optim.RMSprop(w, lr=0.02, alpha=0.99),
        "adam": lambda w: torch.optim.Adam(w, lr=0.02),
    }
    point = torch.tensor([-2.0, 0.6], dtype=torch.float64, requires_grad=True)
    optimizer = torch_optimizers[name]([point])
    path = [point.tolist()]
    for _ in range(50):
        optimizer.zero_grad()
        (0.25 * point[0] ** 2 + 10 * point[1] ** 2).backward()
        optimizer.step()
        path.append(point.tolist())
    torch.testing.assert_close(
        descend(example_optimizers(0.02)[name], BOWL, 50), torch.tensor(path, dtype=torch.float64)
    )


def test_the_result_of_a_path_on_the_bowl_describes_it() -> None:
    # Crosses the valley, overshoots the minimum by 0.5, is near it briefly, and stays near it from step 6 on.
    path = [[-2, 0.6], [-1, -0.3], [0, 0.005], [0.5, 0.2], [0.2, -0.009], [0.1, 0.004], [0.001, -0.001]]
    result = bowl_result(torch.tensor([*path, [0.0, 0.0]]))
    assert (result.arrived, result.crossings, result.past) == (6, 3, 0.5)
    short = bowl_result(torch.tensor(path[:4]))
    assert short.arrived is None
    assert short.distance == pytest.approx((0.25 + 0.04) ** 0.5)
    assert "past the minimum by 0.50" in result.describe(7, 100)
    assert "diverged" in bowl_result(descend(Sgd(lr=1.0, momentum=0.0), BOWL, 100)).describe(9, BOWL.reach)


def test_the_result_of_a_path_on_the_saddle_describes_it() -> None:
    path = torch.tensor([[-1, 0.1], [-0.5, 0.6], [-0.2, -1.0], [0.0, -2.0]])
    result = saddle_result(path)
    assert (result.left, result.x) == (2, pytest.approx(-0.2))
    assert saddle_result(path[:2]).describe(1).startswith("still at the saddle after 1 steps")


def test_the_job_confirms_three_claims_of_the_notes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["job=optimizers", "hydra.run.dir=found"]) == 0
    content = json.loads(Path("found/optimizers.json").read_text())
    bowl, saddle = content["bowl"], content["saddle"]
    # SGD stays at the saddle; with y multiplied by 1 + 2·0.08 it needs 109 steps from 1e-7 to 1.
    assert saddle["sgd"]["left"] is None
    assert saddle["sgd"]["y"] == pytest.approx(1e-7 * 1.16**100, rel=1e-6)
    # Momentum overshoots the minimum, plain SGD and the methods without momentum do not.
    assert bowl["momentum"]["past"] > 0.5
    assert bowl["nesterov"]["past"] > 0.3
    assert bowl["sgd"]["past"] == bowl["adagrad"]["past"] == bowl["rmsprop"]["past"] == 0
    # RMSprop leaves before it reaches the saddle, momentum long after.
    assert saddle["rmsprop"]["left"] < 10 < 40 < saddle["momentum"]["left"]
    assert saddle["rmsprop"]["x"] < -0.2
    stdout = capsys.readouterr().out
    assert "still at the saddle after 100 steps" in stdout
    for surface in (bowl, saddle):
        for entry in surface.values():
            assert entry["words"] in stdout
            assert len(entry["path"]) == len(entry["loss"])
    for name in ("bowl.png", "saddle.png"):
        with Image.open(f"found/{name}") as picture:
            assert min(picture.size) > 800
    assert main(["job=optimizers", "hydra.run.dir=found"]) == 3  # a folder with results is not overwritten


def test_a_common_learning_rate_is_used_and_divergence_is_reported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    overrides = ["job=optimizers", "optimizers.lr=10", "optimizers.steps=7", "hydra.run.dir=found"]
    assert main(overrides) == 0
    content = json.loads(Path("found/optimizers.json").read_text())
    assert {entry["settings"]["lr"] for entry in content["bowl"].values()} == {10}
    assert "diverged" in content["bowl"]["sgd"]["words"]
    assert len(content["bowl"]["adam"]["path"]) <= 8
    assert "lr 10" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["optimizers.steps=5"], ["optimizers.steps=5", "add job=optimizers"]),
        (["job=optimizers", "summary.memory_gb=1"], ["summary.memory_gb=1", "add job=summary"]),
        (["job=optimizers", "optim=adam"], ["optim: has no effect", "(optimizers.lr)", "leave it out"]),
        (["job=optimizers", "run=earlier"], ["run=earlier", "leave run=… out"]),
        (["job=optimizers", "optimizers.steps=0"], ["optimizers.steps=0", "≥ 1"]),
    ],
)
def test_settings_without_effect_are_refused(
    overrides: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hydra.run.dir=found", *overrides]) == 2
    stderr = capsys.readouterr().err
    for part in parts:
        assert part in stderr
    assert not Path("found").exists()
