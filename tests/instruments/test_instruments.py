"""Instruments against direct computations; none of them changes training by one bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnntrain.cli import main
from cnntrain.instruments.activation_layers import watching
from cnntrain.instruments.activations import Activations
from cnntrain.instruments.gradient_norms import GradientNorms
from cnntrain.instruments.instrument import Instruments
from cnntrain.instruments.unit_activity import UnitActivity
from cnntrain.model.shared_layers import ScaledTanh


def inputs(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 2, 6, 6, generator=torch.Generator().manual_seed(seed))


def network(activation: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 5, 3), activation, nn.Flatten(), nn.Linear(80, 4), activation)


def test_gradient_norms_are_those_before_clipping() -> None:
    net = network(nn.ReLU())
    net[0].bias.requires_grad_(False)
    instruments = Instruments([GradientNorms(net)])
    net(inputs(3)).square().sum().backward()
    expected = {
        f"gradient_norm/{n}": w.grad.norm().item() for n, w in net.named_parameters() if w.grad is not None
    }
    with instruments.around_update(0, recording=True):
        nn.utils.clip_grad_norm_(net.parameters(), 1e-3)
    assert instruments.step_row() == pytest.approx(expected)
    assert set(expected) == {"gradient_norm/0.weight", "gradient_norm/3.weight", "gradient_norm/3.bias"}


def test_a_weight_without_a_gradient_has_norm_0() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[0](torch.ones(1, 2)).sum().backward()
    norms = GradientNorms(net)
    with norms.around_update():
        pass
    assert norms.row()["gradient_norm/1.weight"] == 0
    assert norms.row()["gradient_norm/0.bias"] == pytest.approx(2**0.5)


@pytest.mark.parametrize("inplace", [False, True])
def test_moments_and_zeros_of_rectified_activations(inplace: bool) -> None:
    net = network(nn.ReLU(inplace))
    activations = Activations(net)
    with activations.around_step(0):
        net(inputs(7, seed=1))
        net(inputs(7))
    maps = F.relu(net[0](inputs(7)))
    scores = F.relu(net[3](maps.flatten(1)))
    expected = {
        f"{name}/{layer}": value.item()
        for layer, values in (("1", maps), ("1:2", scores))
        for name, value in (
            ("activation_mean", values.mean()),
            ("activation_deviation", values.std(correction=0)),
            ("zero_fraction", (values == 0).float().mean()),
        )
    }
    assert activations.row() == pytest.approx(expected, rel=1e-5)
    activations.around_step(0)
    assert activations.row() == {}


@pytest.mark.parametrize(
    ("activation", "slope"),
    [
        (nn.Tanh(), lambda x: 1 - torch.tanh(x) ** 2),
        (nn.Sigmoid(), lambda x: 4 * torch.sigmoid(x) * (1 - torch.sigmoid(x))),
        (ScaledTanh(), lambda x: 1 - torch.tanh(x * 2 / 3) ** 2),
    ],
)
def test_saturated_activations_have_a_twentieth_of_the_largest_slope(
    activation: nn.Module, slope: Callable[[Tensor], Tensor]
) -> None:
    net = network(activation)
    with torch.no_grad():
        net[0].weight *= 6
    expected = (slope(net[0](inputs(20))) < 0.05).float().mean().item()
    assert 0.1 < expected < 0.9
    step, split = Activations(net), UnitActivity(net)
    with step.around_step(0), split.around_split():
        net(inputs(20))
    assert step.row()["saturated_fraction/1"] == pytest.approx(expected)
    assert split.row()["saturated_activations/1"] == pytest.approx(expected)


@pytest.mark.parametrize("batch_size", [1, 4, 12])
def test_a_unit_is_dead_if_it_is_0_for_all_images_of_the_split(batch_size: int) -> None:
    net = network(nn.ReLU())
    with torch.no_grad():
        net[0].bias.copy_(torch.tensor([-100.0, 0.0, -100.0, -1.6, 0.5]))
    images = inputs(12)
    active = (net[0](images) > 0).flatten(2).any(2).any(0)
    assert active.tolist()[0] is active.tolist()[2] is False
    activity = UnitActivity(net)
    for _ in range(2):  # the second evaluation does not remember the first
        with activity.around_split():
            for part in images.split(batch_size):
                net(part)
        assert activity.row()["dead_units/1"] == pytest.approx(1 - active.float().mean().item())


def test_hooks_are_removed_and_calls_are_told_apart() -> None:
    net = network(nn.ReLU())
    seen: list[str] = []
    with watching(net, lambda name, module, output: seen.append(name)):
        net(inputs(1))
        net(inputs(1))
    net(inputs(1))
    assert seen == ["1", "1:2", "1", "1:2"]


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "overrides",
    [
        "model=lenet5 averaging=ema trainer.accumulate_steps=2",
        "model=convnet regularization=dropout optim=muon",
        "model=linear optim=lbfgs data.batch_size=180 data.val_fraction=0.1 augmentation=none",
    ],
)
def test_training_is_the_same_to_the_bit_with_and_without_instruments(overrides: str, tmp_path: Path) -> None:
    command = [*overrides.split(), "data.limit=200", "trainer.epochs=2", "trainer.record_every_steps=1"]
    folders = {value: tmp_path / value for value in ("true", "false")}
    for value, folder in folders.items():
        options = ["trainer.threads=1", f"trainer.instruments={value}", f"hydra.run.dir={folder}"]
        assert main([*command, *options]) == 0
    one, other = (torch.load(f / "checkpoints/last.pt", weights_only=True) for f in folders.values())
    for name, weights in one["network"].items():
        assert torch.equal(weights, other["network"][name]), name
    measured, plain = rows(folders["true"]), rows(folders["false"])
    kinds = ("update_ratio/", "gradient_norm/", "activation_", "zero_", "saturated_", "dead_units/")
    for with_instruments, without in zip(measured, plain, strict=True):
        assert not any(key.startswith(kinds) for key in without)
        for key in without.keys() - {"images_per_second", "data_wait"}:
            assert with_instruments[key] == without[key], key
    assert any(key.startswith("gradient_norm/") for key in measured[0])
