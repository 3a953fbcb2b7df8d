"""Muon: orthogonal updates for filters, another optimizer for the other weights (O6)."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from cnntrain.optim.muon import orthogonalized
from cnntrain.optim.settings import AdamW, Muon, Sgd


@pytest.mark.parametrize("shape", [(16, 27), (64, 27), (32, 32)])
def test_singular_values_become_nearly_1_and_singular_vectors_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    update = orthogonalized(matrix, 5)
    # The exact polar factor has singular values of 1; the iterations leave values between 0.7 and 1.2.
    in_basis = left.T @ update @ right.T
    values = in_basis.diagonal()
    assert values.min() > 0.6
    assert values.max() < 1.25
    assert (in_basis - values.diag()).abs().max() < 1e-4


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.Flatten(), nn.Linear(4, 2))


def set_gradients(net: nn.Module, step: int) -> None:
    torch.manual_seed(step)
    for weight in net.parameters():
        weight.grad = torch.randn_like(weight)


def test_updates_of_filters_equal_the_formula() -> None:
    net = network()
    filters = net[0].weight
    optimizer = Muon(lr=0.1, momentum=0.9, nesterov=True).build(list(net.parameters()), False)
    expected, velocity = filters.detach().clone(), torch.zeros_like(filters)
    for step in range(3):
        set_gradients(net, step)
        velocity = 0.9 * velocity + filters.grad
        change = (filters.grad + 0.9 * velocity).flatten(1)
        # 8 filters of 27 weights: fewer rows than columns, so the factor is 1.
        expected -= 0.1 * orthogonalized(change, 5).view_as(expected)
        optimizer.step()
    torch.testing.assert_close(filters, expected)


@pytest.mark.parametrize(("rest", "option"), [("adamw", AdamW(lr=0.003)), ("sgd", Sgd(lr=0.003))])
def test_other_weights_use_the_optimizer_rest_at_its_own_learning_rate(
    rest: str, option: Sgd | AdamW
) -> None:
    ours, theirs = network(), network()
    optimizer = Muon(lr=0.1, rest=rest, rest_lr=0.003).build(list(ours.parameters()), False)
    others = [weight for weight in theirs.parameters() if weight.ndim != 4]
    reference = option.build(others, False)
    for step in range(3):
        # As `Update` sets learning rates: half by the schedule, times the group's scale.
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * group["lr_scale"]
        for group in reference.param_groups:
            group["lr"] = 0.0015
        set_gradients(ours, step)
        set_gradients(theirs, step)
        optimizer.step()
        reference.step()
    for mine, other in zip([w for w in ours.parameters() if w.ndim != 4], others, strict=True):
        torch.testing.assert_close(mine, other)


def test_training_resumes_exactly_from_the_state_dict() -> None:
    one, other = network(), network()
    first = Muon().build(list(one.parameters()), False)
    for step in range(2):
        set_gradients(one, step)
        first.step()
    other.load_state_dict(one.state_dict())
    second = Muon().build(list(other.parameters()), False)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for net, optimizer in ((one, first), (other, second)):
        set_gradients(net, 7)
        optimizer.step()
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)
