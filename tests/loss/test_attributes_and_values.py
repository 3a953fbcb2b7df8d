"""Losses for attributes and values against torch's own, closed forms and central differences (C4, C5)."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from cnntrain.errors import ConfigError, DataError
from cnntrain.loss import settings as options
from cnntrain.loss.criterion import Criterion

NAMES = ["one", "two", "three"]
YES_NO = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
VALUES = torch.tensor([[1.0, -20.0, 0.1], [3.0, 40.0, 0.2], [5.0, 0.0, 0.4], [2.0, 10.0, 0.3]])


def built(option: options.Loss, labels: torch.Tensor) -> Criterion:
    return option.build(NAMES, option.label_statistics(NAMES, labels), 0.0)


def scores(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))


def test_logistic_is_torchs_and_its_gradient_is_sigma_minus_y() -> None:
    given = scores().requires_grad_()
    loss = built(options.AttributeLogistic(), YES_NO)(given, YES_NO)
    expected = F.binary_cross_entropy_with_logits(given, YES_NO, reduction="sum") / 4
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, given)
    torch.testing.assert_close(gradient, (given.sigmoid() - YES_NO).detach() / 4)


def test_balanced_logistic_weighs_presence_by_absent_over_present() -> None:
    loss = built(options.AttributeLogistic(balanced=True), YES_NO)
    expected = F.binary_cross_entropy_with_logits(
        scores(), YES_NO, reduction="sum", pos_weight=torch.tensor([1.0, 1.0, 1 / 3])
    )
    torch.testing.assert_close(loss(scores(), YES_NO), expected / 4)
    with pytest.raises(DataError, match="two"):
        built(options.AttributeLogistic(balanced=True), YES_NO * torch.tensor([1.0, 0.0, 1.0]))


def test_hinge_is_the_notes_formula_and_torchs_hinge_embedding() -> None:
    given = scores()
    signs = 2 * YES_NO - 1
    by_hand = sum(max(0.0, 1 - float(y * f)) for y, f in zip(signs.flatten(), given.flatten(), strict=True))
    loss = built(options.AttributeHinge(), YES_NO)(given, YES_NO)
    assert loss.item() == pytest.approx(by_hand / 4)


@pytest.mark.parametrize(
    ("option", "start"), [(options.AttributeHinge, 3.0), (options.AttributeLogistic, 3 * math.log(2))]
)
def test_zero_scores_have_the_theoretical_loss(option: type[options.Loss], start: float) -> None:
    assert built(option(), YES_NO)(torch.zeros(4, 3), YES_NO).item() == pytest.approx(start)


def test_distances_in_the_values_own_unit_are_torchs() -> None:
    given = 10 * scores()
    for option, theirs in (
        (options.L2(standardize=False), F.mse_loss(given, VALUES)),
        (options.L2(standardize=False, reduction="sum"), 3 * F.mse_loss(given, VALUES)),
        (options.L2(standardize=False, reduction="half_sum"), 1.5 * F.mse_loss(given, VALUES)),
        (options.L1(standardize=False), F.l1_loss(given, VALUES)),
        (options.L1(standardize=False, reduction="sum"), 3 * F.l1_loss(given, VALUES)),
        (options.SmoothL1(standardize=False, beta=2.0), F.smooth_l1_loss(given, VALUES, beta=2.0)),
    ):
        torch.testing.assert_close(built(option, VALUES)(given, VALUES), theirs)


def test_standardized_values_have_mean_0_and_variance_1_and_predictions_their_own_unit() -> None:
    loss = built(options.L2(), VALUES)
    # All scores 0 predict the mean, whose squared distance is the variance.
    assert loss(torch.zeros(4, 3), VALUES).item() == pytest.approx(1.0)
    wanted = (VALUES - VALUES.mean(0)) / VALUES.std(0, correction=0)
    torch.testing.assert_close(loss.predictions(wanted), VALUES)
    constant = VALUES * torch.tensor([1.0, 1.0, 0.0])
    assert built(options.L2(), constant)(torch.zeros(4, 3), constant).item() == pytest.approx(2 / 3)


def test_stars_from_one_to_five_become_five_classes() -> None:
    stars = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0], [5.0]])
    option = options.Bins()
    loss = option.build(["stars"], option.label_statistics(["stars"], stars), 0.0)
    assert loss.outputs == 5
    given = torch.randn(6, 5)
    torch.testing.assert_close(loss(given, stars), F.cross_entropy(given, stars[:, 0].long() - 1))
    expected = (given.softmax(1) * torch.arange(1.0, 6.0)).sum(1, keepdim=True)
    torch.testing.assert_close(loss.predictions(given), expected)
    option = options.Bins(prediction="mode")
    loss = option.build(["stars"], option.label_statistics(["stars"], stars), 0.0)
    torch.testing.assert_close(loss.predictions(given)[:, 0], given.argmax(1) + 1.0)


def test_bins_of_equal_width_put_each_value_where_it_belongs() -> None:
    loss = built(options.Bins(bins=4, prediction="mode"), VALUES)
    assert loss.outputs == 12
    # The second value runs from -20 to 40: bins of 15, whose centers are -12.5, 2.5, 17.5 and 32.5.
    certain = torch.zeros(1, 12)
    certain[0, [0, 4 + 1, 8 + 3]] = 9.0
    predicted = loss.predictions(certain)[0].tolist()
    assert predicted == pytest.approx([1.5, 2.5, 0.3625])
    assert loss(certain, torch.tensor([[1.4, -4.9, 0.39]])).item() == pytest.approx(
        3 * math.log(1 + 3 * math.exp(-9)), rel=1e-3
    )


def test_bins_refuse_what_they_cannot_make() -> None:
    with pytest.raises(ConfigError, match=r"loss.bins=10"):
        options.Bins().label_statistics(["x"], torch.arange(101.0)[:, None])
    with pytest.raises(DataError, match="x is the same"):
        options.Bins(bins=3).label_statistics(["x"], torch.ones(9, 1))


@pytest.mark.parametrize(
    ("option", "labels"),
    [
        (options.AttributeHinge(delta=0.8), YES_NO),
        (options.AttributeLogistic(balanced=True), YES_NO),
        (options.L2(), VALUES),
        (options.L1(), VALUES),
        (options.SmoothL1(beta=0.5), VALUES),
        (options.Bins(bins=5), VALUES),
    ],
)
def test_gradients_equal_central_differences(option: options.Loss, labels: torch.Tensor) -> None:
    loss = built(option, labels)
    given = torch.randn(4, loss.outputs, dtype=torch.double, generator=torch.Generator().manual_seed(3))
    assert torch.autograd.gradcheck(lambda scores: loss(scores, labels), given.requires_grad_())


def test_what_a_loss_learnt_is_its_state() -> None:
    for option in (options.L2(), options.Bins(bins=4)):
        loss = built(option, VALUES)
        again = option.build(NAMES, loss.state_dict(), 0.0)
        given = torch.randn(4, loss.outputs)
        assert torch.equal(again(given, VALUES), loss(given, VALUES))
