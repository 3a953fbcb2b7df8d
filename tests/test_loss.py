"""Losses against the notes' worked examples, torch's own and closed forms (C1, C2)."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from cnntrain.config.loss import Softmax, SquaredSvm, Svm


@pytest.mark.parametrize(
    ("scores", "delta", "expected"),
    [
        ([13.0, -7.0, 11.0], 10, 8),
        ([10.0, -2.0, 3.0], 1, 0),
        ([10.0, 9.0, 9.0], 1, 0),
        ([10.0, -100.0, -100.0], 1, 0),
    ],
)
def test_svm_gives_the_worked_examples(scores: list[float], delta: float, expected: float) -> None:
    loss = Svm(delta=delta).build(0.0)
    assert loss(torch.tensor([scores]), torch.tensor([0])).item() == pytest.approx(expected)


def test_softmax_tells_apart_what_the_svm_does_not() -> None:
    loss = Softmax().build(0.0)
    label = torch.tensor([0])
    assert loss(torch.tensor([[10.0, 9.0, 9.0]]), label).item() == pytest.approx(0.5514, abs=1e-4)
    assert loss(torch.tensor([[10.0, -100.0, -100.0]]), label).item() == pytest.approx(0.0, abs=1e-6)
    assert loss(torch.zeros(4, 10), torch.arange(4)).item() == pytest.approx(math.log(10))


@pytest.mark.parametrize(("option", "power"), [(Svm, 1), (SquaredSvm, 2)])
def test_svm_is_torchs_multi_margin_loss_times_the_classes(option: type[Svm], power: int) -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(64, 7, dtype=torch.double), torch.randint(7, (64,))
    expected = F.multi_margin_loss(scores, labels, p=power, margin=0.7) * 7
    assert option(delta=0.7).build(0.0)(scores, labels).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("option", [Svm, SquaredSvm])
def test_svm_gradient_equals_torchs(option: type[Svm]) -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(16, 5).requires_grad_(), torch.randint(5, (16,))
    power = 2 if option is SquaredSvm else 1
    (ours,) = torch.autograd.grad(option().build(0.0)(scores, labels), scores)
    (theirs,) = torch.autograd.grad(F.multi_margin_loss(scores, labels, p=power) * 5, scores)
    torch.testing.assert_close(ours, theirs)


def test_label_smoothing_is_cross_entropy_against_the_mixture() -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(8, 4), torch.randint(4, (8,))
    targets = 0.8 * F.one_hot(labels, 4) + 0.2 / 4
    expected = -(targets * scores.log_softmax(1)).sum(1).mean()
    assert Softmax().build(0.2)(scores, labels).item() == pytest.approx(expected.item(), rel=1e-6)
