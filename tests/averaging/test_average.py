"""Averages of weights against torch's own (E4)."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from cnntrain.averaging.average import recomputed_batch_norm
from cnntrain.averaging.settings import Ema, Swa


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def move(net: nn.Module, step: int) -> None:
    torch.manual_seed(step)
    with torch.no_grad():
        for weight in net.parameters():
            weight += torch.randn_like(weight)


def test_ema_is_torchs_once_it_is_warm() -> None:
    net = network()
    average = Ema(decay=0.5).build(net.parameters(), 10, 10)
    theirs = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    theirs.n_averaged.fill_(1)  # begins with the first weights, as ours does
    for step in range(8, 20):  # (1 + t)/(10 + t) is 0.5 at t = 8
        move(net, step)
        average.after_step(step)
        theirs.update_parameters(net)
    for mine, other in zip(average.average, theirs.module.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_ema_remembers_no_more_than_the_run_has_seen() -> None:
    net = network()
    average = Ema(decay=0.999).build(net.parameters(), 10, 10)
    shares = [average.weight(step) for step in (1, 90, 10**6)]
    assert shares == pytest.approx([9 / 11, 9 / 100, 0.001])


def test_swa_is_the_mean_of_the_last_epochs_ends() -> None:
    net = network()
    average = Swa(start=0.5).build(net.parameters(), 3, 4)
    theirs = AveragedModel(net)
    for step in range(1, 13):
        move(net, step)
        average.after_step(step)
        if step in (9, 12):  # after half of the 12 steps, at the ends of epochs
            theirs.update_parameters(net)
    assert average.count == 2
    for mine, other in zip(average.average, theirs.module.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_in_place_is_for_as_long_as_it_lasts() -> None:
    net = network()
    average = Swa(start=0.0).build(net.parameters(), 1, 4)
    move(net, 1)
    average.after_step(1)
    move(net, 2)
    before = [weight.detach().clone() for weight in net.parameters()]
    kept = [weight.clone() for weight in average.average]
    with average.in_place():
        for weight, mean in zip(net.parameters(), kept, strict=True):
            assert torch.equal(weight, mean)
    for weight, old in zip(net.parameters(), before, strict=True):
        assert torch.equal(weight, old)
    for weight, old in zip(average.average, kept, strict=True):
        assert torch.equal(weight, old)


def test_batch_norm_statistics_are_torchs_update_bn_and_the_old_ones_come_back() -> None:
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
