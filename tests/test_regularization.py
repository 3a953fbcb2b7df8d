"""Penalties and decay against autograd, torch's AdamW and the closed forms (R1–R3, R6, C6)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cnntrain.config.regularization import Regularization as Strengths
from cnntrain.regularization import Regularization


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 4))


@pytest.mark.parametrize(
    ("strengths", "penalty"),
    [
        (Strengths(l2=0.3), lambda w: 0.5 * 0.3 * w.square().sum()),
        (Strengths(l1=0.2), lambda w: 0.2 * w.abs().sum()),
        (Strengths(elastic_l1=0.1, elastic_l2=0.4), lambda w: 0.1 * w.abs().sum() + 0.4 * w.square().sum()),
    ],
    ids=["l2", "l1", "elastic net"],
)
@pytest.mark.parametrize("biases", [False, True])
def test_loss_and_gradient_equal_autograds(strengths: Strengths, penalty: object, biases: bool) -> None:
    strengths.biases = biases
    ours, theirs = network(), network()
    regularization = Regularization(strengths, ours)
    for weight in ours.parameters():
        weight.grad = torch.ones_like(weight)
    regularization.add_gradients()
    chosen = [weight for weight in theirs.parameters() if biases or weight.ndim > 1]
    expected = sum(penalty(weight) for weight in chosen)  # type: ignore[operator]
    assert float(regularization.loss()) == pytest.approx(expected.item(), rel=1e-5)
    expected.backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        extra = other.grad if other.grad is not None else torch.zeros_like(other)
        torch.testing.assert_close(mine.grad, 1 + extra)


def test_decoupled_decay_with_adam_is_torchs_adamw() -> None:
    ours, theirs = network(), network()
    regularization = Regularization(Strengths(weight_decay=0.1, biases=True), ours)
    adam = torch.optim.Adam(ours.parameters(), lr=0.01)
    adamw = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1)
    for step in range(5):
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.grad = torch.full_like(mine, 0.1 * step - 0.2)
            other.grad = torch.full_like(other, 0.1 * step - 0.2)
        regularization.decay(0.01)
        adam.step()
        adamw.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_decay_told_by_the_device_skips_where_the_step_is_skipped() -> None:
    ours = network()
    before = [weight.clone() for weight in ours.parameters()]
    regularization = Regularization(Strengths(weight_decay=0.1), ours)
    regularization.decay(0.5, torch.tensor(False))
    assert all(torch.equal(a, b) for a, b in zip(before, ours.parameters(), strict=True))
    regularization.decay(0.5, torch.tensor(True))
    torch.testing.assert_close(ours[0].weight, before[0] * 0.95)
    assert torch.equal(ours[0].bias, before[1])


def test_adamw_decays_by_its_own_amount_unless_told() -> None:
    assert Regularization(Strengths(), network(), 0.01).weight_decay == 0.01
    assert Regularization(Strengths(weight_decay=0.0), network(), 0.01).weight_decay == 0.0


def test_decay_of_groups_with_rates_of_their_own_is_torchs_adamw() -> None:
    ours, theirs = network(), network()
    scales = (1.0, 5.0)

    def groups(net: nn.Sequential) -> list[list[torch.Tensor]]:
        return [list(net[:3].parameters()), list(net[3].parameters())]

    pairs = list(zip(groups(ours), scales, strict=True))
    regularization = Regularization(Strengths(weight_decay=0.1, biases=True), ours, groups=pairs)
    adam = torch.optim.Adam([{"params": group, "lr": 0.01 * scale} for group, scale in pairs])
    adamw = torch.optim.AdamW(
        [{"params": group, "lr": 0.01 * scale} for group, scale in zip(groups(theirs), scales, strict=True)],
        weight_decay=0.1,
    )
    for step in range(5):
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.grad = torch.full_like(mine, 0.1 * step - 0.2)
            other.grad = torch.full_like(other, 0.1 * step - 0.2)
        regularization.decay(0.01)
        adam.step()
        adamw.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)
