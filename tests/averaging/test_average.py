"""Weight averages against torch.optim.swa_utils (E4)."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from cnntrain.averaging.average import recomputed_batch_norm
from cnntrain.averaging.settings import Ema, Swa


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def add_noise(net: nn.Module, step: int) -> None:
    torch.manual_seed(step)
    with torch.no_grad():
        for weight in net.parameters():
            weight += torch.randn_like(weight)


def test_ema_equals_torch_after_its_warm_up() -> None:
    net = network()
    average = Ema(decay=0.5).build(net.parameters(), 10, 10)
    theirs = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    theirs.n_averaged.fill_(1)  # starts from the initial weights, as ours does
    for step in range(8, 20):  # (1 + t)/(10 + t) is 0.5 at t = 8
        add_noise(net, step)
        average.after_step(step)
        theirs.update_parameters(net)
    for mine, other in zip(average.average, theirs.module.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_the_weight_of_new_parameters_in_ema_falls_to_one_minus_decay() -> None:
    net = network()
    average = Ema(decay=0.999).build(net.parameters(), 10, 10)
    weights = [average.weight(step) for step in (1, 90, 10**6)]
    assert weights == pytest.approx([9 / 11, 9 / 100, 0.001])


def test_swa_is_the_mean_of_the_weights_at_the_ends_of_the_last_epochs() -> None:
    net = network()
    average = Swa(start=0.5).build(net.parameters(), 3, 4)
    theirs = AveragedModel(net)
    for step in range(1, 13):
        add_noise(net, step)
        average.after_step(step)
        if step in (9, 12):  # the ends of epochs after half of the 12 steps
            theirs.update_parameters(net)
    assert average.count == 2
    for mine, other in zip(average.average, theirs.module.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_in_place_sets_the_average_and_restores_the_weights_on_exit() -> None:
    net = network()
    average = Swa(start=0.0).build(net.parameters(), 1, 4)
    add_noise(net, 1)
    average.after_step(1)
    add_noise(net, 2)
    before = [weight.detach().clone() for weight in net.parameters()]
    averages = [weight.clone() for weight in average.average]
    with average.in_place():
        for weight, mean in zip(net.parameters(), averages, strict=True):
            assert torch.equal(weight, mean)
    for weight, old in zip(net.parameters(), before, strict=True):
        assert torch.equal(weight, old)
    for weight, old in zip(average.average, averages, strict=True):
        assert torch.equal(weight, old)


def test_recomputed_batch_norm_statistics_equal_update_bn_and_are_restored_on_exit() -> None:
    ours, theirs = network(), network()
    batches = list(torch.randn(5, 8, 3) * 3 + 1)
    ours(batches[0])
    old = ours[1].running_mean.clone()
    update_bn(batches, theirs)
    with recomputed_batch_norm(ours, enabled=True) as norms, torch.no_grad():
        assert norms == [ours[1]]
        for batch in batches:
            ours(batch)
        torch.testing.assert_close(ours[1].running_mean, theirs[1].running_mean)
        torch.testing.assert_close(ours[1].running_var, theirs[1].running_var)
    assert torch.equal(ours[1].running_mean, old)
    assert ours[1].momentum == 0.1


def test_frozen_batch_norms_keep_their_statistics() -> None:
    net = network()
    net[1].running_mean.fill_(5.0)
    for weight in net[1].parameters():
        weight.requires_grad_(False)
    with recomputed_batch_norm(net, enabled=True) as norms, torch.no_grad():
        assert norms == []
        net(torch.randn(8, 3))
        assert (net[1].running_mean == 5.0).all()


@pytest.mark.parametrize("option", [Ema(decay=0.9), Swa(start=0.0)], ids=lambda option: option.name)
def test_an_average_continues_exactly_from_its_state(option: Ema | Swa) -> None:
    net, restored = network(), network()
    average = option.build(net.parameters(), 1, 10)
    for step in (1, 2, 3):
        add_noise(net, step)
        average.after_step(step)
    restored.load_state_dict(net.state_dict())
    continued = option.build(restored.parameters(), 1, 10)
    continued.load_state_dict(copy.deepcopy(average.state_dict()))
    for tracked, running in ((net, average), (restored, continued)):
        add_noise(tracked, 4)
        running.after_step(4)
    assert continued.count == average.count == 4
    for mine, other in zip(continued.average, average.average, strict=True):
        assert torch.equal(mine, other)
