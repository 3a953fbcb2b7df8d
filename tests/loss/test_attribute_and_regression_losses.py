"""Losses for attributes and values against torch, closed forms and central differences (C4, C5)."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from cnntrain.errors import ConfigError, DataError
from cnntrain.loss import settings as options
from cnntrain.loss.criterion import Criterion

NAMES = ["one", "two", "three"]
ATTRIBUTES = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
VALUES = torch.tensor([[1.0, -20.0, 0.1], [3.0, 40.0, 0.2], [5.0, 0.0, 0.4], [2.0, 10.0, 0.3]])


def build(option: options.Loss, labels: torch.Tensor) -> Criterion:
    return option.build(NAMES, option.label_statistics(NAMES, labels), 0.0)


def scores(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))


def test_logistic_loss_equals_torch_and_its_gradient_is_sigmoid_minus_label() -> None:
    outputs = scores().requires_grad_()
    loss = build(options.AttributeLogistic(), ATTRIBUTES)(outputs, ATTRIBUTES)
    expected = F.binary_cross_entropy_with_logits(outputs, ATTRIBUTES, reduction="sum") / 4
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, outputs)
    torch.testing.assert_close(gradient, (outputs.sigmoid() - ATTRIBUTES).detach() / 4)


def test_balanced_logistic_loss_weights_presence_by_absent_over_present() -> None:
    loss = build(options.AttributeLogistic(balanced=True), ATTRIBUTES)
    expected = F.binary_cross_entropy_with_logits(
        scores(), ATTRIBUTES, reduction="sum", pos_weight=torch.tensor([1.0, 1.0, 1 / 3])
    )
    torch.testing.assert_close(loss(scores(), ATTRIBUTES), expected / 4)
    with pytest.raises(DataError, match="two"):
        build(options.AttributeLogistic(balanced=True), ATTRIBUTES * torch.tensor([1.0, 0.0, 1.0]))


def test_hinge_loss_equals_the_formula_of_the_notes() -> None:
    outputs = scores()
    signs = 2 * ATTRIBUTES - 1
    total = sum(max(0.0, 1 - float(y * f)) for y, f in zip(signs.flatten(), outputs.flatten(), strict=True))
    loss = build(options.AttributeHinge(), ATTRIBUTES)(outputs, ATTRIBUTES)
    assert loss.item() == pytest.approx(total / 4)


@pytest.mark.parametrize(
    ("option", "expected"), [(options.AttributeHinge, 3.0), (options.AttributeLogistic, 3 * math.log(2))]
)
def test_zero_scores_have_the_expected_loss(option: type[options.Loss], expected: float) -> None:
    assert build(option(), ATTRIBUTES)(torch.zeros(4, 3), ATTRIBUTES).item() == pytest.approx(expected)


def test_losses_of_values_in_their_own_unit_equal_torch() -> None:
    outputs = 10 * scores()
    for option, expected in (
        (options.L2(standardize=False), F.mse_loss(outputs, VALUES)),
        (options.L2(standardize=False, reduction="sum"), 3 * F.mse_loss(outputs, VALUES)),
        (options.L2(standardize=False, reduction="half_sum"), 1.5 * F.mse_loss(outputs, VALUES)),
        (options.L1(standardize=False), F.l1_loss(outputs, VALUES)),
        (options.L1(standardize=False, reduction="sum"), 3 * F.l1_loss(outputs, VALUES)),
        (options.SmoothL1(standardize=False, beta=2.0), F.smooth_l1_loss(outputs, VALUES, beta=2.0)),
    ):
        torch.testing.assert_close(build(option, VALUES)(outputs, VALUES), expected)


def test_losses_standardize_values_and_predictions_have_the_original_unit() -> None:
    loss = build(options.L2(), VALUES)
    # All scores 0 predict the mean, whose squared distance is the variance.
    assert loss(torch.zeros(4, 3), VALUES).item() == pytest.approx(1.0)
    standardized = (VALUES - VALUES.mean(0)) / VALUES.std(0, correction=0)
    torch.testing.assert_close(loss.predictions(standardized), VALUES)
    constant = VALUES * torch.tensor([1.0, 1.0, 0.0])
    assert build(options.L2(), constant)(torch.zeros(4, 3), constant).item() == pytest.approx(2 / 3)


def test_star_ratings_from_one_to_five_become_five_bins() -> None:
    stars = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0], [5.0]])
    option = options.Bins()
    loss = option.build(["stars"], option.label_statistics(["stars"], stars), 0.0)
    assert loss.outputs == 5
    outputs = torch.randn(6, 5)
    torch.testing.assert_close(loss(outputs, stars), F.cross_entropy(outputs, stars[:, 0].long() - 1))
    expected = (outputs.softmax(1) * torch.arange(1.0, 6.0)).sum(1, keepdim=True)
    torch.testing.assert_close(loss.predictions(outputs), expected)
    option = options.Bins(prediction="mode")
    loss = option.build(["stars"], option.label_statistics(["stars"], stars), 0.0)
    torch.testing.assert_close(loss.predictions(outputs)[:, 0], outputs.argmax(1) + 1.0)


def test_bins_of_equal_width_contain_their_values() -> None:
    loss = build(options.Bins(bins=4, prediction="mode"), VALUES)
    assert loss.outputs == 12
    # The second value runs from -20 to 40: bins of 15, whose centers are -12.5, 2.5, 17.5 and 32.5.
    outputs = torch.zeros(1, 12)
    outputs[0, [0, 4 + 1, 8 + 3]] = 9.0
    predicted = loss.predictions(outputs)[0].tolist()
    assert predicted == pytest.approx([1.5, 2.5, 0.3625])
    assert loss(outputs, torch.tensor([[1.4, -4.9, 0.39]])).item() == pytest.approx(
        3 * math.log(1 + 3 * math.exp(-9)), rel=1e-3
    )


def test_too_many_distinct_values_and_constant_values_are_refused_for_bins() -> None:
    with pytest.raises(ConfigError, match=r"loss.bins=10"):
        options.Bins().label_statistics(["x"], torch.arange(101.0)[:, None])
    with pytest.raises(DataError, match="x is the same"):
        options.Bins(bins=3).label_statistics(["x"], torch.ones(9, 1))


@pytest.mark.parametrize(
    ("option", "labels"),
    [
        (options.AttributeHinge(delta=0.8), ATTRIBUTES),
        (options.AttributeLogistic(balanced=True), ATTRIBUTES),
        (options.L2(), VALUES),
        (options.L1(), VALUES),
        (options.SmoothL1(beta=0.5), VALUES),
        (options.Bins(bins=5), VALUES),
    ],
)
def test_gradients_equal_central_differences(option: options.Loss, labels: torch.Tensor) -> None:
    loss = build(option, labels)
    outputs = torch.randn(4, loss.outputs, dtype=torch.double, generator=torch.Generator().manual_seed(3))
    assert torch.autograd.gradcheck(lambda scores: loss(scores, labels), outputs.requires_grad_())


def test_a_loss_is_restored_from_its_state_dict() -> None:
    for option in (options.L2(), options.Bins(bins=4)):
        loss = build(option, VALUES)
        restored = option.build(NAMES, loss.state_dict(), 0.0)
        outputs = torch.randn(4, loss.outputs)
        assert torch.equal(restored(outputs, VALUES), loss(outputs, VALUES))
